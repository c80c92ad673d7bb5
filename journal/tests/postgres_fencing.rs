//! A statement that is held between its snapshot and its locks, while a new owner takes over, appends and deletes, stores nothing (I4).
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/postgres.rs"]
mod postgres;
mod support;

use std::time::Duration;

use annals_journal::postgres::PostgresJournal;
use annals_journal::postgres::sqlx::{self, AssertSqlSafe, Connection as _, PgConnection};
use annals_journal::{Journal, JournalError, JournalExt, PersistenceId, ReplayRange, Replayed, Token};
use futures::TryStreamExt as _;
use support::{append, id, nr};

const OLD: Token = token_of(1);
const NEW: Token = token_of(2);

const fn token_of(epoch: u64) -> Token {
    Token::new(annals_journal::Epoch(epoch), 1)
}

/// A journal of which one handle can be held in the middle of its statements.
struct Stage {
    journal: PostgresJournal,
    /// Its statements have their snapshots and stop in front of their first lock while the gate is shut.
    stale: PostgresJournal,
    gate: PgConnection,
    name: String,
}

impl Stage {
    async fn new(url: &str) -> Self {
        let schema = postgres::schema();
        let journal = postgres::open(url, &schema).await;
        let mut gate = PgConnection::connect(url).await.unwrap();
        // What every statement calls first: after its snapshot was taken, before it locks a row.
        let hold = format!(
            r#"
            CREATE FUNCTION "{schema}".held() RETURNS void LANGUAGE plpgsql AS
            $$ BEGIN
                IF current_setting('application_name') = '{schema}' THEN
                    PERFORM pg_advisory_xact_lock_shared(hashtextextended('{schema}', 0));
                END IF;
            END $$;
            ALTER FUNCTION "{schema}".ledger_key() RENAME TO ledger_key_later;
            CREATE FUNCTION "{schema}".ledger_key() RETURNS int8 LANGUAGE plpgsql VOLATILE AS
            $$ BEGIN
                PERFORM "{schema}".held();
                RETURN "{schema}".ledger_key_later();
            END $$;"#
        );
        sqlx::raw_sql(AssertSqlSafe(hold)).execute(&mut gate).await.unwrap();
        let held = format!("{url}?application_name={schema}");
        let stale = postgres::open(&held, &schema).await;
        Self { journal, stale, gate, name: schema }
    }

    async fn shut(&mut self) {
        self.say("SELECT pg_advisory_lock(hashtextextended($1, 0))::text").await;
    }

    async fn open(&mut self) {
        self.say("SELECT pg_advisory_unlock(hashtextextended($1, 0))::text").await;
    }

    async fn say(&mut self, sql: &'static str) {
        sqlx::query(sql).bind(&self.name).execute(&mut self.gate).await.unwrap();
    }

    /// Waits until a statement of the stale handle stands at the gate.
    async fn until_held(&mut self) {
        let held =
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND wait_event = 'advisory'";
        while sqlx::query_scalar::<_, i64>(held).bind(&self.name).fetch_one(&mut self.gate).await.unwrap()
            == 0
        {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// What the stale handle is answered whose append began before the new owner did its work.
    async fn held_while(
        &mut self,
        id: &PersistenceId,
        expected: u64,
        count: u64,
        work: impl AsyncFnOnce(&PostgresJournal),
    ) -> JournalError {
        self.shut().await;
        let (stale, append) = (self.stale.clone(), append(id, OLD, expected, count));
        let append = tokio::spawn(async move { stale.append(append).await });
        self.until_held().await;
        work(&self.journal).await;
        self.open().await;
        append.await.unwrap().expect_err("the new owner was there first")
    }

    async fn shown(&self, id: &PersistenceId) -> String {
        let items: Vec<_> = self.journal.replay(ReplayRange::all(id)).try_collect().await.unwrap();
        let item = |item: &Replayed| match item {
            Replayed::Event(event) => format!("{}@{}", event.envelope.seq_nr, event.envelope.token.epoch),
            Replayed::Deleted { from, to } => format!("[{from}-{to}]"),
            other => panic!("{other:?}"),
        };
        items.iter().map(item).collect::<Vec<_>>().join(" ")
    }
}

async fn staged(story: impl AsyncFnOnce(Stage)) {
    if let Some(url) = postgres::url() {
        let stage = Stage::new(&url).await;
        tokio::time::timeout(Duration::from_secs(120), story(stage)).await.expect("the story hangs");
    }
}

#[tokio::test]
async fn a_held_append_is_fenced_by_a_claim() {
    staged(async |mut stage| {
        let a = id("a");
        stage.journal.append(append(&a, OLD, 0, 2)).await.unwrap();
        let error = stage
            .held_while(&a, 2, 1, async |new| assert!(new.claim(&id("a"), NEW).await.unwrap().token == NEW))
            .await;
        assert!(matches!(error, JournalError::Fenced { stored: NEW, .. }), "{error}");
        assert_eq!(stage.shown(&a).await, "1@1 2@1");
    })
    .await;
}

#[tokio::test]
async fn a_held_batch_is_not_stored_behind_an_append_nor_where_all_was_deleted() {
    staged(async |mut stage| {
        for (deleted, shown) in [(0, "1@1 2@1 3@2"), (2, "[1-2] 3@2"), (3, "[1-3]")] {
            let a = id(&format!("a{deleted}"));
            stage.journal.append(append(&a, OLD, 0, 2)).await.unwrap();
            let work = async |new: &PostgresJournal| {
                new.append(append(&a, NEW, 2, 1)).await.unwrap();
                new.delete_to(&a, nr(deleted)).await.unwrap();
            };
            let error = stage.held_while(&a, 2, 5, work).await;
            assert!(matches!(error, JournalError::Fenced { stored: NEW, .. }), "{deleted}: {error}");
            assert_eq!(stage.shown(&a).await, shown);
            assert_eq!(stage.journal.head(&a).await.unwrap().seq_nr, nr(3));
        }
    })
    .await;
}

#[tokio::test]
async fn a_held_first_append_of_an_id_loses_to_the_row_that_was_made_meanwhile() {
    staged(async |mut stage| {
        for (n, deleted, shown) in [(0, 0, "1@2"), (1, 1, "[1-1]")] {
            let a = id(&format!("new{n}"));
            let work = async |new: &PostgresJournal| {
                new.append(append(&a, NEW, 0, 1)).await.unwrap();
                new.delete_to(&a, nr(deleted)).await.unwrap();
            };
            let error = stage.held_while(&a, 0, 3, work).await;
            assert!(matches!(error, JournalError::Fenced { stored: NEW, .. }), "{error}");
            assert_eq!(stage.shown(&a).await, shown);
        }
        let b = id("claimed");
        let error = stage
            .held_while(&b, 0, 1, async |new| {
                assert!(new.claim(&id("claimed"), NEW).await.unwrap().token == NEW)
            })
            .await;
        assert!(matches!(error, JournalError::Fenced { .. }), "{error}");
        assert_eq!(stage.journal.head(&b).await.unwrap().seq_nr, nr(0));
    })
    .await;
}

#[tokio::test]
async fn a_held_append_of_the_same_token_is_a_conflict() {
    staged(async |mut stage| {
        let a = id("a");
        let error = stage
            .held_while(&a, 0, 1, async |new| {
                assert!(new.append(append(&id("a"), OLD, 0, 2)).await.unwrap().token == OLD)
            })
            .await;
        assert!(matches!(error, JournalError::Conflict { head, .. } if head == nr(2)), "{error}");
        assert_eq!(stage.shown(&a).await, "1@1 2@1");
    })
    .await;
}
