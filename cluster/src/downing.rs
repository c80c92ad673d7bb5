//! What becomes of unreachable members: a strategy that decides the same on both sides of a split, once things have been stable.
//!
//! ```text
//! state ──→ View ──→ Strategy::decide ──→ Verdict ──→ Strategy::to_down ──→ members to down
//!            ↑                               │
//!        Resolver: waits for stability, asks the lease, keeps decisions
//! ```

mod view;
pub use view::{View, ViewMember};
mod strategy;
pub use strategy::{InvalidStrategy, Strategy};
mod verdict;
pub use verdict::Verdict;
mod indirect;
mod majority;
mod oldest;
mod resolver;
pub(crate) use resolver::{Resolver, Step};
mod decision;
pub use decision::{Cause, Decision};
#[cfg(test)]
mod cases;

use std::time::Duration;

/// When and how unreachable members are downed. On by default, with [`Strategy::KeepMajority`].
#[derive(Debug, Clone)]
pub struct Downing {
    /// Which side of a split goes on.
    pub strategy: Strategy,
    /// For so long nothing must have changed before it is decided. Default 7 s; see [`Downing::advised`].
    pub stable_after: Duration,
    /// Changes that go on for so long after [`Downing::stable_after`] make each node down all. `None`: they may go on for ever.
    /// Default 5.25 s, three quarters of the default window.
    pub down_all_when_unstable: Option<Duration>,
    /// How long the winner of a lease keeps it, after those it downed are removed. Default 40 s.
    pub release_lease_after: Duration,
}

impl Default for Downing {
    fn default() -> Self {
        Self::of(Strategy::default(), 5)
    }
}

impl Downing {
    /// With the window that is advised for so many nodes, and three quarters of it, at least 4 s, for instability.
    pub fn of(strategy: Strategy, nodes: usize) -> Self {
        let stable_after = Self::advised(nodes);
        Self {
            strategy,
            stable_after,
            down_all_when_unstable: Some((stable_after * 3 / 4).max(Duration::from_secs(4))),
            release_lease_after: Duration::from_secs(40),
        }
    }

    /// How long whoever takes over from a removed member waits before it starts what that one ran: as long as the other side may take
    /// to decide the same.
    pub const fn removal_margin(&self) -> Duration {
        self.stable_after
    }

    /// The larger a cluster, the longer it takes until all have heard the same: 7 s for 5 nodes, 10 s for 10, 13 s for 20, 17 s for 50,
    /// 20 s for 100, 30 s for 1,000.
    pub fn advised(nodes: usize) -> Duration {
        Duration::from_secs(match nodes {
            0..=5 => 7,
            6..=10 => 10,
            11..=20 => 13,
            21..=50 => 17,
            51..=100 => 20,
            _ => 30,
        })
    }
}
