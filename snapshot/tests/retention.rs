//! What a keeper keeps, deletes and says.

#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::cell::RefCell;
use std::io;
use std::sync::{Arc, Once};
use std::time::Duration;

use annals_journal::testing::FaultyJournal;
use annals_journal::{
    AtomicWrite, Codec, Envelope, Epoch, Journal, JournalExt, Manifest, MemoryJournal, Offset, PersistenceId,
    ReaderName, Readers, ReplayRange, Replayed, SeqNr, Timestamp, Token, WriterId,
};
use annals_snapshot::testing::FaultySnapshots;
use annals_snapshot::{
    MemorySnapshotStore, PruneFailure, Retention, SaveReport, Snapshot, SnapshotError, SnapshotKeeper,
    SnapshotStore, telemetry,
};
use bytes::Bytes;
use futures::StreamExt;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};

const NOW: Timestamp = Timestamp::from_micros(1_795_421_730_000_000);

fn nr(number: u64) -> SeqNr {
    SeqNr::new(number).unwrap()
}

fn days(days: u64) -> Duration {
    Duration::from_secs(days * 24 * 3600)
}

/// One entity with a journal, a store and a keeper over both, which fail for it on order.
struct Entity {
    id: PersistenceId,
    journal: Arc<MemoryJournal>,
    store: Arc<MemorySnapshotStore>,
    readers: Readers,
    keeper: SnapshotKeeper,
    events: FaultyJournal,
    snapshots: FaultySnapshots,
}

impl Entity {
    fn new() -> Self {
        let journal = Arc::new(MemoryJournal::new());
        let store = Arc::new(MemorySnapshotStore::new());
        let readers = Readers::new(journal.clone());
        let events = FaultyJournal::around(journal.clone());
        let snapshots = FaultySnapshots::around(store.clone());
        let keeper =
            SnapshotKeeper::new(Arc::new(snapshots.clone()), Arc::new(events.clone()), readers.clone());
        let id = PersistenceId::parse("account|alice").unwrap();
        Self { id, journal, store, readers, keeper, events, snapshots }
    }

    fn event(&self, number: u64) -> Envelope {
        Envelope {
            persistence_id: self.id.clone(),
            seq_nr: nr(number),
            token: Token::new(Epoch(1), 1),
            writer: WriterId::from_bytes([1; 16]),
            timestamp: Timestamp::from_micros(number),
            manifest: Manifest::new("account.deposited").unwrap(),
            schema_version: 1,
            codec: Codec::Json,
            tags: vec![],
            trace_context: None,
            key_id: None,
            payload: Bytes::from_static(b"{}"),
        }
    }

    async fn append_to(&self, number: u64) {
        let head = self.journal.head(&self.id).await.unwrap().seq_nr;
        if nr(number) <= head {
            return;
        }
        let events = (head.get() + 1..=number).map(|number| self.event(number)).collect();
        let append = AtomicWrite {
            persistence_id: self.id.clone(),
            expected: head,
            token: Token::new(Epoch(1), 1),
            events,
            mark: None,
        };
        self.journal.append(append).await.unwrap();
    }

    fn snapshot(&self, number: u64) -> Snapshot {
        Snapshot {
            persistence_id: self.id.clone(),
            seq_nr: nr(number),
            token: Token::new(Epoch(1), 1),
            last_event: self.event(number).digest(),
            timestamp: NOW,
            manifest: Manifest::new("account.state").unwrap(),
            schema_version: 1,
            codec: Codec::Json,
            key_id: None,
            payload: Bytes::from(number.to_string()),
        }
    }

    /// Appends up to a number and saves a snapshot there.
    async fn save_at(&self, number: u64, retention: Retention) -> SaveReport {
        self.append_to(number).await;
        self.keeper.save(self.snapshot(number), &retention).await
    }

    async fn deleted_to(&self) -> u64 {
        self.journal.head(&self.id).await.unwrap().deleted_to.get()
    }

    async fn saved(&self) -> Vec<u64> {
        self.store.list(&self.id).await.unwrap().into_iter().map(SeqNr::get).collect()
    }

    async fn reader_at(&self, name: &str, event: u64, advanced: Timestamp) {
        let found = self.journal.replay(ReplayRange::all(&self.id).from(nr(event)).limit(1)).next().await;
        let offset = match found {
            Some(Ok(Replayed::Event(event))) => event.offset,
            other => panic!("no event {event}: {other:?}"),
        };
        self.readers.register(&ReaderName::new(name).unwrap(), offset, advanced).await.unwrap();
    }

    /// What a recovery needs: a readable snapshot that the journal has the event of, or event 1, and all events from there.
    async fn recovers(&self) -> bool {
        let head = self.journal.head(&self.id).await.unwrap();
        let mut bound = head.seq_nr;
        let from = loop {
            match self.store.load(&self.id, bound).await {
                Ok(Some(snapshot)) => break snapshot.seq_nr,
                Ok(None) => break SeqNr::FIRST,
                Err(SnapshotError::Corrupt { seq_nr, .. }) => bound = seq_nr.previous(),
                Err(error) => panic!("{error}"),
            }
        };
        head.deleted_to < from
    }
}

#[tokio::test]
async fn two_snapshots_and_every_event_are_kept_by_default() {
    let entity = Entity::new();
    for number in [10, 20, 30, 40] {
        assert!(entity.save_at(number, Retention::default()).await.saved.is_ok());
    }
    assert_eq!(entity.saved().await, [30, 40]);
    assert_eq!(entity.deleted_to().await, 0);
}

#[tokio::test]
async fn covered_events_are_deleted_before_the_oldest_kept_snapshots_own() {
    let entity = Entity::new();
    let retention = Retention::keep(2).delete_events();
    let report = entity.save_at(10, retention).await;
    assert_eq!((report.pruned.events_to, report.pruned.snapshots_to), (None, None));
    let report = entity.save_at(20, retention).await;
    assert_eq!(report.pruned.events_to, Some(nr(9)));
    let report = entity.save_at(30, retention).await;
    assert_eq!(report.pruned.events_to, Some(nr(19)));
    assert_eq!(report.pruned.snapshots_to, Some(nr(19)));
    assert_eq!((entity.saved().await, entity.deleted_to().await), (vec![20, 30], 19));
}

#[tokio::test]
async fn a_failed_save_is_reported_and_deletes_nothing() {
    let entity = Entity::new();
    let retention = Retention::keep(1).delete_events();
    assert!(entity.save_at(10, retention).await.saved.is_ok());
    entity.snapshots.next_save().fails_unavailable();
    let report = entity.save_at(20, retention).await;
    assert!(matches!(report.saved, Err(SnapshotError::Unavailable { .. })));
    assert_eq!((entity.saved().await, entity.deleted_to().await), (vec![10], 9));
}

#[tokio::test]
async fn whatever_fails_of_a_pruning_the_save_stands_and_the_entity_recovers() {
    for fails in ["events", "snapshots", "nothing"] {
        let entity = Entity::new();
        let retention = Retention::keep(2).delete_events();
        for number in [10, 20] {
            assert!(entity.save_at(number, Retention::keep(9)).await.saved.is_ok());
        }
        entity.append_to(30).await;
        match fails {
            "events" => entity.events.next_delete().fails_unavailable(),
            "snapshots" => entity.snapshots.next_delete().fails_unavailable(),
            _ => {}
        }
        let report = entity.save_at(30, retention).await;
        assert!(report.saved.is_ok(), "{fails}: {report:?}");
        assert_eq!(report.pruned.failure.is_some(), fails != "nothing", "{fails}: {report:?}");
        assert!(entity.recovers().await, "{fails}");
        entity.store.tamper(&entity.id, nr(30), |bytes| bytes[20] ^= 1);
        assert!(entity.recovers().await, "{fails}, without the newest");
        // The next one catches up.
        assert!(entity.save_at(30, retention).await.pruned.failure.is_none());
        assert_eq!((entity.saved().await, entity.deleted_to().await), (vec![20, 30], 19));
    }
}

#[tokio::test]
async fn events_stay_when_the_snapshot_that_covers_them_is_unreadable() {
    let entity = Entity::new();
    let retention = Retention::keep(2).delete_events();
    for number in [10, 20] {
        assert!(entity.save_at(number, Retention::keep(9)).await.saved.is_ok());
    }
    entity.store.tamper(&entity.id, nr(20), |bytes| bytes[20] ^= 1);
    let report = entity.save_at(30, retention).await;
    assert!(report.saved.is_ok());
    assert!(
        matches!(report.pruned.failure, Some(PruneFailure::NotCovered { covered_by, .. }) if covered_by == nr(20))
    );
    assert_eq!((entity.saved().await, entity.deleted_to().await), (vec![10, 20, 30], 0));
    // Once the unreadable one is no longer the oldest kept, all goes on.
    assert_eq!(entity.save_at(40, retention).await.pruned.events_to, Some(nr(29)));
}

#[tokio::test]
async fn events_stay_when_the_snapshot_that_covers_them_is_of_another_history() {
    let entity = Entity::new();
    entity.append_to(20).await;
    let stranger = Snapshot { last_event: entity.event(19).digest(), ..entity.snapshot(20) };
    entity.store.save(stranger).await.unwrap();
    let report = entity.save_at(30, Retention::keep(2).delete_events()).await;
    let failure = report.pruned.failure.unwrap().to_string();
    assert_eq!(
        failure,
        "events are kept, because snapshot #20 cannot stand for them: it was taken in another history than the journal's"
    );
    assert_eq!(entity.deleted_to().await, 0);
}

#[tokio::test]
async fn a_snapshot_ahead_of_the_journal_covers_nothing() {
    let entity = Entity::new();
    entity.append_to(20).await;
    let report = entity.keeper.save(entity.snapshot(30), &Retention::keep(1).delete_events()).await;
    assert!(matches!(report.pruned.failure, Some(PruneFailure::NotCovered { .. })));
    assert_eq!(entity.deleted_to().await, 0);
}

#[tokio::test]
async fn events_that_a_reader_has_not_passed_stay() {
    for passed in 1..=40 {
        let entity = Entity::new();
        entity.append_to(40).await;
        entity.reader_at("balances", passed, NOW).await;
        entity.reader_at("exports", 40, NOW).await;
        let report = entity.save_at(30, Retention::keep(1).delete_events()).await;
        assert_eq!(entity.deleted_to().await, passed.min(29), "passed {passed}");
        let held = report.pruned.held_for.map(|reader| reader.to_string());
        assert_eq!(held.as_deref(), (passed < 29).then_some("balances"), "passed {passed}");
        assert!(report.pruned.failure.is_none());
    }
}

#[tokio::test]
async fn a_reader_that_has_passed_nothing_keeps_everything() {
    let entity = Entity::new();
    entity.readers.register(&ReaderName::new("new").unwrap(), Offset::BEGINNING, NOW).await.unwrap();
    let report = entity.save_at(30, Retention::keep(1).delete_events()).await;
    assert_eq!((entity.deleted_to().await, report.pruned.events_to), (0, None));
}

#[tokio::test]
async fn a_reader_that_has_not_advanced_for_a_week_is_not_waited_for_and_is_named() {
    let log = Log::start();
    let entity = Entity::new();
    entity.append_to(40).await;
    let week_ago = Timestamp::from_micros(NOW.as_micros() - 1 - days(7).as_micros() as u64);
    entity.reader_at("forgotten", 5, week_ago).await;
    entity.reader_at("balances", 20, NOW).await;
    let report = entity.save_at(30, Retention::keep(1).delete_events()).await;
    assert_eq!(report.pruned.events_to, Some(nr(20)));
    for number in [35, 40] {
        let _ = entity.save_at(number, Retention::keep(1).delete_events()).await;
    }
    let text = log.text();
    let warnings: Vec<_> = text.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(warnings.len(), 1, "once in ten minutes is enough: {text}");
    assert!(warnings[0].contains("forgotten") && warnings[0].contains("unregister"), "{text}");
    let held: Vec<_> = text.lines().filter(|line| line.contains("INFO")).collect();
    assert_eq!(held.len(), 1, "{text}");
    assert!(held[0].contains("balances"), "{text}");
}

#[tokio::test]
async fn unreadable_snapshots_are_passed_over_and_named() {
    let log = Log::start();
    let entity = Entity::new();
    for number in [10, 20, 30] {
        assert!(entity.save_at(number, Retention::keep(3)).await.saved.is_ok());
    }
    for number in [20, 30] {
        entity.store.tamper(&entity.id, nr(number), |bytes| bytes[20] ^= 1);
    }
    let found = entity.keeper.load(&entity.id, SeqNr::MAX).await.unwrap();
    assert_eq!(found, Some(entity.snapshot(10)));
    entity.store.tamper(&entity.id, nr(10), |bytes| bytes.clear());
    assert_eq!(entity.keeper.load(&entity.id, SeqNr::MAX).await.unwrap(), None);
    let text = log.text();
    assert_eq!(text.matches("a snapshot is unreadable").count(), 5, "{text}");
    assert!(text.contains("account|alice") && text.contains("seq_nr=20"), "{text}");
}

#[test]
fn metrics_tell_what_was_saved_pruned_and_not() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    recording(&recorder, async {
        let entity = Entity::new();
        let retention = Retention::keep(1).delete_events();
        for number in [10, 20] {
            assert!(entity.save_at(number, retention).await.saved.is_ok());
        }
        entity.store.tamper(&entity.id, nr(20), |bytes| bytes[20] ^= 1);
        assert_eq!(entity.keeper.load(&entity.id, SeqNr::MAX).await.unwrap(), None);
        entity.events.next_delete().fails_unavailable();
        assert!(entity.save_at(30, retention).await.pruned.failure.is_some());
        entity.snapshots.next_save().fails_unavailable();
        assert!(entity.save_at(40, retention).await.saved.is_err());
    });
    let counted: Vec<_> = snapshotter.snapshot().into_vec();
    let counter = |name: &str| {
        counted.iter().find_map(|(key, _, _, value)| match value {
            DebugValue::Counter(count) if key.key().name() == name => Some(*count),
            _ => None,
        })
    };
    for (name, expected) in [
        (telemetry::SAVED, 3),
        (telemetry::SAVE_FAILURES, 1),
        (telemetry::PRUNED, 1),
        (telemetry::PRUNED_EVENTS, 19),
        (telemetry::PRUNE_FAILURES, 1),
        (telemetry::UNREADABLE, 1),
    ] {
        assert_eq!(counter(name), Some(expected), "{name}");
    }
}

fn recording(recorder: &DebuggingRecorder, story: impl Future<Output = ()>) {
    metrics::with_local_recorder(recorder, || futures::executor::block_on(story));
}

/// What this thread logs, which is what its test logs: each runs on one thread.
///
/// One subscriber for the process writes to the thread's own buffer. Subscribers of single threads would be quicker to write, but
/// tracing remembers of a call site that nobody listens when a thread without one comes there first.
struct Log;

thread_local! {
    static LOGGED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Log {
    fn start() -> Self {
        static SUBSCRIBER: Once = Once::new();
        SUBSCRIBER.call_once(|| tracing_subscriber::fmt().with_ansi(false).with_writer(|| Log).init());
        LOGGED.take();
        Self
    }

    fn text(&self) -> String {
        String::from_utf8(LOGGED.take()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOGGED.with_borrow_mut(|logged| logged.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
