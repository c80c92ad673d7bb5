//! What is in the way is said, with the server and the remedy, and never with the password.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/postgres.rs"]
mod postgres;
mod support;

use annals_journal::postgres::sqlx::{self, AssertSqlSafe, Connection as _, PgConnection};
use annals_journal::postgres::{OpenError, Options, PostgresJournal, Schema};
use annals_journal::{Gate, Journal, JournalError, JournalExt, Offset, RecordChange, Records, SliceRange};
use annals_services::{Installation, Private, Settings};
use support::{append, id, nr, token};

async fn refused(url: &str, options: Options) -> OpenError {
    PostgresJournal::open(url, options).await.expect_err("it cannot be opened")
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = refused(&format!("postgres://annals:sesame@127.0.0.1:{free}/bank"), Options::default()).await;
    let said = error.to_string();
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error:?}");
    assert!(said.contains(&format!("127.0.0.1:{free}/bank")) && said.contains("is it running"), "{said}");
    assert!(!said.contains("sesame"));
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_not_told() {
    let Some(installation) = Installation::find().filter(|_| postgres::url().is_some()) else { return };
    let target = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = annals_services::folder(target).join(postgres::schema());
    let (server, url) = Private::start(installation, &folder, &Settings::default()).unwrap();
    let mut admin = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("CREATE ROLE locked LOGIN PASSWORD 'sesame'").execute(&mut admin).await.unwrap();
    // The first line that fits counts.
    let rules = server.data().join("pg_hba.conf");
    let before = std::fs::read_to_string(&rules).unwrap();
    std::fs::write(&rules, format!("host all locked 127.0.0.1/32 scram-sha-256\n{before}")).unwrap();
    sqlx::raw_sql("SELECT pg_reload_conf()").execute(&mut admin).await.unwrap();
    let wrong = url.replace("postgres@", "locked:open-says-me@");
    // The server reads its rules anew a moment later; until then it lets everybody in, and the role may do nothing.
    let error = loop {
        match refused(&wrong, Options::default()).await {
            OpenError::Forbidden { .. } => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
            error => break error,
        }
    };
    let said = error.to_string();
    assert!(matches!(&error, OpenError::Refused { user, .. } if user == "locked"), "{error:?}");
    assert!(said.contains("pg_hba.conf") && !said.contains("open-says-me"), "{said}");
    let error = refused(&url.replace("postgres@", "locked:sesame@"), Options::default()).await;
    assert!(matches!(&error, OpenError::Forbidden { .. }), "{error:?}");
    assert!(error.to_string().contains("grants"), "{error}");
}

#[tokio::test]
async fn a_database_that_is_missing_is_named() {
    let Some(url) = postgres::url() else { return };
    let (server, _) = url.rsplit_once('/').unwrap();
    let error = refused(&format!("{server}/annals_nowhere"), Options::default()).await;
    assert!(matches!(error, OpenError::MissingDatabase { .. }), "{error:?}");
    assert!(error.to_string().contains("annals_nowhere"), "{error}");
}

#[tokio::test]
async fn a_read_only_server_refuses_with_its_remedy() {
    let Some(url) = postgres::url() else { return };
    let read_only = format!("{url}?options=-c%20default_transaction_read_only=on");
    let schema = postgres::schema();
    let error = refused(&read_only, postgres::options(&schema)).await;
    assert!(matches!(error, OpenError::ReadOnly { .. }), "{error:?}");
    assert!(error.to_string().contains("connect to the primary"), "{error}");
    // A journal that is there can be read, and what is written is certainly not stored.
    let journal = postgres::open(&url, &schema).await;
    let a = id("a");
    journal.append(append(&a, token(1, 1), 0, 1)).await.unwrap();
    let standby = postgres::open(&read_only, &schema).await;
    assert_eq!(standby.head(&a).await.unwrap().seq_nr, nr(1));
    let error = standby.append(append(&a, token(1, 1), 1, 1)).await.unwrap_err();
    assert!(matches!(error, JournalError::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("connect to the primary"), "{error}");
    journal.append(append(&a, token(1, 1), 1, 1)).await.unwrap();
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_not_stored() {
    let Some(url) = postgres::url() else { return };
    let schema = postgres::schema();
    let journal = postgres::open(&url, &schema).await;
    let a = id("a");
    journal.append(append(&a, token(1, 1), 0, 1)).await.unwrap();
    let hasty = postgres::open(&format!("{url}?options=-c%20statement_timeout=1000"), &schema).await;
    let mut holder = PgConnection::connect(&url).await.unwrap();
    let mut transaction = holder.begin().await.unwrap();
    let hold = format!("SELECT 1 FROM \"{schema}\".streams FOR UPDATE");
    sqlx::raw_sql(AssertSqlSafe(hold)).execute(&mut *transaction).await.unwrap();
    let error = hasty.append(append(&a, token(1, 1), 1, 1)).await.unwrap_err();
    assert!(matches!(error, JournalError::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("statement_timeout"), "{error}");
    transaction.rollback().await.unwrap();
    assert_eq!(hasty.append(append(&a, token(1, 1), 1, 1)).await.unwrap().seq_nr, nr(2));
}

#[tokio::test]
async fn tables_of_others_and_of_newer_builds_stay_as_they_are() {
    let Some(url) = postgres::url() else { return };
    let (foreign, newer) = (postgres::schema(), postgres::schema());
    let mut admin = PgConnection::connect(&url).await.unwrap();
    let make = format!("CREATE SCHEMA \"{foreign}\"; CREATE TABLE \"{foreign}\".events (id int)");
    sqlx::raw_sql(AssertSqlSafe(make)).execute(&mut admin).await.unwrap();
    let error = refused(&url, postgres::options(&foreign)).await;
    assert!(matches!(&error, OpenError::Foreign { table, .. } if table == "events"), "{error:?}");
    postgres::open(&url, &newer).await;
    let raise = format!("UPDATE \"{newer}\".annals_schema SET version = 99");
    sqlx::raw_sql(AssertSqlSafe(raise)).execute(&mut admin).await.unwrap();
    let error = refused(&url, postgres::options(&newer)).await;
    assert!(matches!(error, OpenError::NewerSchema { found: 99, .. }), "{error:?}");
}

#[tokio::test]
async fn a_journal_that_is_only_looked_at_is_not_made_and_not_changed() {
    let Some(url) = postgres::url() else { return };
    let schema = postgres::schema();
    let looked = PostgresJournal::open_read_only(&url, postgres::options(&schema)).await;
    assert!(matches!(looked, Err(OpenError::Missing { .. })), "{looked:?}");
    let journal = postgres::open(&url, &schema).await;
    journal.append(append(&id("a"), token(1, 1), 0, 1)).await.unwrap();
    let looked = PostgresJournal::open_read_only(&url, postgres::options(&schema)).await.unwrap();
    assert_eq!(looked.head(&id("a")).await.unwrap().seq_nr, nr(1));
    let change = RecordChange::set(Gate::key().clone(), None, vec![1].into());
    for error in [
        looked.append(append(&id("a"), token(1, 1), 1, 1)).await.unwrap_err(),
        looked.delete_to(&id("a"), nr(1)).await.unwrap_err(),
        looked.change(vec![change]).await.pop().unwrap().unwrap_err(),
    ] {
        assert!(matches!(error, JournalError::Rejected { .. }), "{error:?}");
    }
    const OTHERS: Schema = Schema { component: "others", steps: &["CREATE TABLE others (id int)"] };
    let error = looked.database().migrate(&OTHERS).await.unwrap_err();
    assert!(matches!(error, OpenError::OlderSchema { found: 0, .. }), "{error:?}");
}

#[tokio::test]
async fn an_offset_ahead_of_the_journal_is_refused() {
    let Some(url) = postgres::url() else { return };
    let journal = postgres::open(&url, &postgres::schema()).await;
    journal.append(append(&id("a"), token(1, 1), 0, 1)).await.unwrap();
    let page = journal.events_by_slice(SliceRange::ALL, Offset::BEGINNING, 10).await.unwrap();
    let end = page.complete_to;
    for ahead in
        [Offset { generation: end.generation + 1, ..end }, Offset { major: end.major + (1 << 40), ..end }]
    {
        let error = journal.events_by_slice(SliceRange::ALL, ahead, 10).await.unwrap_err();
        assert!(matches!(error, JournalError::Rejected { .. }), "{error:?}");
        assert!(error.to_string().contains("restored"), "{error}");
    }
}
