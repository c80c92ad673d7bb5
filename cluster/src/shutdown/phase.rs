use std::fmt;
use std::time::Duration;

/// A part of a shutdown. Phases come in this order, each when the one before has ended; the tasks of one run together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// All is still served; who sends traffic is told to send no more: readiness, load balancers. Default deadline 1 s.
    Announce,
    /// Listeners are closed: no new connections. Default 1 s.
    StopAccepting,
    /// Requests that have begun are answered. Default 7 s.
    Drain,
    /// What the application runs beside its entities stops: plain actors, projections, its own tasks. Default 4 s.
    StopServices,
    /// Entities carry out what waits, and leave memory; a member of a cluster hands them over. Default 6 s.
    Passivate,
    /// What was written is on disk. Default 3 s.
    Flush,
    /// Others no longer count on this process: it leaves its cluster, and its registration is removed. Default 5 s.
    Leave,
    /// Connections and stores are closed. Default 2 s.
    Close,
}

impl Phase {
    /// All of them, in order.
    pub const ALL: [Self; 8] = [
        Self::Announce,
        Self::StopAccepting,
        Self::Drain,
        Self::StopServices,
        Self::Passivate,
        Self::Flush,
        Self::Leave,
        Self::Close,
    ];

    pub(super) fn next(self) -> Option<Self> {
        Self::ALL.get(self as usize + 1).copied()
    }

    /// Its name in logs and metrics, such as `stop-accepting`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Announce => "announce",
            Self::StopAccepting => "stop-accepting",
            Self::Drain => "drain",
            Self::StopServices => "stop-services",
            Self::Passivate => "passivate",
            Self::Flush => "flush",
            Self::Leave => "leave",
            Self::Close => "close",
        }
    }

    /// Its share of [`DEFAULT_GRACE`].
    pub(super) const fn default_deadline(self) -> Duration {
        Duration::from_secs(match self {
            Self::Announce | Self::StopAccepting => 1,
            Self::Drain => 7,
            Self::StopServices => 4,
            Self::Passivate => 6,
            Self::Flush => 3,
            Self::Leave => 5,
            Self::Close => 2,
        })
    }
}

/// What Kubernetes gives a pod between SIGTERM and SIGKILL.
pub(super) const DEFAULT_GRACE: Duration = Duration::from_secs(30);

impl fmt::Display for Phase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
