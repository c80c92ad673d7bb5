use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;

use annals_journal::JournalError;
use annals_migrations::{EventAdapter, SchemaError};

use crate::{Kind, PersistentActor};

mod expected;
mod feed;
mod fold;
mod report;

use expected::{Expected, OVERWRITE, Rewrite};
use feed::{Feed, Source};
use fold::{Folded, Reader};
pub use report::{Difference, ReplayFailure, ReplayReport};

/// Replays a recorded journal through today's code: does history still mean the same?
///
/// The journal is a SQLite file (feature `sqlite`) or what [`export`](super::export) wrote, told apart by how the file begins.
/// Entities are folded in parallel, each event at a time, so that neither the journal nor its states need fit in memory. Each is folded
/// twice, to see that `apply` is deterministic.
///
/// Expected states stand in a file of JSON lines, one entity a line. The environment variable `ANNALS_REPLAY=overwrite` writes
/// it anew, when all entities can be replayed; what changed is then to be seen in version control.
///
/// ```no_run
/// # use annals_actors::PersistentActor;
/// use annals_actors::testing::Replay;
///
/// # fn check<Loan: PersistentActor>() {
/// Replay::<Loan>::of("tests/loans.jsonl").expecting("tests/loans.states.jsonl").check();
/// # }
/// ```
#[must_use = "a replay does nothing before `.check()` or `.run()`"]
pub struct Replay<A: PersistentActor> {
    journal: PathBuf,
    expected: Option<PathBuf>,
    kind: Kind<A>,
    overwrite: bool,
}

/// Why a journal could not be replayed to its end; what is wrong with single entities is in the [`ReplayReport`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The file of the journal cannot be opened.
    #[error("{path} cannot be replayed: {reason}", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What is in the way.
        reason: String,
    },
    /// A line of an export cannot be told apart.
    #[error("{path}, line {line}: {reason}", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The events of the kind cannot be read at all.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The journal has no entity of the kind, so that the replay shows nothing.
    #[error(
        "{path} has no entity of kind {kind:?}, and {others} of other kinds: was `KIND` renamed, or is it the wrong file?",
        path = path.display()
    )]
    NothingToReplay {
        /// The file.
        path: PathBuf,
        /// The kind that was looked for.
        kind: &'static str,
        /// Entities of other kinds in the file.
        others: u64,
    },
    /// The file of expected states cannot be read or written.
    #[error("expected states {path}{}: {reason}", at(*line), path = path.display())]
    Expected {
        /// The file.
        path: PathBuf,
        /// Which line, from 1; 0: the file as a whole.
        line: u64,
        /// What is wrong.
        reason: String,
    },
}

fn at(line: u64) -> String {
    if line == 0 { String::new() } else { format!(", line {line}") }
}

impl<A: PersistentActor> Replay<A> {
    /// A journal in a file; a relative path begins at the package's directory, where cargo runs tests.
    ///
    /// A SQLite file is opened as a node would: its tables are brought to this build's version, and `-wal` and `-shm` files stand
    /// beside it meanwhile. Nothing is written to its events.
    pub fn of(journal: impl AsRef<Path>) -> Self {
        let overwrite = std::env::var(OVERWRITE).is_ok_and(|what| what == "overwrite");
        Self { journal: journal.as_ref().to_path_buf(), expected: None, kind: Kind::new(), overwrite }
    }

    /// Compares the states with those in a file.
    pub fn expecting(mut self, states: impl AsRef<Path>) -> Self {
        self.expected = Some(states.as_ref().to_path_buf());
        self
    }

    /// Writes the file of expected states anew, as `ANNALS_REPLAY=overwrite` does.
    pub fn overwriting(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// How events are read; default: as in a node.
    pub fn event_adapter(mut self, adapter: impl EventAdapter<A::Event>) -> Self {
        self.kind = self.kind.event_adapter(adapter);
        self
    }

    /// Replays everything.
    ///
    /// # Panics
    /// With the report, when an entity fails or differs; with the error, when there is nothing to replay.
    #[track_caller]
    pub fn check(self) -> ReplayReport {
        match self.run() {
            Ok(report) if report.is_clean() => report,
            Ok(report) => panic!(
                "history does not mean what it did\n{report}\
                 (when that is intended, {OVERWRITE}=overwrite writes the expected states anew)"
            ),
            Err(error) => panic!("{error}"),
        }
    }

    /// Replays everything, and leaves it to the caller what to make of it.
    ///
    /// # Errors
    /// [`ReplayError`] when the journal or the expected states cannot be read to their end, or there is nothing to replay.
    pub fn run(self) -> Result<ReplayReport, ReplayError> {
        // On a thread of its own, because a test may be asynchronous, and this blocks.
        thread::scope(|scope| match scope.spawn(|| self.run_here()).join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    fn run_here(self) -> Result<ReplayReport, ReplayError> {
        let reader = Reader::<A> { adapter: self.kind.adapter()?, states: Kind::<A>::states()? };
        let source = Source::open(&self.journal)?;
        let judge = match (&self.expected, self.overwrite) {
            (None, _) => Judge::Nobody,
            (Some(path), false) => Judge::Compare(Expected::open(path)?),
            (Some(path), true) => Judge::Rewrite(Rewrite::of(path)?),
        };
        let (reader, source) = (Arc::new(reader), &source);
        thread::scope(|scope| {
            let (mut feeds, mut results) = (Vec::new(), Vec::new());
            for _ in 0..thread::available_parallelism().map_or(1, usize::from).min(MOST_WORKERS) {
                let (feed, work) = sync_channel::<Feed>(WAITING_LINES);
                let (result, folded) = sync_channel::<Folded>(WAITING_RESULTS);
                feeds.push(feed);
                results.push(folded);
                let reader = Arc::clone(&reader);
                scope.spawn(move || source.work(&reader, &work, &result));
            }
            let feeder = scope.spawn(move || source.feed(A::KIND, &feeds));
            // Entity number i comes from worker i modulo their number; the first silence is the end.
            let in_order = results.iter().cycle().map_while(|folded| folded.recv().ok());
            let report = judge.collect(in_order);
            // Whoever still works for a collector that gave up is told so.
            drop(results);
            let others = match feeder.join() {
                Ok(others) => others?,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            let (report, judge) = report?;
            if report.entities == 0 {
                judge.give_up();
                return Err(ReplayError::NothingToReplay {
                    path: self.journal.clone(),
                    kind: A::KIND,
                    others,
                });
            }
            judge.end(ReplayReport { others, ..report })
        })
    }
}

/// What states are held against.
enum Judge {
    Nobody,
    Compare(Expected),
    Rewrite(Rewrite),
}

impl Judge {
    fn collect(mut self, folded: impl Iterator<Item = Folded>) -> Result<(ReplayReport, Self), ReplayError> {
        let mut report = ReplayReport::default();
        for Folded { id, seq_nr, events, state } in folded {
            report.entities += 1;
            report.events += events;
            match &mut self {
                Self::Compare(expected) => {
                    expected.compare(&id, seq_nr, state.as_ref().ok(), &mut |found| report.differ(found))?;
                }
                Self::Nobody | Self::Rewrite(_) => {}
            }
            match state {
                Ok(state) => {
                    if let Self::Rewrite(rewrite) = &mut self {
                        rewrite.add(&id, seq_nr, state)?;
                    }
                }
                Err(trouble) => {
                    let failure =
                        ReplayFailure { persistence_id: id, seq_nr: trouble.seq_nr, reason: trouble.reason };
                    report.fail(failure, trouble.nondeterministic);
                }
            }
        }
        Ok((report, self))
    }

    fn end(self, mut report: ReplayReport) -> Result<ReplayReport, ReplayError> {
        match self {
            Self::Nobody => {}
            Self::Compare(expected) => expected.end(&mut |found| report.differ(found))?,
            Self::Rewrite(rewrite) if report.failed == 0 => {
                rewrite.end()?;
                report.overwritten = true;
            }
            Self::Rewrite(rewrite) => rewrite.give_up(),
        }
        Ok(report)
    }

    /// Leaves the expected states as they are.
    fn give_up(self) {
        if let Self::Rewrite(rewrite) = self {
            rewrite.give_up();
        }
    }
}

impl<A: PersistentActor> fmt::Debug for Replay<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("kind", &A::KIND)
            .field("journal", &self.journal)
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

/// Lines that wait for a worker, and states that wait to be compared: with the number of workers, the bound of memory.
const WAITING_LINES: usize = 256;
const WAITING_RESULTS: usize = 16;
const MOST_WORKERS: usize = 16;
