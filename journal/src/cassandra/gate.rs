//! The record that closes a journal, over partitions of which each is judged by itself.
//!
//! A write reads the gate after its intent is at a quorum. So whoever has set the gate finds every write that did not see it among the
//! intents, and forbids those that are not made yet. Until that is done nobody is told that the gate is set.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::intents::{Kind, Lane};
use super::keyspace::Inner;
use crate::{Gate, JournalError, Record, RecordKey};

impl Inner {
    /// Before anybody is told what a record is: when it is a gate, nothing is on its way any more that did not see it.
    pub(super) async fn settle_gate(
        &self,
        key: &RecordKey,
        record: Option<&Record>,
    ) -> Result<(), JournalError> {
        let Some(record) = record.filter(|_| key == Gate::key()) else { return Ok(()) };
        let revision = record.revision.0;
        if self.is_read_only() || self.settled_gate.load(Ordering::Acquire) >= revision {
            return Ok(());
        }
        let marks = self.marks().await?;
        let to = marks.newest.max(marks.floor);
        self.raise_floor(to).await?;
        for lane in Lane::all() {
            let mut after = (marks.settled, i64::MAX);
            loop {
                let found = self.intents(&lane, after, to, PAGE).await?;
                let mut newest = BTreeMap::new();
                for intent in found.intents.into_iter().filter(|intent| intent.kind != Kind::Label) {
                    let major = newest.entry((intent.id, intent.bucket)).or_insert(intent.major);
                    *major = intent.major.max(*major);
                }
                self.forbid_all(newest).await?;
                match found.complete_to {
                    Some((major, minor)) => after = (major, minor.cast_signed()),
                    None => break,
                }
            }
        }
        self.raise_settled(to).await?;
        self.settled_gate.fetch_max(revision, Ordering::AcqRel);
        Ok(())
    }
}

const PAGE: usize = 1_000;
