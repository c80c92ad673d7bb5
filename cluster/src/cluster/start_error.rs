use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::NodeAddress;
use crate::transport::CredentialsError;

/// Why a node of a cluster does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Plaintext on an address that others reach.
    #[error(
        "plaintext on {address} would let everybody who reaches it be a member: use TLS, listen on loopback, or ask for plaintext on any \
         address too"
    )]
    PlaintextBeyondLoopback {
        /// Where it was to listen.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error(
        "{address} cannot be listened on: is another process there, or is it an address of another machine?"
    )]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The advertised host is not known, and no address to listen on was given.
    #[error("{address} is no address of this machine: advertise another, or say where to listen")]
    Unresolved {
        /// What is advertised.
        address: NodeAddress,
        /// Why.
        source: io::Error,
    },
    /// Certificates, keys, roots or secrets.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// Lease majority was chosen, and there is no lease.
    #[error("lease majority needs a lease: give one in the settings, or choose another strategy")]
    NoLease,
    /// The file with what the node remembers is there and cannot be read.
    #[error("{} cannot be read, in which the node remembers its cluster: {reason}; mend it, or delete it if its members are known to be in no cluster", path.display())]
    Memory {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The runtime ended meanwhile.
    #[error("the runtime ends")]
    Interrupted,
}
