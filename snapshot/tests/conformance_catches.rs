//! The conformance suite has teeth: each of its clauses fails for a store that breaks it.
#![cfg(feature = "conformance")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use annals_journal::{PersistenceId, SeqNr, Timestamp};
use annals_snapshot::conformance::{self, Backend};
use annals_snapshot::{MemorySnapshotStore, Snapshot, SnapshotError, SnapshotStore};
use async_trait::async_trait;
use bytes::Bytes;

/// What is wrong with a [`Broken`] store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    LoadsAnythingForUnknownIds,
    LoadsTheOldest,
    BoundIsExclusive,
    BoundIsIgnored,
    NewestByTime,
    ListsHighestFirst,
    IdsIgnoreCase,
    DeletesNothing,
    DeletesTheLowerBoundOnly,
    DeletesUpToTheBound,
    DeletesReversedRanges,
    DeletingNothingIsAnError,
    KeepsTheFirst,
    CutsAtFourKiB,
    ForgetsTheKey,
    RefusesHalfItsLimit,
    TakesAnySize,
    TakesAnySizeAndReplaces,
    TakesNumberZero,
    SkipsTheUnreadable,
    UnreadableIsUnavailable,
    ListsOnlyTheReadable,
    ReplacesOnlyTheReadable,
    MixesConcurrentSaves,
    LosesConcurrentSaves,
    DeletesBeforeItReplaces,
    KeepsOnlyTheNewest,
    ForgetsWhenReopened,
}

#[derive(Debug)]
struct Broken {
    fault: Fault,
    inner: MemorySnapshotStore,
    /// Payload of the save that came last, for mixing.
    slot: Mutex<Bytes>,
    busy: AtomicBool,
}

impl Broken {
    fn folded(&self, id: &PersistenceId) -> PersistenceId {
        match self.fault {
            Fault::IdsIgnoreCase => PersistenceId::parse(&id.as_str().to_lowercase()).unwrap(),
            _ => id.clone(),
        }
    }
}

#[async_trait]
impl SnapshotStore for Broken {
    async fn save(&self, mut snapshot: Snapshot) -> Result<(), SnapshotError> {
        let (id, seq_nr) = (snapshot.persistence_id.clone(), snapshot.seq_nr);
        let here = seq_nr..=seq_nr;
        match self.fault {
            Fault::IdsIgnoreCase => snapshot.persistence_id = self.folded(&id),
            Fault::KeepsTheFirst if self.inner.list(&id).await?.contains(&seq_nr) => return Ok(()),
            Fault::CutsAtFourKiB => snapshot.payload.truncate(4096),
            Fault::ForgetsTheKey => snapshot.key_id = None,
            Fault::RefusesHalfItsLimit => snapshot.check(self.max_payload_bytes() / 2)?,
            Fault::TakesAnySize if snapshot.payload.len() > self.max_payload_bytes() => return Ok(()),
            Fault::TakesAnySizeAndReplaces if snapshot.payload.len() > self.max_payload_bytes() => {
                self.inner.delete(&id, here).await?;
            }
            Fault::TakesNumberZero if seq_nr == SeqNr::ZERO => return Ok(()),
            Fault::ReplacesOnlyTheReadable if self.inner.list(&id).await?.contains(&seq_nr) => {
                self.inner.load(&id, seq_nr).await?;
            }
            Fault::KeepsOnlyTheNewest => self.inner.delete(&id, SeqNr::ZERO..=seq_nr.previous()).await?,
            Fault::MixesConcurrentSaves => {
                *self.slot.lock().unwrap() = snapshot.payload.clone();
                others_run().await;
                snapshot.payload = self.slot.lock().unwrap().clone();
            }
            Fault::LosesConcurrentSaves => {
                if self.busy.swap(true, Ordering::SeqCst) {
                    return Ok(());
                }
                others_run().await;
                self.busy.store(false, Ordering::SeqCst);
            }
            Fault::DeletesBeforeItReplaces => {
                let half = Snapshot {
                    payload: snapshot.payload.slice(..snapshot.payload.len() / 2),
                    ..snapshot.clone()
                };
                self.inner.save(half).await?;
                others_run().await;
            }
            _ => {}
        }
        self.inner.save(snapshot).await
    }

    async fn load(&self, id: &PersistenceId, at_most: SeqNr) -> Result<Option<Snapshot>, SnapshotError> {
        let id = &self.folded(id);
        let numbers = self.inner.list(id).await?;
        let lowest = numbers.first().copied().unwrap_or(SeqNr::FIRST);
        match self.fault {
            Fault::LoadsAnythingForUnknownIds if numbers.is_empty() => {
                self.inner.load(&PersistenceId::parse("suite|known").unwrap(), SeqNr::MAX).await
            }
            Fault::LoadsTheOldest if at_most >= lowest => self.inner.load(id, lowest).await,
            Fault::BoundIsExclusive => self.inner.load(id, at_most.previous()).await,
            Fault::BoundIsIgnored => self.inner.load(id, SeqNr::MAX).await,
            Fault::NewestByTime => {
                let mut newest: Option<Snapshot> = None;
                for number in numbers.into_iter().filter(|number| *number <= at_most) {
                    let found = self.inner.load(id, number).await?;
                    let time = |snapshot: &Option<Snapshot>| {
                        snapshot.as_ref().map_or(Timestamp::default(), |snapshot| snapshot.timestamp)
                    };
                    if time(&found) > time(&newest) {
                        newest = found;
                    }
                }
                Ok(newest)
            }
            Fault::SkipsTheUnreadable => match self.inner.load(id, at_most).await {
                Err(SnapshotError::Corrupt { seq_nr, .. }) => self.load(id, seq_nr.previous()).await,
                other => other,
            },
            Fault::UnreadableIsUnavailable => match self.inner.load(id, at_most).await {
                Err(error) => Err(SnapshotError::unavailable("cannot read", error)),
                other => other,
            },
            _ => self.inner.load(id, at_most).await,
        }
    }

    async fn delete(&self, id: &PersistenceId, range: RangeInclusive<SeqNr>) -> Result<(), SnapshotError> {
        let id = &self.folded(id);
        let (from, to) = range.clone().into_inner();
        match self.fault {
            Fault::DeletesNothing => Ok(()),
            Fault::DeletesTheLowerBoundOnly => self.inner.delete(id, from..=from).await,
            Fault::DeletesUpToTheBound => self.inner.delete(id, SeqNr::ZERO..=to).await,
            Fault::DeletesReversedRanges => self.inner.delete(id, from.min(to)..=from.max(to)).await,
            Fault::DeletingNothingIsAnError
                if !self.inner.list(id).await?.iter().any(|number| range.contains(number)) =>
            {
                Err(SnapshotError::corrupt(id, from, "not found"))
            }
            _ => self.inner.delete(id, range).await,
        }
    }

    async fn list(&self, id: &PersistenceId) -> Result<Vec<SeqNr>, SnapshotError> {
        let id = &self.folded(id);
        let mut numbers = self.inner.list(id).await?;
        match self.fault {
            Fault::ListsHighestFirst => numbers.reverse(),
            Fault::ListsOnlyTheReadable => {
                let mut readable = Vec::new();
                for number in numbers {
                    if self.inner.load(id, number).await.is_ok() {
                        readable.push(number);
                    }
                }
                numbers = readable;
            }
            _ => {}
        }
        Ok(numbers)
    }

    fn max_payload_bytes(&self) -> usize {
        // Small, so that the suite is quick.
        1024 * 1024
    }
}

struct BrokenBackend {
    fault: Fault,
    inner: MemorySnapshotStore,
}

#[async_trait]
impl Backend for BrokenBackend {
    async fn open(&self) -> Arc<dyn SnapshotStore> {
        let inner = match self.fault {
            Fault::ForgetsWhenReopened => MemorySnapshotStore::new(),
            _ => self.inner.clone(),
        };
        let strict = self.fault != Fault::TakesAnySize && self.fault != Fault::TakesAnySizeAndReplaces;
        let broken =
            Broken { fault: self.fault, inner, slot: Mutex::default(), busy: AtomicBool::new(false) };
        if strict { Arc::new(Limited(broken)) } else { Arc::new(broken) }
    }

    /// It does, as far as the suite can tell.
    fn outlives_process(&self) -> bool {
        true
    }

    async fn corrupt(&self, id: &PersistenceId, seq_nr: SeqNr) {
        assert!(self.inner.tamper(id, seq_nr, |bytes| bytes[30] ^= 1));
    }
}

/// Refuses what is above the limit that [`Broken`] names, which is lower than that of its memory.
#[derive(Debug)]
struct Limited(Broken);

#[async_trait]
impl SnapshotStore for Limited {
    async fn save(&self, snapshot: Snapshot) -> Result<(), SnapshotError> {
        if self.0.fault != Fault::TakesNumberZero {
            snapshot.check(self.max_payload_bytes())?;
        }
        self.0.save(snapshot).await
    }

    async fn load(&self, id: &PersistenceId, at_most: SeqNr) -> Result<Option<Snapshot>, SnapshotError> {
        self.0.load(id, at_most).await
    }

    async fn delete(&self, id: &PersistenceId, range: RangeInclusive<SeqNr>) -> Result<(), SnapshotError> {
        self.0.delete(id, range).await
    }

    async fn list(&self, id: &PersistenceId) -> Result<Vec<SeqNr>, SnapshotError> {
        self.0.list(id).await
    }

    fn max_payload_bytes(&self) -> usize {
        self.0.max_payload_bytes()
    }
}

/// Leaves the fault open long enough for others to meet it.
async fn others_run() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

type Clause = fn(Fault) -> bool;

/// All clauses by name; each tells whether a store with this fault passes it.
fn clauses() -> Vec<(&'static str, Clause)> {
    macro_rules! by_name {
        ([] $($clause:ident)*) => {
            vec![$((stringify!($clause), (|fault| passes(fault, conformance::$clause)) as Clause)),*]
        };
    }
    annals_snapshot::__snapshot_clauses! { [by_name] [] }
}

fn passes(fault: Fault, clause: impl AsyncFnOnce(&dyn Backend)) -> bool {
    let backend = || BrokenBackend { fault, inner: MemorySnapshotStore::new() };
    catch_unwind(AssertUnwindSafe(|| conformance::run(backend, clause))).is_ok()
}

#[test]
fn a_store_without_a_fault_passes_every_clause() {
    for (name, passes) in clauses() {
        assert!(passes(Fault::None), "{name}");
    }
}

#[test]
fn each_fault_is_caught_by_its_clause_and_each_clause_catches_one() {
    let expected = [
        (Fault::LoadsAnythingForUnknownIds, "an_unknown_id_has_no_snapshot"),
        (Fault::BoundIsIgnored, "a_bound_below_every_snapshot_gives_none"),
        (Fault::LoadsTheOldest, "without_a_bound_the_newest_is_loaded"),
        (Fault::BoundIsExclusive, "a_bound_gives_the_newest_at_or_below_it"),
        (Fault::NewestByTime, "time_plays_no_role_in_what_is_loaded"),
        (Fault::ListsHighestFirst, "numbers_are_listed_lowest_first"),
        (Fault::IdsIgnoreCase, "ids_have_nothing_to_do_with_each_other"),
        (Fault::DeletesNothing, "a_deleted_number_gives_way_to_the_older_one"),
        (Fault::DeletesTheLowerBoundOnly, "all_numbers_can_be_deleted_at_once"),
        (Fault::DeletesUpToTheBound, "a_range_deletes_its_bounds_and_nothing_else"),
        (Fault::DeletesReversedRanges, "a_range_that_ends_before_it_starts_deletes_nothing"),
        (Fault::DeletingNothingIsAnError, "deleting_what_is_not_there_is_fine"),
        (Fault::KeepsTheFirst, "the_same_number_replaces"),
        (Fault::CutsAtFourKiB, "a_state_of_10_000_bytes_is_stored"),
        (Fault::ForgetsTheKey, "every_field_is_given_back"),
        (Fault::RefusesHalfItsLimit, "the_largest_payload_is_stored"),
        (Fault::TakesAnySize, "a_larger_payload_is_rejected_and_replaces_nothing"),
        (Fault::TakesAnySizeAndReplaces, "a_larger_payload_is_rejected_and_replaces_nothing"),
        (Fault::TakesNumberZero, "a_snapshot_without_an_event_is_rejected"),
        (Fault::SkipsTheUnreadable, "an_unreadable_snapshot_is_named_and_the_older_one_loads"),
        (Fault::UnreadableIsUnavailable, "an_unreadable_snapshot_is_named_and_the_older_one_loads"),
        (Fault::ListsOnlyTheReadable, "an_unreadable_snapshot_is_listed_and_can_be_deleted"),
        (Fault::ReplacesOnlyTheReadable, "an_unreadable_snapshot_can_be_replaced"),
        (Fault::MixesConcurrentSaves, "of_concurrent_saves_of_one_number_one_wins_whole"),
        (Fault::LosesConcurrentSaves, "concurrent_saves_of_many_numbers_all_stay"),
        (Fault::DeletesBeforeItReplaces, "a_load_during_saves_sees_a_whole_one"),
        (Fault::DeletesBeforeItReplaces, "a_dropped_save_is_done_or_not_done"),
        (Fault::KeepsOnlyTheNewest, "a_failing_prune_does_not_fail_a_save"),
        (Fault::ForgetsWhenReopened, "what_was_saved_and_deleted_survives_reopening"),
    ];
    let clauses = clauses();
    for (fault, name) in expected {
        let (_, passes) = clauses.iter().find(|clause| clause.0 == name).expect("the clause exists");
        assert!(!passes(fault), "{name} does not catch {fault:?}");
    }
    for (name, _) in clauses {
        assert!(expected.iter().any(|(_, clause)| *clause == name), "no fault shows that {name} can fail");
    }
}
