use std::collections::BTreeSet;
use std::sync::Arc;

use crate::fingerprint::Fingerprint;
use crate::{Facts, Identity, Incarnation, MemberStatus, NodeAddress};

/// Whom a member finds unreachable. It alone changes this; the newest version is what all believe.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observations {
    /// Rises with each change.
    pub version: u64,
    /// Subjects that do not answer.
    pub unreachable: BTreeSet<Incarnation>,
}

impl Observations {
    fn fingerprint(&self) -> u64 {
        let print = Fingerprint::new().number(self.version);
        self.unreachable.iter().fold(print, |print, subject| print.number(subject.0)).finish()
    }
}

/// What is known of a member. Each part merges by itself: the status rises, facts and observations have versions of the member's own.
#[derive(Debug, Clone)]
pub struct Member {
    /// Who it is.
    pub identity: Arc<Identity>,
    /// Where it stands.
    pub status: MemberStatus,
    /// Order of becoming up, from 1: the lowest is the oldest. `None`: never was up.
    pub age: Option<u32>,
    /// It has handed over and ends.
    pub exit_confirmed: bool,
    /// What it announces.
    pub facts: Arc<Facts>,
    /// Whom it finds unreachable.
    pub observations: Arc<Observations>,
    /// Of identity and facts, which change seldom.
    slow_print: u64,
    print: u64,
}

impl Member {
    pub(crate) fn new(identity: Arc<Identity>, status: MemberStatus, facts: Arc<Facts>) -> Self {
        let mut member = Self {
            identity,
            status,
            age: None,
            exit_confirmed: false,
            facts,
            observations: Arc::default(),
            slow_print: 0,
            print: 0,
        };
        member.reprint(true);
        member
    }

    /// Its life.
    pub fn incarnation(&self) -> Incarnation {
        self.identity.id.incarnation
    }

    /// Where it listens.
    pub fn address(&self) -> &NodeAddress {
        &self.identity.id.address
    }

    pub(crate) const fn print(&self) -> u64 {
        self.print
    }

    /// Computes its fingerprint again, after a change.
    pub(crate) fn reprint(&mut self, facts_changed: bool) {
        if facts_changed {
            self.slow_print = self.identity.fingerprint() ^ self.facts.fingerprint().rotate_left(1);
        }
        self.print = Fingerprint::new()
            .number(self.slow_print)
            .number(self.status as u64)
            .number(u64::from(self.age.unwrap_or(0)))
            .number(u64::from(self.exit_confirmed))
            .number(self.observations.fingerprint())
            .finish();
    }
}
