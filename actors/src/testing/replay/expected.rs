use std::cmp::Ordering;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Lines, Write};
use std::path::{Path, PathBuf};

use annals_journal::{PersistenceId, SeqNr};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ReplayError;
use super::report::Difference;
use crate::testing::difference::difference;

/// The states that a test expects: JSON lines in the order of their ids, read along with the replay.
pub(super) struct Expected {
    path: PathBuf,
    lines: Lines<BufReader<File>>,
    number: u64,
    next: Option<State>,
}

/// One line.
#[derive(Serialize, Deserialize)]
struct State {
    persistence_id: String,
    seq_nr: u64,
    state: Value,
}

impl Expected {
    pub(super) fn open(path: &Path) -> Result<Self, ReplayError> {
        let file = File::open(path).map_err(|error| ReplayError::Expected {
            path: path.to_path_buf(),
            line: 0,
            reason: format!("{error}; {OVERWRITE}=overwrite writes it"),
        })?;
        let lines = BufReader::new(file).lines();
        let mut expected = Self { path: path.to_path_buf(), lines, number: 0, next: None };
        expected.advance()?;
        Ok(expected)
    }

    /// Compares the next entity; entities come in the order of their ids.
    pub(super) fn compare(
        &mut self,
        id: &PersistenceId,
        seq_nr: SeqNr,
        state: Option<&Value>,
        differences: &mut impl FnMut(Difference),
    ) -> Result<(), ReplayError> {
        loop {
            let order = match &self.next {
                None => Ordering::Greater,
                Some(next) => next.persistence_id.as_str().cmp(id.as_str()),
            };
            match order {
                Ordering::Less => self.gone(differences)?,
                Ordering::Greater => {
                    if state.is_some() {
                        differences(Difference { id: id.to_string(), what: NEW.into() });
                    }
                    return Ok(());
                }
                Ordering::Equal => break,
            }
        }
        // One that failed is told as a failure.
        if let (Some(next), Some(state)) = (&self.next, state) {
            if next.seq_nr != seq_nr.get() {
                let what = format!("has {} events, expected are {}", seq_nr.get(), next.seq_nr);
                differences(Difference { id: id.to_string(), what });
            } else if let Some(lines) = difference(&next.state, state) {
                let what =
                    format!("is another state after event {} (- expected, + found)\n{lines}", seq_nr.get());
                differences(Difference { id: id.to_string(), what });
            }
        }
        self.advance()
    }

    /// After the last entity.
    pub(super) fn end(mut self, differences: &mut impl FnMut(Difference)) -> Result<(), ReplayError> {
        while self.next.is_some() {
            self.gone(differences)?;
        }
        Ok(())
    }

    fn gone(&mut self, differences: &mut impl FnMut(Difference)) -> Result<(), ReplayError> {
        if let Some(next) = &self.next {
            differences(Difference { id: next.persistence_id.clone(), what: GONE.into() });
        }
        self.advance()
    }

    fn advance(&mut self) -> Result<(), ReplayError> {
        self.number += 1;
        self.next = match self.lines.next() {
            None => None,
            Some(line) => {
                let next = line
                    .and_then(|line| serde_json::from_str::<State>(&line).map_err(io::Error::from))
                    .map_err(|error| self.wrong(error.to_string()))?;
                Some(next)
            }
        };
        Ok(())
    }

    fn wrong(&self, reason: String) -> ReplayError {
        ReplayError::Expected { path: self.path.clone(), line: self.number, reason }
    }
}

/// Writes the states anew; the old file stays until all of them are written.
pub(super) struct Rewrite {
    path: PathBuf,
    beside: PathBuf,
    out: BufWriter<File>,
}

impl Rewrite {
    pub(super) fn of(path: &Path) -> Result<Self, ReplayError> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        match File::create(&beside) {
            Ok(file) => Ok(Self { path: path.to_path_buf(), beside, out: BufWriter::new(file) }),
            Err(error) => Err(cannot_write(path, &error)),
        }
    }

    pub(super) fn add(&mut self, id: &PersistenceId, seq_nr: SeqNr, state: Value) -> Result<(), ReplayError> {
        let line = State { persistence_id: id.to_string(), seq_nr: seq_nr.get(), state };
        let written = serde_json::to_writer(&mut self.out, &line).map_err(io::Error::from);
        written.and_then(|()| self.out.write_all(b"\n")).map_err(|error| cannot_write(&self.path, &error))
    }

    /// Puts the new file in the place of the old one.
    pub(super) fn end(mut self) -> Result<(), ReplayError> {
        let written = self.out.flush().and_then(|()| std::fs::rename(&self.beside, &self.path));
        written.map_err(|error| cannot_write(&self.path, &error))
    }

    /// Leaves the old file as it is.
    pub(super) fn give_up(self) {
        // What is left over is named `.new`, and is written again the next time.
        let _ = std::fs::remove_file(&self.beside);
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> ReplayError {
    ReplayError::Expected { path: path.to_path_buf(), line: 0, reason: error.to_string() }
}

/// The environment variable that says what to do with the file.
pub(super) const OVERWRITE: &str = "ANNALS_REPLAY";
const NEW: &str = "is not among the expected states";
const GONE: &str = "is expected and not in the journal";
