use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::security::Security;
use crate::NodeAddress;

/// How a node talks to others. Fields have defaults that are safe in production, but for address and security, which have none.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TransportSettings {
    /// What others reach this node by; with TLS its certificate names this host. Port 0: the port that is listened on.
    pub advertised: NodeAddress,
    /// Where to listen. Default: the advertised host and port.
    pub listen: Option<SocketAddr>,
    /// TLS, or plaintext by name.
    pub security: Security,
    /// A file with cluster secrets, one a line, at least 32 characters each: the first is used, all are accepted. Default: none.
    pub secret_file: Option<PathBuf>,
    /// How often files of certificates, keys, roots and secrets are looked at. Default 30 s.
    pub reload_every: Duration,
    /// Bytes of the longest message of users. Default 1 MiB.
    pub most_message_bytes: usize,
    /// Bytes of the longest message of the cluster: a welcome has 16 KiB of facts for each member. Default 16 MiB.
    pub most_control_bytes: usize,
    /// Bytes that wait for one peer, in each lane: beyond, senders of users' messages wait, and messages of the cluster are dropped and
    /// counted. Default 8 MiB.
    pub queue_bytes: usize,
    /// Bytes that are written together, about. Default 64 KiB.
    pub batch_bytes: usize,
    /// How long connecting may take, TLS and handshake with it. Default 5 s.
    pub connect_within: Duration,
    /// How long a peer may take none of what is written, or stop within a frame. Default 10 s.
    pub stalled_after: Duration,
    /// The first and the longest pause after a connection has failed. Default 100 ms to 2 s.
    pub backoff: (Duration, Duration),
    /// Connections without messages end after this; the next message makes them again. Default 60 s.
    pub idle_after: Duration,
    /// Connections that are taken. Default 4,096.
    pub most_connections: usize,
    /// Connections that have not said yet who they are. Default 64.
    pub most_handshakes: usize,
    /// Questions and watches of others that are under way at once. Default 16,384.
    pub most_questions: usize,
    /// How long a message waits for room in a full mailbox that has senders wait, while all that come after it from the same node wait
    /// too; then it is dropped and counted. Default 5 s.
    pub deliver_within: Duration,
    /// The newest version of the wire that is spoken. Default: the newest that this build knows; one less while a cluster is upgraded and
    /// may have to go back.
    pub newest_wire: u32,
}

impl TransportSettings {
    /// Advertised there, protected so.
    pub fn new(advertised: NodeAddress, security: Security) -> Self {
        Self {
            advertised,
            listen: None,
            security,
            secret_file: None,
            reload_every: Duration::from_secs(30),
            most_message_bytes: 1 << 20,
            most_control_bytes: 16 << 20,
            queue_bytes: 8 << 20,
            batch_bytes: 64 << 10,
            connect_within: Duration::from_secs(5),
            stalled_after: Duration::from_secs(10),
            backoff: (Duration::from_millis(100), Duration::from_secs(2)),
            idle_after: Duration::from_secs(60),
            most_connections: 4_096,
            most_handshakes: 64,
            most_questions: 16_384,
            deliver_within: Duration::from_secs(5),
            newest_wire: *super::wire_version::SPOKEN.end(),
        }
    }
}
