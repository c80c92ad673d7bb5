use std::collections::HashSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use annals_journal::testing::{Fault, Script};
use annals_journal::{PersistenceId, SeqNr};
use async_trait::async_trait;

use super::{SnapshotAnswer, SnapshotCall, SnapshotOperation, SnapshotOrder};
use crate::{Snapshot, SnapshotError, SnapshotStore};

/// A snapshot store around a store that fails on order; see the [module](super). Clones share the orders.
#[derive(Clone)]
pub struct FaultySnapshots {
    inner: Arc<dyn SnapshotStore>,
    script: Script<SnapshotOperation, SnapshotAnswer>,
    torn: Arc<Mutex<HashSet<(PersistenceId, SeqNr)>>>,
}

impl FaultySnapshots {
    /// Passes everything on to this store, until something else is ordered.
    pub fn around(store: impl SnapshotStore) -> Self {
        Self { inner: Arc::new(store), script: Script::new(), torn: Arc::default() }
    }

    /// The store behind, which never fails on order.
    pub fn inner(&self) -> &Arc<dyn SnapshotStore> {
        &self.inner
    }

    /// Orders something of the next save.
    pub fn next_save(&self) -> SnapshotOrder {
        SnapshotOrder(self.script.next(&[SnapshotOperation::Save]))
    }

    /// Orders something of the next load.
    pub fn next_load(&self) -> SnapshotOrder {
        SnapshotOrder(self.script.next(&[SnapshotOperation::Load]))
    }

    /// Orders something of the next deletion.
    pub fn next_delete(&self) -> SnapshotOrder {
        SnapshotOrder(self.script.next(&[SnapshotOperation::Delete]))
    }

    /// Orders something of the next list.
    pub fn next_list(&self) -> SnapshotOrder {
        SnapshotOrder(self.script.next(&[SnapshotOperation::List]))
    }

    /// Orders something of the next call, whatever it is.
    pub fn next_call(&self) -> SnapshotOrder {
        SnapshotOrder(self.script.next(SnapshotOperation::ALL))
    }

    /// Forgets all orders, and fails every call as unavailable until [`comes_back`](Self::comes_back).
    pub fn goes_down(&self) {
        self.script.clear();
        self.next_call().always().fails_unavailable();
    }

    /// Forgets all orders: every call is passed on again. Snapshots that were torn stay so.
    pub fn comes_back(&self) {
        self.script.clear();
    }

    /// Has a closure say what becomes of each call that no order fits, for tests that draw lots; until the store
    /// [comes back](Self::comes_back).
    pub fn decide_by(
        &self,
        decide: impl Fn(&SnapshotCall) -> Option<Fault<SnapshotAnswer>> + Send + Sync + 'static,
    ) {
        self.script.decide_by(decide);
    }

    /// What the store was asked, oldest first; the newest 10,000.
    pub fn calls(&self) -> Vec<SnapshotCall> {
        self.script.calls()
    }

    /// How many orders still wait for their call; those of all calls do not count.
    pub fn outstanding(&self) -> usize {
        self.script.outstanding()
    }

    /// One call. `refused` is the error of an order that is not about any call.
    async fn ask<T>(
        &self,
        call: SnapshotCall,
        refused: impl FnOnce(&SnapshotAnswer) -> Option<SnapshotError> + Send,
        asked: impl Future<Output = Result<T, SnapshotError>> + Send,
        shown: impl FnOnce(&T) -> String + Send,
    ) -> Result<T, SnapshotError> {
        let (ticket, faults) = self.script.asked(vec![call]);
        Fault::begin_all(&faults).await;
        let answer = match &faults[0].answer {
            SnapshotAnswer::Unavailable => Err(unavailable()),
            SnapshotAnswer::UnavailableButDone => {
                let _ = asked.await;
                Err(unavailable())
            }
            other => match refused(other) {
                Some(error) => Err(error),
                None => asked.await,
            },
        };
        self.script.answered(ticket, 0, answer.as_ref().map_or_else(ToString::to_string, shown));
        Fault::end_all(&faults).await;
        answer
    }

    fn torn(&self) -> MutexGuard<'_, HashSet<(PersistenceId, SeqNr)>> {
        // Each change is one call on the set.
        self.torn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl SnapshotStore for FaultySnapshots {
    async fn save(&self, snapshot: Snapshot) -> Result<(), SnapshotError> {
        let (id, seq_nr) = (snapshot.persistence_id.clone(), snapshot.seq_nr);
        let call = SnapshotCall::new(SnapshotOperation::Save, Some(&id), format!("{seq_nr:?}"));
        let mut torn = false;
        let refused = |answer: &SnapshotAnswer| match answer {
            SnapshotAnswer::Rejected(reason) => {
                Some(SnapshotError::Rejected { persistence_id: id.clone(), seq_nr, reason: reason.clone() })
            }
            other => {
                torn = matches!(other, SnapshotAnswer::Torn);
                None
            }
        };
        let saved = async {
            let saved = self.inner.save(snapshot).await;
            if saved.is_ok() {
                self.torn().remove(&(id.clone(), seq_nr));
            }
            saved
        };
        self.ask(call, refused, saved, |()| "saved".into()).await?;
        if torn {
            self.torn().insert((id, seq_nr));
        }
        Ok(())
    }

    async fn load(&self, id: &PersistenceId, at_most: SeqNr) -> Result<Option<Snapshot>, SnapshotError> {
        let what = if at_most == SeqNr::MAX { String::new() } else { format!("up to {at_most:?}") };
        let call = SnapshotCall::new(SnapshotOperation::Load, Some(id), what);
        let loaded = async {
            let loaded = self.inner.load(id, at_most).await?;
            match &loaded {
                Some(found) if self.torn().contains(&(id.clone(), found.seq_nr)) => {
                    Err(SnapshotError::corrupt(id, found.seq_nr, "a test tore it"))
                }
                _ => Ok(loaded),
            }
        };
        let shown = |found: &Option<Snapshot>| {
            found.as_ref().map_or_else(|| "none".to_owned(), |found| format!("{:?}", found.seq_nr))
        };
        self.ask(call, |_| None, loaded, shown).await
    }

    async fn delete(&self, id: &PersistenceId, range: RangeInclusive<SeqNr>) -> Result<(), SnapshotError> {
        let what = format!("{:?}..{:?}", range.start(), range.end());
        let call = SnapshotCall::new(SnapshotOperation::Delete, Some(id), what);
        self.ask(call, |_| None, self.inner.delete(id, range), |()| "done".into()).await
    }

    async fn list(&self, id: &PersistenceId) -> Result<Vec<SeqNr>, SnapshotError> {
        let call = SnapshotCall::new(SnapshotOperation::List, Some(id), "");
        self.ask(call, |_| None, self.inner.list(id), |found| format!("{found:?}")).await
    }

    fn max_payload_bytes(&self) -> usize {
        self.inner.max_payload_bytes()
    }
}

impl fmt::Debug for FaultySnapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultySnapshots")
            .field("inner", &self.inner)
            .field("script", &self.script)
            .finish_non_exhaustive()
    }
}

fn unavailable() -> SnapshotError {
    SnapshotError::Unavailable { reason: "a test ordered it".into(), source: None }
}
