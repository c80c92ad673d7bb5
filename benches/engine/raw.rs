use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use rusqlite::Connection;

use crate::contestant::{Contestant, Persisted};
use crate::event::Event;
use crate::scenario::Load;

/// The limit: what SQLite makes of the same bytes when nothing but events is stored and nobody waits for a reply.
///
/// One thread, one connection, prepared statements, as many rows a commit as Annals had.
pub(crate) struct Raw;

impl Contestant for Raw {
    fn name(&self) -> &'static str {
        "raw"
    }

    fn persist(&self, load: &Load, folder: &Path, rows_a_commit: u32) -> Result<Persisted> {
        let conn = open(folder)?;
        conn.execute_batch(SCHEMA)?;
        let payload = Event::example().to_json()?;
        let mut latencies = Histogram::new(3)?;
        let mut commits = 0;
        let mut insert = conn.prepare("INSERT INTO events (pid, seq, payload) VALUES (?1, ?2, ?3)")?;
        let started = Instant::now();
        let mut number = 0;
        while number < load.events() {
            let began = Instant::now();
            let end = load.events().min(number + rows_a_commit);
            // One row needs no more than its own implicit transaction.
            let explicit = end - number > 1;
            if explicit {
                conn.prepare_cached("BEGIN IMMEDIATE")?.execute(())?;
            }
            for number in number..end {
                insert.execute((number % load.entities, number / load.entities + 1, &payload))?;
            }
            if explicit {
                conn.prepare_cached("COMMIT")?.execute(())?;
            }
            let nanos = u64::try_from(began.elapsed().as_nanos())?;
            latencies.record_n(nanos, u64::from(end - number))?;
            commits += 1;
            number = end;
        }
        let elapsed = started.elapsed();
        // For the claims of a recovery; nobody's time.
        conn.execute("INSERT INTO heads SELECT pid, max(seq), 0 FROM events GROUP BY pid", ())?;
        Ok(Persisted { elapsed, latencies, commits: Some(commits) })
    }

    fn recover(&self, load: &Load, folder: &Path) -> Result<Duration> {
        let mut conn = open(folder)?;
        let started = Instant::now();
        let mut events = 0;
        let mut cents = 0;
        let mut select = conn.prepare("SELECT seq, payload FROM events WHERE pid = ?1 ORDER BY seq")?;
        for pid in 0..load.entities {
            let mut rows = select.query((pid,))?;
            while let Some(row) = rows.next()? {
                let event = Event::from_json(row.get_ref(1)?.as_blob()?)?;
                cents += event.amount_cents;
                events += 1;
            }
        }
        drop(select);
        let claims = conn.transaction()?;
        {
            let mut claim = claims.prepare("UPDATE heads SET epoch = epoch + 1 WHERE pid = ?1")?;
            for pid in 0..load.entities {
                claim.execute((pid,))?;
            }
        }
        claims.commit()?;
        let elapsed = started.elapsed();
        ensure!(events == load.events(), "{events} events came back, {} were stored", load.events());
        ensure!(cents > 0, "the events came back empty");
        Ok(elapsed)
    }
}

fn open(folder: &Path) -> Result<Connection> {
    let conn = Connection::open(folder.join("raw.db"))?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "cache_size", -CACHE_KIB)?;
    conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    Ok(conn)
}

const SCHEMA: &str = "
    CREATE TABLE events (ordering INTEGER PRIMARY KEY, pid INTEGER, seq INTEGER, payload BLOB, UNIQUE (pid, seq));
    CREATE TABLE heads (pid INTEGER PRIMARY KEY, head INTEGER, epoch INTEGER);
";
/// As the writer of Annals has it.
const CACHE_KIB: i64 = 16 * 1024;
/// As [`annals_journal::sqlite::Options`] has it.
const CHECKPOINT_PAGES: i64 = 4_000;
