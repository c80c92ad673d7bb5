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
        let conn = create(folder)?;
        let payload = Event::of_bytes(load.bytes).to_json()?;
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
                let pid = load.entity(number % load.entities);
                insert.execute((pid, load.stored + number / load.entities + 1, &payload))?;
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
        conn.prepare_cached("BEGIN IMMEDIATE")?.execute(())?;
        let mut head = conn.prepare("INSERT OR REPLACE INTO heads VALUES (?1, ?2, 0)")?;
        for index in 0..load.entities {
            head.execute((load.entity(index), load.stored + load.events_each))?;
        }
        conn.prepare_cached("COMMIT")?.execute(())?;
        Ok(Persisted { elapsed, latencies, commits: Some(commits) })
    }

    fn recover(&self, load: &Load, folder: &Path) -> Result<Duration> {
        let mut conn = open(folder)?;
        let started = Instant::now();
        let mut events = 0;
        let mut cents = 0;
        let mut select = conn.prepare("SELECT seq, payload FROM events WHERE pid = ?1 ORDER BY seq")?;
        for index in 0..load.entities {
            let mut rows = select.query((load.entity(index),))?;
            while let Some(row) = rows.next()? {
                let event = Event::from_json(row.get_ref(1)?.as_blob()?)?;
                cents += event.amount_cents;
                events += 1;
            }
        }
        drop(select);
        // The claim. That of a single entity is nothing beside its events.
        if load.entities > 1 {
            claim(&mut conn, (0..load.entities).map(|index| load.entity(index)))?;
        }
        let elapsed = started.elapsed();
        let stored = load.stored_after();
        ensure!(events == stored, "{events} events came back, {stored} were stored");
        ensure!(cents > 0, "the events came back empty");
        Ok(elapsed)
    }
}

/// An empty file, or the one that is there.
pub(crate) fn create(folder: &Path) -> Result<Connection> {
    let conn = open(folder)?;
    conn.execute_batch(SCHEMA)?;
    Ok(conn)
}

/// One batched update of a head row an entity.
pub(crate) fn claim(conn: &mut Connection, pids: impl Iterator<Item = u32>) -> Result<()> {
    let claims = conn.transaction()?;
    {
        let mut claim = claims.prepare("UPDATE heads SET epoch = epoch + 1 WHERE pid = ?1")?;
        for pid in pids {
            claim.execute((pid,))?;
        }
    }
    Ok(claims.commit()?)
}

fn open(folder: &Path) -> Result<Connection> {
    let conn = Connection::open(folder.join("raw.db"))?;
    as_annals(&conn)?;
    Ok(conn)
}

/// Sets what the writer of Annals sets.
pub(crate) fn as_annals(conn: &Connection) -> Result<()> {
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "cache_size", -CACHE_KIB)?;
    conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    Ok(())
}

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS events (ordering INTEGER PRIMARY KEY, pid INTEGER, seq INTEGER, payload BLOB, UNIQUE (pid, seq));
    CREATE TABLE IF NOT EXISTS heads (pid INTEGER PRIMARY KEY, head INTEGER, epoch INTEGER);
";
/// As the writer of Annals has it.
const CACHE_KIB: i64 = 4 * 1024;
/// As [`annals_journal::sqlite::Options`] has it.
const CHECKPOINT_PAGES: i64 = 4_000;
