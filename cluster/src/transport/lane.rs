use std::fmt;

/// One of the two connections to a peer: what belongs to the cluster never waits behind what users send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// Messages of the cluster: heartbeats, gossip, joining.
    Control,
    /// Messages of users.
    Bulk,
}

impl Lane {
    pub(crate) const fn number(self) -> u32 {
        match self {
            Self::Control => 1,
            Self::Bulk => 2,
        }
    }

    pub(crate) const fn of(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Control),
            2 => Some(Self::Bulk),
            _ => None,
        }
    }

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Bulk => "bulk",
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.label())
    }
}
