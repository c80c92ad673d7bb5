use super::history::Operation;
use crate::AskError;
use crate::entity::{RestartReason, StopReason};

/// What has happened in runs: a model that never meets a thing does not test it.
#[derive(Debug, Default, Clone)]
pub(super) struct Tally {
    pub(super) commands: u64,
    pub(super) done: u64,
    pub(super) rejected: u64,
    pub(super) failed: u64,
    pub(super) not_known: u64,
    pub(super) unknown: u64,
    pub(super) refused: u64,
    pub(super) landed_late: u64,
    pub(super) refused_late: u64,
    pub(super) failed_reads: u64,
    pub(super) crashes: u64,
    pub(super) maintained: u64,
    pub(super) recoveries: u64,
    pub(super) from_snapshot: u64,
    pub(super) unreadable: u64,
    pub(super) saves: u64,
    pub(super) failed_saves: u64,
    pub(super) spoiled: u64,
    pub(super) deletions: u64,
    pub(super) settling: u64,
    pub(super) verified: u64,
    pub(super) conflicts: u64,
    pub(super) superseded: u64,
    pub(super) fenced: u64,
    pub(super) unknown_restarts: u64,
    pub(super) panics: u64,
    pub(super) failed_children: u64,
    pub(super) given_up: u64,
    pub(super) left_alone: u64,
    pub(super) passivated: u64,
    pub(super) passivated_while_needed: u64,
    pub(super) stops: u64,
    pub(super) gave_up: u64,
    pub(super) never_known: u64,
    pub(super) node_stops: u64,
    pub(super) finished: u64,
    pub(super) cut_short: u64,
    pub(super) snapshots_thrown_away: u64,
}

impl Tally {
    pub(super) fn answer(&mut self, operation: &Operation) {
        match &operation.response {
            Some(Ok(_)) => self.done += 1,
            Some(Err(AskError::Rejected(_))) => self.rejected += 1,
            Some(Err(AskError::Failed(_))) => self.failed += 1,
            Some(Err(AskError::Unknown(_))) => self.not_known += 1,
            None => {}
        }
    }

    /// How often the stores did not do as they were asked.
    pub(super) fn faults(&self) -> u64 {
        self.unknown + self.refused + self.failed_reads
    }

    pub(super) fn stopped(&mut self, reason: StopReason) {
        match reason {
            StopReason::Passivated => self.passivated += 1,
            StopReason::PassivatedWhileNeeded => self.passivated_while_needed += 1,
            StopReason::Stopped => self.stops += 1,
            StopReason::Unavailable => self.gave_up += 1,
            StopReason::GivenUp => self.given_up += 1,
            StopReason::Fenced | StopReason::RecoveryFailed | StopReason::Erased => {}
        }
    }

    pub(super) fn restarted(&mut self, reason: RestartReason) {
        match reason {
            RestartReason::Conflict => self.conflicts += 1,
            RestartReason::Superseded => self.superseded += 1,
            RestartReason::Fenced => self.fenced += 1,
            RestartReason::Unknown => self.unknown_restarts += 1,
            RestartReason::Panicked => self.panics += 1,
            RestartReason::ChildFailed => self.failed_children += 1,
            RestartReason::Unavailable
            | RestartReason::Rejected
            | RestartReason::Corrupt
            | RestartReason::Erased => {}
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        let theirs = other.counts();
        for ((_, mine), (_, more)) in self.counts_mut().into_iter().zip(theirs) {
            *mine += more;
        }
    }

    /// What never happened.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        self.counts().into_iter().filter(|(_, count)| *count == 0).map(|(name, _)| name).collect()
    }

    fn counts(&self) -> Vec<(&'static str, u64)> {
        self.clone().counts_mut().into_iter().map(|(name, count)| (name, *count)).collect()
    }

    fn counts_mut(&mut self) -> Vec<(&'static str, &mut u64)> {
        macro_rules! all {
            ($($name:ident)*) => { vec![$((stringify!($name), &mut self.$name)),*] };
        }
        all!(commands done rejected failed not_known unknown refused landed_late refused_late failed_reads crashes
            maintained recoveries from_snapshot unreadable saves failed_saves spoiled deletions settling verified
            conflicts superseded fenced unknown_restarts panics failed_children given_up left_alone passivated passivated_while_needed stops gave_up
            node_stops finished cut_short snapshots_thrown_away never_known)
    }
}
