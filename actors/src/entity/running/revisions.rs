//! What lies behind the newest revision of a state that its events replace.

use std::time::Duration;

use annals_journal::{SeqNr, Timestamp};

use super::Running;
use crate::PersistentActor;
use crate::entity::{Action, Rules};

/// How far older revisions are deleted.
#[derive(Debug)]
pub(in crate::entity) struct Revisions {
    deleted_to: SeqNr,
    /// A deletion is on its way.
    deleting: Option<SeqNr>,
    /// One has failed: none before this.
    not_before: Timestamp,
}

impl Revisions {
    pub(in crate::entity) fn deleted_to(deleted_to: SeqNr) -> Self {
        Self { deleted_to, deleting: None, not_before: Timestamp::default() }
    }

    /// Up to where is to be deleted, once more than so many lie behind the newest durable one.
    fn due(&mut self, durable: SeqNr, may_stay: u64) -> Option<SeqNr> {
        let to = durable.previous();
        let behind = to.get().saturating_sub(self.deleted_to.get());
        if self.deleting.is_some() || behind <= may_stay {
            return None;
        }
        self.deleting = Some(to);
        Some(to)
    }
}

impl<A: PersistentActor> Running<A> {
    /// Has older revisions deleted when there are too many. Nobody's newest is among them, whoever owns the id by now: each append builds
    /// on the one that is durable here.
    pub(in crate::entity) fn delete_older(
        &mut self,
        rules: &Rules<A>,
        now: Timestamp,
        saving: &mut bool,
        out: &mut Vec<Action<A>>,
    ) {
        if let Some(revisions) = &mut self.revisions
            && !*saving
            && now >= revisions.not_before
            && let Some(to) = revisions.due(self.durable, rules.keep_revisions)
        {
            *saving = true;
            out.push(Action::Delete(to));
        }
    }

    /// The last opportunity; answers whether there is something to delete.
    pub(super) fn delete_all_older(&mut self, saving: &mut bool, out: &mut Vec<Action<A>>) -> bool {
        let due = self.revisions.as_mut().and_then(|revisions| revisions.due(self.durable, 0));
        if let Some(to) = due {
            *saving = true;
            out.push(Action::Delete(to));
        }
        due.is_some()
    }

    /// A deletion has ended.
    pub(super) fn deleted(&mut self, now: Timestamp, done: bool) {
        if let Some(revisions) = &mut self.revisions
            && let Some(to) = revisions.deleting.take()
        {
            if done {
                revisions.deleted_to = to;
            } else {
                revisions.not_before = now.plus(AFTER_A_FAILURE);
            }
        }
    }
}

const AFTER_A_FAILURE: Duration = Duration::from_secs(5);
