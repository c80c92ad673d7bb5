use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::TryStreamExt as _;
use hdrhistogram::Histogram;
use sqlx::{PgConnection, Row as _};
use tokio::runtime::Runtime;

use super::server::Server;
use crate::contestant::{Contestant, Persisted};
use crate::event::Event;
use crate::scenario::Load;

/// The limit: what the server makes of the same bytes when nothing but events is stored and nobody waits for a reply.
///
/// One table with a primary key, as many rows a statement as Annals had, on as many connections.
pub(super) struct RawPostgres<'a> {
    pub(super) server: &'a Server,
    pub(super) runtime: &'a Runtime,
}

impl Contestant for RawPostgres<'_> {
    fn name(&self) -> &'static str {
        RAW
    }

    fn persist(&self, load: &Load, _folder: &Path, rows_a_commit: u32) -> Result<Persisted> {
        self.runtime.block_on(async {
            self.server.empty(RAW).await?;
            let mut connection = self.server.connect(RAW).await?;
            sqlx::raw_sql(TABLE).execute(&mut connection).await?;
            batches(self.server, RAW, load, rows_a_commit, async |connection, rows| {
                let Rows { pids, seqs, payloads } = rows;
                let done = if let ([pid], [seq], [payload]) = (&pids[..], &seqs[..], &payloads[..]) {
                    sqlx::query(ONE).bind(pid).bind(seq).bind(payload.clone()).execute(connection).await?
                } else {
                    sqlx::query(MANY).bind(pids).bind(seqs).bind(payloads).execute(connection).await?
                };
                Ok(done.rows_affected())
            })
            .await
        })
    }

    fn recover(&self, load: &Load, _folder: &Path) -> Result<Duration> {
        self.runtime.block_on(async {
            let mut connections = Vec::new();
            for _ in 0..lanes(load) {
                connections.push(self.server.connect(RAW).await?);
            }
            let next = Arc::new(AtomicU32::new(0));
            let started = Instant::now();
            let mut readers = Vec::new();
            for connection in connections {
                readers.push(tokio::spawn(read(connection, *load, Arc::clone(&next))));
            }
            let mut events = 0;
            for reader in readers {
                events += reader.await??;
            }
            let elapsed = started.elapsed();
            let stored = load.stored_after();
            ensure!(events == stored, "{events} events came back, {stored} were stored");
            Ok(elapsed)
        })
    }
}

async fn read(mut connection: PgConnection, load: Load, next: Arc<AtomicU32>) -> Result<u32> {
    let (mut events, mut cents) = (0, 0);
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= load.entities {
            ensure!(events == 0 || cents > 0, "the events came back empty");
            return Ok(events);
        }
        let query = sqlx::query("SELECT seq, payload FROM events WHERE pid = $1 ORDER BY seq");
        let mut rows = query.bind(load.entity(index).cast_signed()).fetch(&mut connection);
        while let Some(row) = rows.try_next().await? {
            cents += Event::from_json(row.try_get::<&[u8], _>(1)?)?.amount_cents;
            events += 1;
        }
    }
}

/// Rows of one statement.
pub(super) struct Rows {
    pub(super) pids: Vec<i32>,
    pub(super) seqs: Vec<i64>,
    pub(super) payloads: Vec<Vec<u8>>,
}

/// Stores a load in statements of so many rows, on several connections where there are several entities.
pub(super) async fn batches(
    server: &Server,
    schema: &str,
    load: &Load,
    rows_a_commit: u32,
    store: impl AsyncFn(&mut PgConnection, Rows) -> Result<u64>,
) -> Result<Persisted> {
    let payload = Event::of_bytes(load.bytes).to_json()?;
    let next = AtomicU32::new(0);
    let lane = async |mut connection: PgConnection| {
        let (mut latencies, mut commits) = (Histogram::<u64>::new(3)?, 0);
        loop {
            let from = next.fetch_add(rows_a_commit, Ordering::Relaxed);
            if from >= load.events() {
                return anyhow::Ok((latencies, commits));
            }
            let numbers = from..load.events().min(from + rows_a_commit);
            let count = u64::from(numbers.end - numbers.start);
            let pid = |number: u32| load.entity(number % load.entities).cast_signed();
            let seq = |number: u32| i64::from(load.stored + number / load.entities + 1);
            let rows = Rows {
                pids: numbers.clone().map(pid).collect(),
                seqs: numbers.clone().map(seq).collect(),
                payloads: numbers.map(|_| payload.clone()).collect(),
            };
            let began = Instant::now();
            let stored = store(&mut connection, rows).await?;
            ensure!(stored == count, "{stored} of {count} rows were stored");
            latencies.record_n(u64::try_from(began.elapsed().as_nanos())?, count)?;
            commits += 1;
        }
    };
    let mut connections = Vec::new();
    for _ in 0..lanes(load) {
        connections.push(server.connect(schema).await?);
    }
    let started = Instant::now();
    let lanes = futures::future::try_join_all(connections.into_iter().map(&lane)).await?;
    let elapsed = started.elapsed();
    let (mut latencies, mut commits) = (Histogram::new(3)?, 0);
    for (of_lane, commits_of_lane) in lanes {
        latencies.add(of_lane)?;
        commits += commits_of_lane;
    }
    Ok(Persisted { elapsed, latencies, commits: Some(commits) })
}

/// As many connections as Annals has by default; the rows of one entity cannot be on several.
fn lanes(load: &Load) -> u32 {
    if load.entities == 1 { 1 } else { 4 }
}

const RAW: &str = "raw";
const TABLE: &str = "CREATE TABLE events (pid int4, seq int8, payload bytea, PRIMARY KEY (pid, seq))";
const ONE: &str = "INSERT INTO events (pid, seq, payload) VALUES ($1, $2, $3)";
const MANY: &str =
    "INSERT INTO events (pid, seq, payload) SELECT * FROM unnest($1::int4[], $2::int8[], $3::bytea[])";
