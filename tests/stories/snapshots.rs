//! A meter on a SQLite file: snapshots shorten its recovery, stand for deleted events, and are never taken for the truth.

use std::path::Path;

use annals::actors::{Failure, Node, RecoveryError};
use annals::journal::sqlite::rusqlite::{Connection, params};
use annals::journal::{Offset, ReaderName, Readers};
use annals::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Debug, Default, Serialize, Deserialize)]
struct Meter {
    total: u64,
}

#[derive(Debug, Serialize, Deserialize, Event)]
enum MeterEvent {
    Read { units: u64 },
}

impl PersistentActor for Meter {
    const KIND: &'static str = "meter";
    type Event = MeterEvent;
    type Commands = (Report,);

    fn apply(&mut self, MeterEvent::Read { units }: &MeterEvent) {
        self.total += units;
    }
}

/// 0 units only ask.
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
struct Report {
    units: u64,
}

impl Handle<Report> for Meter {
    type Reply = u64;
    type Rejection = NeverRejected;

    fn handle(&self, report: &Report, ctx: &mut Context<Self, Report>) -> Effect<Self, Report> {
        if report.units == 0 {
            return ctx.reply(self.total);
        }
        ctx.persist(MeterEvent::Read { units: report.units }).reply(|meter| meter.total)
    }
}

async fn start(file: &Path, retention: Retention) -> Node {
    start_with(file, Kind::<Meter>::new().snapshots(SnapshotPolicy::every_events(10)).retention(retention))
        .await
}

async fn start_with(file: &Path, meters: Kind<Meter>) -> Node {
    let url = format!("sqlite://{}", file.display());
    Annals::builder("meters").journal(url).kind(meters).start().await.unwrap()
}

/// Reports 1 unit so many times. Each snapshot gets a node that ends with all it has begun: one that is due while the
/// one before is being stored waits for it, and is then of a later number.
async fn report(file: &Path, retention: Retention, times: usize) {
    let mut reports = std::iter::repeat_n(Report { units: 1 }, times).peekable();
    while reports.peek().is_some() {
        let node = start(file, retention).await;
        for report in reports.by_ref().take(10) {
            node.entity::<Meter>("m-1").ask(report).await.unwrap();
        }
        node.shutdown().await;
    }
}

/// Only looks: takes no snapshot either.
async fn total(file: &Path) -> Result<u64, AskError<NeverRejected>> {
    let node = start_with(file, Kind::new().snapshots(SnapshotPolicy::never())).await;
    let total = node.entity::<Meter>("m-1").ask(Report { units: 0 }).await;
    node.shutdown().await;
    total
}

fn snapshots(file: &Path) -> Vec<u64> {
    let conn = Connection::open(file).unwrap();
    let mut numbers = conn.prepare("SELECT seq FROM snapshots ORDER BY seq").unwrap();
    numbers.query_map((), |row| row.get::<_, i64>(0)).unwrap().map(|n| n.unwrap().cast_unsigned()).collect()
}

async fn deleted_to(file: &Path) -> u64 {
    let opened = annals::journal::open(&format!("sqlite://{}", file.display())).await.unwrap();
    let id = PersistenceId::new("meter", "m-1").unwrap();
    opened.journal.head(&id).await.unwrap().deleted_to.get()
}

/// Flips a bit of the stored bytes.
fn damage(file: &Path, number: u64) {
    let conn = Connection::open(file).unwrap();
    let seq = number.cast_signed();
    let find = "SELECT stored FROM snapshots WHERE seq = ?";
    let mut stored: Vec<u8> = conn.query_row(find, [seq], |row| row.get(0)).unwrap();
    let middle = stored.len() / 2;
    stored[middle] ^= 1;
    conn.execute("UPDATE snapshots SET stored = ? WHERE seq = ?", params![stored, seq]).unwrap();
}

#[tokio::test]
async fn an_unreadable_snapshot_costs_time_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("meters.db");
    report(&file, Retention::default(), 35).await;
    assert_eq!(snapshots(&file), [20, 30]);
    assert_eq!(total(&file).await, Ok(35));
    damage(&file, 30);
    assert_eq!(total(&file).await, Ok(35), "from the older snapshot");
    damage(&file, 20);
    assert_eq!(total(&file).await, Ok(35), "from the events");
    // The damaged ones count as snapshots until newer ones have taken their place.
    report(&file, Retention::default(), 30).await;
    assert_eq!(snapshots(&file).len(), 2);
    assert_eq!(total(&file).await, Ok(65));
}

#[tokio::test]
async fn without_a_readable_snapshot_and_without_the_events_there_is_no_state() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("meters.db");
    report(&file, Retention::keep(2).delete_events(), 35).await;
    assert_eq!((snapshots(&file), deleted_to(&file).await), (vec![20, 30], 19));
    damage(&file, 30);
    assert_eq!(total(&file).await, Ok(35), "from the older snapshot and the events that it needs");
    damage(&file, 20);
    match total(&file).await {
        Err(AskError::Failed(Failure::RecoveryFailed {
            reason: RecoveryError::EventsMissing { to },
            ..
        })) => {
            assert_eq!(to.get(), 19);
        }
        other => panic!("an entity without history answered {other:?}"),
    }
}

#[tokio::test]
async fn a_registered_reader_keeps_the_events_that_it_has_not_passed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("meters.db");
    let retention = Retention::keep(1).delete_events();
    let balances = ReaderName::new("balances").unwrap();
    let node = start(&file, retention).await;
    let readers = Readers::new(node.records().clone());
    readers.register(&balances, Offset::BEGINNING, Timestamp::now()).await.unwrap();
    node.shutdown().await;
    drop((readers, node));
    report(&file, retention, 25).await;
    assert_eq!(deleted_to(&file).await, 0);

    let node = start(&file, retention).await;
    let page = node
        .journal()
        .events_by_slice(annals::journal::SliceRange::ALL, Offset::BEGINNING, 12)
        .await
        .unwrap();
    let readers = Readers::new(node.records().clone());
    readers.advance(&balances, page.complete_to, Timestamp::now()).await.unwrap();
    node.shutdown().await;
    drop((readers, node));
    report(&file, retention, 10).await;
    assert_eq!(deleted_to(&file).await, 12);
    assert_eq!(total(&file).await, Ok(35));
}
