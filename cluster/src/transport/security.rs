use std::path::PathBuf;

/// How nodes know each other. There is no default: plaintext must be asked for by name.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Security {
    /// TLS 1.3 with certificates on both sides, each for the host that its node is advertised under.
    Tls(TlsFiles),
    /// Whoever reaches the port can be a member, and read and change what is sent. Refused on addresses that are not loopback, unless that
    /// is asked for too.
    Plaintext {
        /// Listens and connects anywhere, as within a network that protects itself.
        on_any_address: bool,
    },
}

impl Security {
    /// For one machine: tests and development.
    pub const fn plaintext_on_loopback() -> Self {
        Self::Plaintext { on_any_address: false }
    }
}

/// Files in PEM, read again while the node runs: new connections use what is there now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The node's certificate and those between it and a root. It names the advertised host as a subject alternative name, and is good
    /// for servers and clients.
    pub certificates: PathBuf,
    /// The key of the first.
    pub key: PathBuf,
    /// Roots that certificates of members are signed by: best one of the cluster's own, since each certificate of them for a host of the
    /// cluster makes a member.
    pub roots: PathBuf,
    /// Certificates with wildcards count, for their own host and for others. Off by default: a stolen one is every node.
    pub wildcards: bool,
}

impl TlsFiles {
    /// Without wildcards.
    pub fn new(certificates: impl Into<PathBuf>, key: impl Into<PathBuf>, roots: impl Into<PathBuf>) -> Self {
        Self { certificates: certificates.into(), key: key.into(), roots: roots.into(), wildcards: false }
    }
}
