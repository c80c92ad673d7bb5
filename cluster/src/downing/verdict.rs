use std::fmt;
use std::time::Duration;

/// What a strategy decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The other side goes.
    DownUnreachable,
    /// The own side goes.
    DownReachable,
    /// All go.
    DownAll,
    /// Those go that some reach and others do not, and whoever goes without what they observe of each other.
    DownIndirectlyConnected,
    /// Those that are connected indirectly, and the own side.
    DownIndirectlyConnectedAndReachable,
    /// Whoever gets the lease downs the unreachable; who does not, itself.
    AcquireLease {
        /// The smaller side lets the larger one try first.
        after: Duration,
    },
    /// The same with members that are connected indirectly.
    AcquireLeaseForIndirectlyConnected,
}

impl Verdict {
    /// Whether it is about members that are connected indirectly.
    pub const fn is_indirect(self) -> bool {
        matches!(
            self,
            Self::DownIndirectlyConnected
                | Self::DownIndirectlyConnectedAndReachable
                | Self::AcquireLeaseForIndirectlyConnected
        )
    }

    /// How long to wait before the lease is asked for; `None`: no lease is needed.
    pub const fn lease_delay(self) -> Option<Duration> {
        match self {
            Self::AcquireLease { after } => Some(after),
            Self::AcquireLeaseForIndirectlyConnected => Some(Duration::ZERO),
            _ => None,
        }
    }

    /// What it comes to with or without the lease.
    pub const fn with_lease(self, acquired: bool) -> Self {
        match (self, acquired) {
            (Self::AcquireLease { .. }, true) => Self::DownUnreachable,
            (Self::AcquireLease { .. }, false) => Self::DownReachable,
            (Self::AcquireLeaseForIndirectlyConnected, true) => Self::DownIndirectlyConnected,
            (Self::AcquireLeaseForIndirectlyConnected, false) => Self::DownIndirectlyConnectedAndReachable,
            (other, _) => other,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::DownUnreachable => "down the unreachable",
            Self::DownReachable => "down the own side",
            Self::DownAll => "down all",
            Self::DownIndirectlyConnected => "down the indirectly connected",
            Self::DownIndirectlyConnectedAndReachable => "down the indirectly connected and the own side",
            Self::AcquireLease { .. } => "acquire the lease, then down the unreachable",
            Self::AcquireLeaseForIndirectlyConnected => {
                "acquire the lease, then down the indirectly connected"
            }
        })
    }
}
