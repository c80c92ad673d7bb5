//! A reader of one process is woken by what another one writes, and says who holds it up.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "support/postgres.rs"]
mod postgres;
mod support;

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use annals_journal::postgres::PostgresJournal;
use annals_journal::postgres::sqlx::{self, Connection as _, PgConnection};
use annals_journal::{Journal, JournalExt, Offset, Query, SliceRange, telemetry};
use futures::StreamExt as _;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};

use support::{append, id, token};

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn what_another_process_commits_wakes_a_live_reader() {
    let Some(url) = postgres::url() else { return };
    let schema = postgres::schema();
    let (ours, theirs) = (postgres::open(&url, &schema).await, postgres::open(&url, &schema).await);
    // By itself it would look after an hour.
    let ours: Arc<dyn Journal> = Arc::new(ours);
    let mut live = Query::all(Arc::clone(&ours)).look_every(LONG, LONG).live();
    let a = id("a");
    for head in 0..5 {
        theirs.append(append(&a, token(1, 1), head, 1)).await.unwrap();
        let next = tokio::time::timeout(Duration::from_secs(60), live.next()).await;
        let item = next.expect("it was woken").unwrap().unwrap();
        assert_eq!(item.persistence_id(), &a);
    }
}

#[test]
fn who_holds_readers_up_is_in_the_log_and_how_long_in_a_metric() {
    let Some(url) = postgres::url() else { return };
    let recorder = DebuggingRecorder::new();
    let seen = recorder.snapshotter();
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // For all threads: where one thread alone has a subscriber, another that is faster at an event switches the event off.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let schema = postgres::schema();
            let options = postgres::options(&schema).patience(Duration::from_millis(1_500));
            let journal = PostgresJournal::open(&url, options).await.unwrap();
            let mut somebody =
                PgConnection::connect(&format!("{url}?application_name={schema}")).await.unwrap();
            let mut open = somebody.begin().await.unwrap();
            sqlx::query("SELECT txid_current()").execute(&mut *open).await.unwrap();
            journal.append(append(&id("a"), token(1, 1), 0, 1)).await.unwrap();
            // On a machine with load a page may look once only, and a second is not over then.
            let deadline = Instant::now() + Duration::from_secs(60);
            let text = loop {
                let page = journal.events_by_slice(SliceRange::ALL, Offset::BEGINNING, 10).await.unwrap();
                assert!(page.items.is_empty(), "it lies behind a transaction that is open");
                let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
                if text.contains("readers are held up") || Instant::now() > deadline {
                    break text;
                }
            };
            open.rollback().await.unwrap();
            assert!(text.contains(&schema), "it names the session: {text}");
        });
    });
    let gauges = seen.snapshot().into_vec();
    let held = gauges.iter().find(|(key, ..)| key.key().name() == telemetry::READERS_HELD_SECONDS);
    let Some((.., DebugValue::Gauge(held))) = held else { panic!("no gauge") };
    assert!(held.into_inner() >= 1.0, "{held}");
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
