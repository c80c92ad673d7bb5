use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{Installation, Node, Settings};

/// Several nodes on 127.0.0.1, 127.0.0.2 and so on, each with its part of the ring; gone when it is dropped.
#[derive(Debug)]
pub struct Ring {
    nodes: Vec<Node>,
}

impl Ring {
    /// Starts so many new ones in a folder, one after the other.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub fn start(installation: &Installation, folder: &Path, count: u8, settings: Settings) -> Result<Self> {
        let ports = (port_of_all(count)?, port_of_all(count)?);
        let node = |place| {
            let folder = folder.join(format!("node-{place}"));
            Node { installation: installation.clone(), folder, seat: Seat::of(place, count, ports) }
        };
        let ring = Self { nodes: (0..count).map(node).collect() };
        for node in &ring.nodes {
            node.start(settings).with_context(|| format!("starting the node at {}", node.seat.address))?;
        }
        Ok(ring)
    }

    /// Its nodes, in the order in which they started.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        for node in &self.nodes {
            if let Err(error) = node.wipe() {
                eprintln!("a Cassandra could not be stopped: {error:#}");
            }
        }
    }
}

/// A node's place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seat {
    pub(super) address: Ipv4Addr,
    pub(super) token: i64,
    /// For clients, and among nodes: those of a ring have the same. `None`: any.
    pub(super) ports: Option<(u16, u16)>,
    /// For how long a node that starts listens to what others say about the ring.
    pub(super) ring_delay: Duration,
}

impl Seat {
    pub(super) const ALONE: Self =
        Self { address: Ipv4Addr::LOCALHOST, token: 0, ports: None, ring_delay: Duration::from_millis(1) };

    fn of(place: u8, count: u8, ports: (u16, u16)) -> Self {
        let part = i64::MAX / i64::from(count.max(1)) * 2;
        let token = i64::MIN.wrapping_add(part.wrapping_mul(i64::from(place)));
        Self {
            address: Ipv4Addr::new(127, 0, 0, place + 1),
            // The lowest number is no token.
            token: token.max(i64::MIN + 1),
            ports: Some(ports),
            ring_delay: Duration::from_secs(5),
        }
    }
}

/// A port that is free at the addresses of all nodes.
fn port_of_all(count: u8) -> Result<u16> {
    for _ in 0..100 {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let is_free = |place: u8| TcpListener::bind((Ipv4Addr::new(127, 0, 0, place + 1), port)).is_ok();
        if (0..count).all(is_free) {
            return Ok(port);
        }
    }
    anyhow::bail!("no port is free at {count} addresses of loopback")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_nodes_have_a_third_of_the_ring_each() {
        let tokens: Vec<i64> = (0..3).map(|place| Seat::of(place, 3, (1, 2)).token).collect();
        assert!(tokens.is_sorted(), "{tokens:?}");
        let third = u64::MAX / 3;
        for pair in tokens.windows(2) {
            assert!(pair[1].abs_diff(pair[0]).abs_diff(third) < 10, "{tokens:?}");
        }
    }
}
