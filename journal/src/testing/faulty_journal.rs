use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use tokio::sync::watch;

use super::faulty_replay::FaultyReplay;
use super::write_plan::{Fate, WritePlan, error, unknown};
use super::{
    DeleteOrder, Fault, JournalAnswer, JournalCall, JournalOperation, Outcome, ReadOrder, ReplayOrder,
    Script, WriteOrder,
};
use crate::{
    CommitListener, Envelope, Head, Journal, JournalError, Limits, Offset, Page, PersistenceId, ReplayRange,
    Replayed, SeqNr, SliceRange, StoredEvent, Tag, Write,
};

/// A journal around a journal that fails on order; see the [module](super). Clones share the orders.
///
/// | what is asked | ordered by |
/// |---|---|
/// | [`Journal::write`], entry by entry | [`next_append`](Self::next_append), [`next_claim`](Self::next_claim), [`next_verify`](Self::next_verify), [`next_write`](Self::next_write) for any of them |
/// | [`Journal::replay`] | [`next_replay`](Self::next_replay) |
/// | [`Journal::delete_to`], [`Journal::replace`] | [`next_delete`](Self::next_delete), [`next_replace`](Self::next_replace) |
/// | [`Journal::head`], and heads, pages and ids together | [`next_head`](Self::next_head), [`next_read`](Self::next_read) |
/// | everything | [`next_call`](Self::next_call), [`goes_down`](Self::goes_down) |
///
/// What holds of a list of writes, holds here too: after an entry that fails, later entries of its id and token in that list are answered
/// alike and are not stored.
#[derive(Clone)]
pub struct FaultyJournal {
    inner: Arc<dyn Journal>,
    script: Script<JournalOperation, JournalAnswer>,
    /// How many writes of unknown outcome are still to reach the journal.
    late: Arc<watch::Sender<usize>>,
}

impl FaultyJournal {
    /// Passes everything on to this journal, until something else is ordered.
    pub fn around(journal: impl Journal) -> Self {
        Self { inner: Arc::new(journal), script: Script::new(), late: Arc::new(watch::channel(0).0) }
    }

    /// The journal behind, which never fails on order.
    pub fn inner(&self) -> &Arc<dyn Journal> {
        &self.inner
    }

    /// Orders something of the next append.
    pub fn next_append(&self) -> WriteOrder {
        self.script.next(&[JournalOperation::Append])
    }

    /// Orders something of the next claim, with which every recovery begins.
    pub fn next_claim(&self) -> WriteOrder {
        self.script.next(&[JournalOperation::Claim])
    }

    /// Orders something of the next verification, which a confirmed read asks for.
    pub fn next_verify(&self) -> WriteOrder {
        self.script.next(&[JournalOperation::Verify])
    }

    /// Orders something of the next append, claim or verification.
    pub fn next_write(&self) -> WriteOrder {
        self.script.next(JournalOperation::WRITES)
    }

    /// Orders something of the next replay.
    pub fn next_replay(&self) -> ReplayOrder {
        self.script.next(&[JournalOperation::Replay])
    }

    /// Orders something of the next deletion of events.
    pub fn next_delete(&self) -> DeleteOrder {
        self.script.next(&[JournalOperation::DeleteTo])
    }

    /// Orders something of the next replacement of an event.
    pub fn next_replace(&self) -> DeleteOrder {
        self.script.next(&[JournalOperation::Replace])
    }

    /// Orders something of the next question for a head.
    pub fn next_head(&self) -> ReadOrder {
        self.script.next(&[JournalOperation::Head])
    }

    /// Orders something of the next read that is no replay: heads, pages by tag or slice, persistence ids.
    pub fn next_read(&self) -> ReadOrder {
        self.script.next(JournalOperation::READS)
    }

    /// Orders something of the next call, whatever it is.
    pub fn next_call(&self) -> ReadOrder {
        self.script.next(JournalOperation::ALL)
    }

    /// Forgets all orders, and fails every call as unavailable until [`comes_back`](Self::comes_back).
    pub fn goes_down(&self) {
        self.script.clear();
        self.next_call().always().fails_unavailable();
    }

    /// Forgets all orders: every call is passed on again. Calls that wait or are delayed already go on as ordered.
    pub fn comes_back(&self) {
        self.script.clear();
    }

    /// Has a closure say what becomes of each call that no order fits, for tests that draw lots; until the journal
    /// [comes back](Self::comes_back).
    pub fn decide_by(
        &self,
        decide: impl Fn(&JournalCall) -> Option<Fault<JournalAnswer>> + Send + Sync + 'static,
    ) {
        self.script.decide_by(decide);
    }

    /// What the journal was asked, oldest first, entry by entry; the newest 10,000.
    pub fn calls(&self) -> Vec<JournalCall> {
        self.script.calls()
    }

    /// How many writes were in each commit, oldest first: one number for each call of [`Journal::write`].
    pub fn commits(&self) -> Vec<usize> {
        let writes = |call: &JournalCall| JournalOperation::WRITES.contains(&call.operation);
        let batches: Vec<_> =
            self.calls().iter().filter(|call| writes(call)).map(|call| call.batch).collect();
        batches.chunk_by(|one, next| one == next).map(<[_]>::len).collect()
    }

    /// How many orders still wait for their call; those of all calls do not count.
    pub fn outstanding(&self) -> usize {
        self.script.outstanding()
    }

    /// Waits until every write with [`Outcome::Late`] has reached the journal.
    pub async fn late_writes(&self) {
        // The sender lives as long as `self`.
        let _ = self.late.subscribe().wait_for(|late| *late == 0).await;
    }

    /// Has writes reach the journal later, when their callers have long had an answer.
    fn send_late(&self, at: std::time::Duration, writes: Vec<Write>) {
        self.late.send_modify(|late| *late += 1);
        let this = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(at).await;
            this.inner.write(writes).await;
            this.late.send_modify(|late| *late -= 1);
        });
    }

    /// One call that is no write.
    async fn ask<T>(
        &self,
        call: JournalCall,
        asked: impl Future<Output = Result<T, JournalError>> + Send,
        shown: impl FnOnce(&T) -> String + Send,
    ) -> Result<T, JournalError> {
        let id = call.persistence_id.clone();
        let (ticket, faults) = self.script.asked(vec![call]);
        Fault::begin_all(&faults).await;
        let answer = match &faults[0].answer {
            JournalAnswer::Panic(message) => panic!("{message}"),
            JournalAnswer::Unknown(outcome) => {
                if *outcome == Outcome::Stored {
                    let _ = asked.await;
                }
                Err(unknown())
            }
            other => match error(other, id.as_ref()) {
                Some(error) => Err(error),
                None => asked.await,
            },
        };
        self.script.answered(ticket, 0, answer.as_ref().map_or_else(ToString::to_string, shown));
        Fault::end_all(&faults).await;
        answer
    }
}

#[async_trait]
impl Journal for FaultyJournal {
    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Head, JournalError>> {
        let (ticket, faults) = self.script.asked(writes.iter().map(JournalCall::write).collect());
        Fault::begin_all(&faults).await;
        let plan = WritePlan::of(writes, &faults);
        for (time, writes) in plan.late {
            self.send_late(time, writes);
        }
        let truths = if plan.passed.is_empty() { Vec::new() } else { self.inner.write(plan.passed).await };
        let mut answers = Vec::new();
        for (at, fate) in plan.fates.into_iter().enumerate() {
            let answer = match fate {
                Fate::Answered(error) => Err(error),
                Fate::Passed(place) => truths.get(place).cloned().unwrap_or_else(|| Err(unknown())),
            };
            let shown = |head: &Head| format!("head {:?}", head.seq_nr);
            self.script.answered(ticket, at, answer.as_ref().map_or_else(ToString::to_string, shown));
            answers.push(answer);
        }
        Fault::end_all(&faults).await;
        if plan.too_few {
            answers.pop();
        }
        answers
    }

    fn replay(&self, range: ReplayRange) -> BoxStream<'static, Result<Replayed, JournalError>> {
        FaultyReplay::start(&self.inner, &self.script, range)
    }

    async fn head(&self, id: &PersistenceId) -> Result<Head, JournalError> {
        let call = JournalCall::new(JournalOperation::Head, Some(id), "");
        self.ask(call, self.inner.head(id), |head| format!("head {:?}", head.seq_nr)).await
    }

    async fn delete_to(&self, id: &PersistenceId, to: SeqNr) -> Result<(), JournalError> {
        let call = JournalCall::new(JournalOperation::DeleteTo, Some(id), format!("to {to:?}"));
        self.ask(call, self.inner.delete_to(id, to), |()| "done".into()).await
    }

    async fn replace(&self, old: &StoredEvent, new: Envelope) -> Result<bool, JournalError> {
        let id = old.envelope.persistence_id.clone();
        let what = format!("{:?}", old.envelope.seq_nr);
        let call = JournalCall::new(JournalOperation::Replace, Some(&id), what);
        self.ask(call, self.inner.replace(old, new), ToString::to_string).await
    }

    async fn events_by_tag(&self, tag: &Tag, after: Offset, limit: usize) -> Result<Page, JournalError> {
        let call = JournalCall::new(JournalOperation::EventsByTag, None, tag.as_str());
        self.ask(call, self.inner.events_by_tag(tag, after, limit), page).await
    }

    async fn events_by_slice(
        &self,
        slices: SliceRange,
        after: Offset,
        limit: usize,
    ) -> Result<Page, JournalError> {
        let call = JournalCall::new(JournalOperation::EventsBySlice, None, format!("{slices:?}"));
        self.ask(call, self.inner.events_by_slice(slices, after, limit), page).await
    }

    async fn persistence_ids(
        &self,
        after: Option<&PersistenceId>,
        limit: usize,
    ) -> Result<Vec<PersistenceId>, JournalError> {
        let call = JournalCall::new(JournalOperation::PersistenceIds, None, "");
        let shown = |ids: &Vec<PersistenceId>| format!("{} ids", ids.len());
        self.ask(call, self.inner.persistence_ids(after, limit), shown).await
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn commits(&self) -> Option<CommitListener> {
        self.inner.commits()
    }
}

impl fmt::Debug for FaultyJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyJournal")
            .field("inner", &self.inner)
            .field("script", &self.script)
            .finish_non_exhaustive()
    }
}

fn page(page: &Page) -> String {
    format!("{} items", page.items.len())
}
