//! `loans import`: one command a row, many cases at a time, the rows of one case in their order.
//!
//! ```text
//! blocking thread                    this task
//! file → gzip → XES → traces ──channel──→ up to CASES at a time: ask row 1, ask row 2, …
//! ```
//!
//! A row carries its number, so a row that the journal has is not recorded again: an import that was killed is simply
//! started again.

use std::path::{Path, PathBuf};

use annals::prelude::*;
use anyhow::Context as _;
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;
use tokio::sync::mpsc;

use crate::case_id::CaseIds;
use crate::event::CaseFile;
use crate::insist::insist;
use crate::loan::{Loan, Open, Progress, Record};
use crate::totals::Totals;
use crate::xes::{Trace, XesError, XesReader};

/// What an import did.
#[derive(Debug, Default)]
pub(crate) struct Imported {
    /// What the journal now has of the log.
    pub(crate) totals: Totals,
    /// How many rows it did not have before.
    pub(crate) new: u64,
    /// Why the log ended early; everything before it is imported.
    pub(crate) malformed: Option<XesError>,
}

/// A log that is about to be imported.
pub(crate) struct Log {
    path: PathBuf,
    reader: XesReader,
    progress: ProgressBar,
}

impl Log {
    /// Opens a log, whose reading moves a progress bar.
    pub(crate) fn open(path: &Path, progress: ProgressBar) -> anyhow::Result<Self> {
        let bar = progress.clone();
        let reader = XesReader::open(path, |file| {
            bar.set_length(file.metadata().map_or(0, |metadata| metadata.len()));
            bar.wrap_read(file)
        })
        .with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self { path: path.to_owned(), reader, progress })
    }

    /// Imports it.
    pub(crate) async fn import(self, node: &Node) -> anyhow::Result<Imported> {
        let Self { path, reader, progress } = self;
        let (sender, receiver) = mpsc::channel(READ_AHEAD);
        let reading = tokio::task::spawn_blocking(move || read(reader, &sender));
        let cases = stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
        let mut imported = cases
            .map(|(id, trace)| import_case(node, id, trace))
            .buffer_unordered(CASES)
            .try_fold(Imported::default(), async |mut all, case| {
                all.totals.add(case.rows, case.outcome);
                all.new += case.new;
                progress.set_message(format!("{} cases, {} events", all.totals.cases, all.totals.events));
                Ok(all)
            })
            .await
            .with_context(|| format!("importing {}", path.display()))?;
        imported.malformed = reading.await?.err();
        progress.finish_and_clear();
        Ok(imported)
    }
}

/// Reads traces until the log ends, or nobody wants them any more.
fn read(mut reader: XesReader, traces: &mpsc::Sender<(String, Trace)>) -> Result<(), XesError> {
    let mut ids = CaseIds::default();
    while let Some(trace) = reader.next_trace()? {
        let id = ids.next(trace.name.as_deref());
        if traces.blocking_send((id, trace)).is_err() {
            break;
        }
    }
    Ok(())
}

/// What became of one case.
struct ImportedCase {
    rows: u64,
    new: u64,
    outcome: crate::loan::Outcome,
}

async fn import_case(node: &Node, id: String, trace: Trace) -> anyhow::Result<ImportedCase> {
    let Trace { name, attributes, rows } = trace;
    // The name is kept only where the id is another.
    let mut case = Some(CaseFile { name: name.filter(|name| *name != id), attributes });
    let loan = node.entity::<Loan>(&id);
    let mut progress = Progress::default();
    let mut new = 0;
    if rows.is_empty() {
        let case = case.take().unwrap_or_default();
        progress =
            insist(|| loan.ask(Open { case: case.clone() })).await.with_context(|| format!("case {id}"))?;
    }
    for (number, row) in (1..).zip(rows) {
        let case = case.take();
        if number <= progress.rows {
            continue;
        }
        progress = insist(|| loan.ask(Record { number, row: row.clone(), case: case.clone() }))
            .await
            .with_context(|| format!("case {id}, row {number}"))?;
        new += u64::from(progress.recorded);
    }
    Ok(ImportedCase { rows: progress.rows, new, outcome: progress.outcome })
}

/// How many cases are imported at a time: what arrives while a commit is on its way shares the next one.
const CASES: usize = 512;
/// How many traces are read ahead of that.
const READ_AHEAD: usize = 64;
