//! Readers on PostgreSQL miss nothing: not behind an open transaction, and not when the journal goes on on another server (I10).
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/postgres.rs"]
mod postgres;
mod support;

use std::process::Command;
use std::time::Duration;

use annals_journal::postgres::PostgresJournal;
use annals_journal::postgres::sqlx::{self, AssertSqlSafe, Connection as _, PgConnection};
use annals_journal::{Journal, JournalError, JournalExt, Offset, Page, PageItem, SliceRange, Token};
use annals_services::{Installation, Private, Settings};
use support::{append, id, token};

async fn page(journal: &PostgresJournal, after: Offset) -> Page {
    journal.events_by_slice(SliceRange::ALL, after, 100).await.unwrap()
}

fn shown(page: &Page) -> String {
    let item = |item: &PageItem| match item {
        PageItem::Event(event) => event.envelope.seq_nr.to_string(),
        other => panic!("{other:?}"),
    };
    page.items.iter().map(item).collect::<Vec<_>>().join(" ")
}

fn owner() -> Token {
    token(1, 1)
}

#[tokio::test]
async fn an_open_transaction_of_somebody_else_delays_readers_and_loses_nothing() {
    let Some(url) = postgres::url() else { return };
    let schema = postgres::schema();
    let journal = postgres::open(&url, &schema).await;
    let a = id("a");
    journal.append(append(&a, owner(), 0, 1)).await.unwrap();
    let before = page(&journal, Offset::BEGINNING).await;
    assert_eq!(shown(&before), "1");
    // It has a number, so it might write something that lies before what comes next.
    let mut somebody = PgConnection::connect(&url).await.unwrap();
    let mut open = somebody.begin().await.unwrap();
    sqlx::query("SELECT pg_current_xact_id()::text").execute(&mut *open).await.unwrap();
    journal.append(append(&a, owner(), 1, 2)).await.unwrap();
    let impatient = postgres::options(&schema).patience(Duration::from_millis(20));
    let impatient = PostgresJournal::open(&url, impatient).await.unwrap();
    let delayed = page(&impatient, before.complete_to).await;
    assert_eq!((shown(&delayed), delayed.complete_to), (String::new(), before.complete_to));
    // Who waits longer has it as soon as the transaction ends.
    let waiting = tokio::spawn(async move { page(&journal, before.complete_to).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    open.commit().await.unwrap();
    assert_eq!(shown(&waiting.await.unwrap()), "2 3");
}

#[tokio::test]
async fn a_dump_that_goes_on_elsewhere_is_read_on_from_an_old_offset() {
    let Some(url) = postgres::url() else { return };
    let Some(installation) = Installation::find() else { return };
    let schema = postgres::schema();
    let journal = postgres::open(&url, &schema).await;
    let a = id("a");
    // The other server, a new one, is behind this number.
    sqlx::raw_sql("SELECT pg_current_xact_id()::text FROM generate_series(1, 3)")
        .execute(&mut PgConnection::connect(&url).await.unwrap())
        .await
        .unwrap();
    journal.append(append(&a, owner(), 0, 3)).await.unwrap();
    let first = journal.events_by_slice(SliceRange::ALL, Offset::BEGINNING, 2).await.unwrap();
    assert_eq!(shown(&first), "1 2");
    let dump =
        Command::new(installation.program("pg_dump")).args([&url, "--schema", &schema]).output().unwrap();
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    // What is written after the dump is lost with the server, and a reader has seen it.
    journal.append(append(&a, owner(), 3, 1)).await.unwrap();
    let lost = page(&journal, first.complete_to).await.complete_to;
    journal.database().close().await;

    let target = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = annals_services::folder(target).join(postgres::schema());
    let (_server, elsewhere) = Private::start(installation, &folder, &Settings::default()).unwrap();
    restore(&elsewhere, &String::from_utf8(dump.stdout).unwrap()).await;
    let journal = postgres::open(&elsewhere, &schema).await;
    journal.append(append(&a, owner(), 3, 2)).await.unwrap();
    let rest = page(&journal, first.complete_to).await;
    assert_eq!(shown(&rest), "3 4 5");
    assert!(rest.complete_to > lost, "{} {lost}", rest.complete_to);
    assert_eq!(shown(&page(&journal, Offset::BEGINNING).await), "1 2 3 4 5");
    let error = journal.events_by_slice(SliceRange::ALL, lost, 10).await.unwrap_err();
    assert!(matches!(error, JournalError::Rejected { .. }), "{error}");
    assert!(error.to_string().contains("restored"), "{error}");
    // Another handle finds the generation begun.
    let again = postgres::open(&elsewhere, &schema).await;
    again.append(append(&a, owner(), 5, 1)).await.unwrap();
    let new = page(&again, rest.complete_to).await;
    assert_eq!(shown(&new), "6");
    assert_eq!(new.complete_to.generation, rest.complete_to.generation);
}

/// Runs a dump as `psql` does, which gives rows behind `COPY … FROM stdin`.
async fn restore(url: &str, dump: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let (mut sql, mut lines) = (String::new(), dump.lines());
    while let Some(line) = lines.next() {
        if !line.starts_with("COPY ") {
            // Commands of `psql` itself.
            if !line.starts_with('\\') {
                sql.push_str(line);
                sql.push('\n');
            }
            continue;
        }
        sqlx::raw_sql(AssertSqlSafe(std::mem::take(&mut sql))).execute(&mut connection).await.unwrap();
        let rows: String =
            lines.by_ref().take_while(|line| *line != "\\.").map(|line| format!("{line}\n")).collect();
        let mut copy = connection.copy_in_raw(line).await.unwrap();
        copy.send(rows.as_bytes()).await.unwrap();
        copy.finish().await.unwrap();
    }
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
}
