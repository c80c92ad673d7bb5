//! Deliberate errors, by which the simulator shows that it finds errors.

/// A step that is left out, or done wrong.
#[cfg_attr(not(feature = "simulator"), allow(unreachable_pub, reason = "public with the simulator"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flaw {
    /// The leader acts although not all have seen what it acts on.
    LeaderWithoutConvergence,
    /// Who has seen the last state is taken to have seen this one.
    SeenIsNotReset,
    /// Decides about unreachable members at once.
    NoStabilityWindow,
    /// Removed incarnations are not remembered.
    ForgetsTheRemoved,
    /// Takes the status that it hears last, not the highest.
    StatusFalls,
    /// Ages count the members, not those that ever were up.
    AgesAreCounted,
    /// Forms a cluster with its own vote.
    FormsAlone,
    /// Comes up before a majority of the contact points has joined.
    EstablishesAlone,
    /// Accuses others right after it was suspended itself.
    AccusesAfterSuspension,
    /// The smaller half goes on as well.
    MinorityGoesOn,
    /// In a tie both halves go on.
    TieGoesOn,
    /// Who is down goes on.
    DownedGoesOn,
    /// Removes unreachable members without any decision.
    RemovesByTimeout,
    /// A lease that was refused counts as acquired.
    IgnoresTheLease,
}

#[cfg(feature = "simulator")]
impl Flaw {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::LeaderWithoutConvergence,
        Self::SeenIsNotReset,
        Self::NoStabilityWindow,
        Self::ForgetsTheRemoved,
        Self::StatusFalls,
        Self::AgesAreCounted,
        Self::FormsAlone,
        Self::EstablishesAlone,
        Self::AccusesAfterSuspension,
        Self::MinorityGoesOn,
        Self::TieGoesOn,
        Self::DownedGoesOn,
        Self::RemovesByTimeout,
        Self::IgnoresTheLease,
    ];
}

/// The flaw of a node, if it has one. Without the feature `simulator` no node has any, and nothing is asked.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Flaws {
    #[cfg(feature = "simulator")]
    flaw: Option<Flaw>,
}

impl Flaws {
    #[cfg(test)]
    pub(crate) const NONE: Self = Self {
        #[cfg(feature = "simulator")]
        flaw: None,
    };

    #[cfg(feature = "simulator")]
    pub(crate) const fn of(flaw: Option<Flaw>) -> Self {
        Self { flaw }
    }

    #[cfg(feature = "simulator")]
    pub(crate) fn has(self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    #[cfg(not(feature = "simulator"))]
    #[allow(clippy::unused_self, reason = "the same call with and without the feature")]
    pub(crate) const fn has(self, _: Flaw) -> bool {
        false
    }
}
