use annals_journal::postgres::PostgresJournal;
use annals_journal::postgres::sqlx::{self, Connection as _, PgConnection};
use annals_journal::{Journal, JournalExt, Offset, PageItem, ReplayRange, Replayed, SliceRange};
use futures::TryStreamExt as _;

use crate::postgres;
use crate::support::{append, id, nr, token};

#[tokio::test]
async fn events_are_spread_over_partitions_and_read_in_one_order() {
    let Some(url) = postgres::url() else { return };
    let schema = postgres::schema();
    let journal = PostgresJournal::open(&url, postgres::options(&schema).partitions(4)).await.unwrap();
    for n in 0..40_u64 {
        journal.append(append(&id(&format!("p{}", n % 20)), token(1, 1), n / 20 * 2, 2)).await.unwrap();
    }
    let mut admin = PgConnection::connect(&url).await.unwrap();
    let partitions: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = ($1 || '.events')::regclass ORDER BY 1",
    )
    .bind(&schema)
    .fetch_all(&mut admin)
    .await
    .unwrap();
    assert_eq!(partitions, ["events_0", "events_1", "events_2", "events_3"]);
    for partition in &partitions {
        let count = format!("SELECT count(*) FROM {schema}.{partition}");
        let stored: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(count)).fetch_one(&mut admin).await.unwrap();
        assert!(stored > 0, "{partition} is empty");
    }
    // Pages go over all of them in the order of offsets.
    let (mut after, mut read) = (Offset::BEGINNING, Vec::new());
    loop {
        let page = journal.events_by_slice(SliceRange::ALL, after, 7).await.unwrap();
        for item in &page.items {
            let PageItem::Event(event) = item else { panic!("{item:?}") };
            assert!(event.offset > after);
            after = event.offset;
            read.push((event.envelope.persistence_id.to_string(), event.envelope.seq_nr.get()));
        }
        if page.items.is_empty() {
            break;
        }
    }
    let written = (0..40_u64).flat_map(|n| {
        let first = n / 20 * 2 + 1;
        [first, first + 1].map(|seq| (id(&format!("p{}", n % 20)).to_string(), seq))
    });
    assert!(read.iter().cloned().eq(written), "{read:?}");
    // Whoever opens it later need not say how it was made.
    journal.database().close().await;
    let journal = postgres::open(&url, &schema).await;
    journal.delete_to(&id("p3"), nr(3)).await.unwrap();
    let left: Vec<_> = journal.replay(ReplayRange::all(&id("p3"))).try_collect().await.unwrap();
    assert!(
        matches!(&left[..], [Replayed::Deleted { .. }, Replayed::Event(event)] if event.envelope.seq_nr == nr(4)),
        "{left:?}"
    );
}

/// Replays look into one partition: what the plan of the statement says.
#[tokio::test]
async fn a_replay_looks_into_one_partition() {
    let Some(url) = postgres::url() else { return };
    let schema = postgres::schema();
    let journal = PostgresJournal::open(&url, postgres::options(&schema).partitions(8)).await.unwrap();
    journal.append(append(&id("a"), token(1, 1), 0, 3)).await.unwrap();
    let mut admin = PgConnection::connect(&url).await.unwrap();
    let setup = format!(
        "SET search_path TO {schema}; SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan;
         PREPARE replay(text) AS SELECT e.seq FROM streams s LEFT JOIN LATERAL (
             SELECT seq FROM events WHERE persistence_id = s.persistence_id ORDER BY seq LIMIT 10) e ON true
         WHERE s.persistence_id = $1"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(setup)).execute(&mut admin).await.unwrap();
    let plan: Vec<String> =
        sqlx::query_scalar(sqlx::AssertSqlSafe("EXPLAIN (ANALYZE, COSTS OFF) EXECUTE replay('test|a')"))
            .persistent(false)
            .fetch_all(&mut admin)
            .await
            .unwrap();
    let looked = plan.iter().filter(|line| line.contains(" on events_") && !line.contains("never executed"));
    assert_eq!(looked.count(), 1, "{}", plan.join("\n"));
}
