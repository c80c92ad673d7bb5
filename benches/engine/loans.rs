//! The real case: a log of loan applications, imported and recovered by `examples/loans`.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use annals::journal::{JournalUrl, Offset, PageItem, SliceRange};
use anyhow::{Context, Result, ensure};
use rusqlite::Connection;
use serde::Deserialize;
use serde_json::Value;

use crate::bench::{Bench, folder, progress, rate};
use crate::raw;
use crate::table::Row;

/// Import, and recovery of all cases beside a select and a decode of the same rows.
pub(crate) fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let (Some(program), Some(log)) = (&bench.extras.loans, &bench.extras.log) else {
        println!("  left out: it needs a log, see --log");
        return Ok(Vec::new());
    };
    let (mut imports, mut replays, mut limits) = (Vec::new(), Vec::new(), Vec::new());
    for run in bench.turns() {
        let folder = folder()?;
        let url = format!("sqlite://{}", folder.path().join("loans.db").display());
        let log = log.to_str().context("the path of the log is not UTF-8")?;
        let imported = loans(program, &["import", log, "--journal", &url, "--json"])?;
        let replayed = loans(program, &["replay", "--journal", &url, "--json"])?;
        let raw = bench.runtime.block_on(copy(&url, folder.path()))?;
        ensure!(raw.rows >= replayed.events, "{} of {} rows were copied", raw.rows, replayed.events);
        let limit = rate(raw.rows, raw.recover()?);
        progress("loans", "import", run, imported.events_per_second, "events/s");
        progress("loans", "replay", run, replayed.events_per_second, "events/s");
        progress("loans", "raw", run, limit, "events/s");
        if run > 0 {
            imports.push(imported.events_per_second);
            replays.push(replayed.events_per_second);
            limits.push(limit);
        }
    }
    let replay = Row::of("loans replay", "events/s", &replays).context("no run")?;
    let mut rows = vec![replay.beside(&replays, &limits).at_least(0.40)];
    rows.extend(Row::of("loans import", "events/s", &imports));
    Ok(rows)
}

/// What the example reports.
#[derive(Deserialize)]
struct Report {
    events: u32,
    events_per_second: f64,
}

fn loans(program: &Path, args: &[&str]) -> Result<Report> {
    let output = Command::new(program).args(args).output().context("starting the example loans")?;
    ensure!(output.status.success(), "loans {} failed: {}", args[0], String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("the report of the example loans")
}

/// The same payloads in the table of the raw limit.
struct RawLoans {
    conn: Connection,
    ids: u32,
    rows: u32,
}

async fn copy(url: &str, folder: &Path) -> Result<RawLoans> {
    let journal = url.parse::<JournalUrl>()?.open().await?.journal;
    let mut conn = raw::create(folder)?;
    let mut ids = std::collections::HashMap::new();
    let (mut after, mut rows) = (Offset::default(), 0);
    loop {
        let page = journal.events_by_slice(SliceRange::ALL, after, PAGE).await?;
        let transaction = conn.transaction()?;
        for item in &page.items {
            let PageItem::Event(event) = item else { continue };
            let next = u32::try_from(ids.len())?;
            let pid = *ids.entry(event.envelope.persistence_id.clone()).or_insert(next);
            transaction
                .prepare_cached("INSERT INTO events (pid, seq, payload) VALUES (?1, ?2, ?3)")?
                .execute((pid, event.envelope.seq_nr.get().cast_signed(), &*event.envelope.payload))?;
            rows += 1;
        }
        transaction.commit()?;
        if page.items.len() < PAGE {
            break;
        }
        after = page.complete_to;
    }
    conn.execute("INSERT INTO heads SELECT pid, max(seq), 0 FROM events GROUP BY pid", ())?;
    Ok(RawLoans { conn, ids: u32::try_from(ids.len())?, rows })
}

impl RawLoans {
    /// Decodes into a [`Value`], because the types are the example's own.
    fn recover(mut self) -> Result<std::time::Duration> {
        let began = Instant::now();
        let mut fields = 0;
        {
            let mut select = self.conn.prepare("SELECT payload FROM events WHERE pid = ?1 ORDER BY seq")?;
            for pid in 0..self.ids {
                let mut rows = select.query((pid,))?;
                while let Some(row) = rows.next()? {
                    let value: Value = serde_json::from_slice(row.get_ref(0)?.as_blob()?)?;
                    fields += value.as_object().map_or(0, serde_json::Map::len);
                }
            }
        }
        raw::claim(&mut self.conn, 0..self.ids)?;
        let took = began.elapsed();
        ensure!(fields > 0, "the events came back empty");
        Ok(took)
    }
}

const PAGE: usize = 5_000;
