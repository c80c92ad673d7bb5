use std::fmt;

/// Where a member stands between joining and removal. Only ever rises, in this order; a removed member is no member any more.
///
/// ```text
/// joining ──→ weakly up ──→ up ──→ leaving ──→ exiting ──→ (removed)
///    └────────────┴─────────┴─────────┴───────────┴──→ down ──→ (removed)
/// ```
///
/// Being unreachable is no status: it is what others observe of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemberStatus {
    /// Known to some, waiting for the leader.
    Joining,
    /// Admitted while some member is unreachable; becomes up when all have been heard of.
    WeaklyUp,
    /// A full member with an age.
    Up,
    /// Has asked to leave.
    Leaving,
    /// All know that it leaves; it hands over and ends.
    Exiting,
    /// Decided to be gone: it stops, and is removed when all know.
    Down,
}

impl MemberStatus {
    /// All of them, in order.
    pub const ALL: [Self; 6] =
        [Self::Joining, Self::WeaklyUp, Self::Up, Self::Leaving, Self::Exiting, Self::Down];

    /// Whether the leader, the member itself or a downing decision may turn `self` into `next`.
    pub fn may_become(self, next: Self) -> bool {
        use MemberStatus::*;
        match next {
            Joining => false,
            WeaklyUp => self == Joining,
            Up => matches!(self, Joining | WeaklyUp),
            Leaving => matches!(self, Joining | WeaklyUp | Up),
            Exiting => self == Leaving,
            Down => self != Down,
        }
    }

    /// Neither waited for in a convergence nor in its way: exiting and down.
    pub fn is_going(self) -> bool {
        self >= Self::Exiting
    }

    /// Up or leaving: counted by downing strategies, and preferred as leader.
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Up | Self::Leaving)
    }
}

impl fmt::Display for MemberStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Joining => "joining",
            Self::WeaklyUp => "weakly up",
            Self::Up => "up",
            Self::Leaving => "leaving",
            Self::Exiting => "exiting",
            Self::Down => "down",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_only_rises() {
        for from in MemberStatus::ALL {
            for to in MemberStatus::ALL {
                assert!(!from.may_become(to) || from < to, "{from} to {to}");
            }
        }
    }

    #[test]
    fn nobody_comes_up_who_leaves() {
        assert!(!MemberStatus::Leaving.may_become(MemberStatus::Up));
        assert!(MemberStatus::Exiting.may_become(MemberStatus::Down));
        assert!(!MemberStatus::Up.may_become(MemberStatus::Exiting));
    }
}
