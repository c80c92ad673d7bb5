//! From a source to the workers: entity number i goes to worker i modulo their number, so that results come back in order.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender};

use annals_journal::PersistenceId;
use annals_journal::json_lines::{self, LineItem};

use super::ReplayError;
use super::fold::{Fold, Folded, Reader};
use crate::PersistentActor;

#[cfg(feature = "sqlite")]
pub(super) use sqlite::Sqlite;

/// What a worker is given.
pub(super) enum Feed {
    /// An entity begins, whose lines follow.
    Begin(PersistenceId),
    /// A line about it, and its number in the file.
    Line(u64, String),
    /// It has no more lines.
    End,
    /// An entity that the worker reads itself.
    #[cfg(feature = "sqlite")]
    Whole(PersistenceId),
}

/// Where events come from.
pub(super) enum Source {
    Lines(PathBuf),
    #[cfg(feature = "sqlite")]
    Sqlite(Sqlite),
}

impl Source {
    /// Looks at what the file begins with.
    pub(super) fn open(path: &Path) -> Result<Self, ReplayError> {
        let open = |reason: String| ReplayError::Open { path: path.to_path_buf(), reason };
        let file = File::open(path).map_err(|error| {
            let from = std::env::current_dir().unwrap_or_default();
            open(match error.kind() {
                io::ErrorKind::NotFound if path.is_relative() => {
                    format!("{error}; it was looked for in {}", from.display())
                }
                _ => error.to_string(),
            })
        })?;
        let mut file = BufReader::new(file);
        let begins = file.fill_buf().map_err(|error| open(error.to_string()))?;
        if !begins.starts_with(SQLITE) {
            return Ok(Self::Lines(path.to_path_buf()));
        }
        #[cfg(feature = "sqlite")]
        return Sqlite::open(path).map(Self::Sqlite).map_err(open);
        #[cfg(not(feature = "sqlite"))]
        Err(open("a SQLite file needs a build with the feature \"sqlite\"".into()))
    }

    /// Hands out every entity of the kind; answers how many others there are.
    pub(super) fn feed(&self, kind: &str, workers: &[SyncSender<Feed>]) -> Result<u64, ReplayError> {
        match self {
            Self::Lines(path) => lines(path, kind, workers),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(sqlite) => sqlite.feed(kind, workers),
        }
    }

    /// Folds what comes until nothing more does.
    pub(super) fn work<A: PersistentActor>(
        &self,
        reader: &Reader<A>,
        work: &Receiver<Feed>,
        results: &SyncSender<Folded>,
    ) {
        let mut fold: Option<Fold<A>> = None;
        for feed in work {
            let folded = match feed {
                Feed::Begin(id) => {
                    fold = Some(Fold::new(id));
                    continue;
                }
                Feed::Line(number, line) => {
                    if let Some(fold) = &mut fold {
                        match json_lines::read(&line, fold.id()) {
                            Ok(LineItem::Event(envelope)) => fold.event(&envelope, reader),
                            Ok(LineItem::Deleted { to }) => fold.deleted(to),
                            Ok(LineItem::Erased { to }) => fold.erased(to),
                            // A snapshot: the events alone must tell it.
                            Ok(_) => {}
                            Err(reason) => fold.fail_next(format!("line {number}: {reason}")),
                        }
                    }
                    continue;
                }
                Feed::End => fold.take().map(|fold| fold.end(reader)),
                #[cfg(feature = "sqlite")]
                Feed::Whole(id) => match self {
                    Self::Sqlite(sqlite) => Some(sqlite.fold(id, reader)),
                    Self::Lines(_) => None,
                },
            };
            if let Some(folded) = folded
                && results.send(folded).is_err()
            {
                return;
            }
        }
    }
}

fn lines(path: &Path, kind: &str, workers: &[SyncSender<Feed>]) -> Result<u64, ReplayError> {
    let wrong = |line: u64, reason: String| ReplayError::Line { path: path.to_path_buf(), line, reason };
    let file = File::open(path)
        .map_err(|error| ReplayError::Open { path: path.to_path_buf(), reason: error.to_string() })?;
    let mut current: Option<PersistenceId> = None;
    let mut ours = false;
    let (mut worker, mut others) = (0, 0);
    for (number, line) in (1..).zip(BufReader::new(file).lines()) {
        let line = line.map_err(|error| wrong(number, error.to_string()))?;
        if line.trim().is_empty() {
            continue;
        }
        let about = json_lines::about(&line).map_err(|error| wrong(number, error.to_string()))?;
        if current.as_ref().is_none_or(|id| id.as_str() != about) {
            let id = PersistenceId::parse(&about).map_err(|error| wrong(number, error.to_string()))?;
            if current.as_ref().is_some_and(|before| before.as_str() > id.as_str()) {
                return Err(wrong(
                    number,
                    "lines are ordered by persistence id, then by number: sort them".into(),
                ));
            }
            if ours && workers[worker].send(Feed::End).is_err() {
                return Ok(others);
            }
            worker = if ours { (worker + 1) % workers.len() } else { worker };
            ours = id.kind() == kind;
            if !ours {
                others += 1;
            } else if workers[worker].send(Feed::Begin(id.clone())).is_err() {
                return Ok(others);
            }
            current = Some(id);
        }
        // A worker that is gone has told why.
        if ours && workers[worker].send(Feed::Line(number, line)).is_err() {
            return Ok(others);
        }
    }
    if ours {
        let _ = workers[worker].send(Feed::End);
    }
    Ok(others)
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::mpsc::SyncSender;

    use annals_journal::sqlite::{Options, SqliteJournal};
    use annals_journal::{Journal, PersistenceId, ReplayRange, Replayed};
    use futures::StreamExt;
    use tokio::runtime::Runtime;

    use super::super::ReplayError;
    use super::super::fold::{Fold, Folded, Reader};
    use super::{Feed, IDS_A_PAGE};
    use crate::PersistentActor;

    /// A SQLite journal and what its readers run on.
    pub(in super::super) struct Sqlite {
        runtime: Runtime,
        journal: Arc<SqliteJournal>,
    }

    impl Sqlite {
        pub(super) fn open(path: &Path) -> Result<Self, String> {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .map_err(|error| error.to_string())?;
            let opened = runtime.block_on(SqliteJournal::open(path, Options::default()));
            Ok(Self { journal: Arc::new(opened.map_err(|error| error.to_string())?), runtime })
        }

        pub(super) fn feed(&self, kind: &str, workers: &[SyncSender<Feed>]) -> Result<u64, ReplayError> {
            let mut after: Option<PersistenceId> = None;
            let (mut next, mut others) = (0, 0);
            loop {
                let ids = self.runtime.block_on(self.journal.persistence_ids(after.as_ref(), IDS_A_PAGE))?;
                for id in &ids {
                    if id.kind() != kind {
                        others += 1;
                        continue;
                    }
                    if workers[next].send(Feed::Whole(id.clone())).is_err() {
                        return Ok(others);
                    }
                    next = (next + 1) % workers.len();
                }
                if ids.len() < IDS_A_PAGE {
                    return Ok(others);
                }
                after = ids.last().cloned();
            }
        }

        pub(super) fn fold<A: PersistentActor>(&self, id: PersistenceId, reader: &Reader<A>) -> Folded {
            let mut events = self.journal.replay(ReplayRange::all(&id));
            let mut fold = Fold::new(id);
            self.runtime.block_on(async {
                while let Some(item) = events.next().await {
                    match item {
                        Ok(Replayed::Event(event)) => fold.event(&event.envelope, reader),
                        Ok(Replayed::Deleted { to, .. }) => fold.deleted(to),
                        Ok(Replayed::Erased { to, .. }) => fold.erased(to),
                        Ok(_) => fold.fail_next("the journal has an item that this build does not know"),
                        Err(error) => fold.fail_next(error.to_string()),
                    }
                }
            });
            fold.end(reader)
        }
    }
}

/// A few thousand bytes of ids at a time.
#[cfg(feature = "sqlite")]
const IDS_A_PAGE: usize = 256;
const SQLITE: &[u8] = b"SQLite format 3\0";
