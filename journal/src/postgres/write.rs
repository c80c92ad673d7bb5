use futures::TryStreamExt as _;
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::{Postgres, Row as _};

use super::failure::{gave_way, read_failure, write_failure};
use super::runs::{Run, Runs, Way};
use super::{Database, row, statements};
use crate::encoded_write::{EncodedKind, EncodedWrite};
use crate::{Gate, Head, JournalError};

/// Decides and stores a list: one round trip, unless an id has entries that are not judged together.
pub(super) async fn write(database: &Database, writes: Vec<EncodedWrite>) -> Vec<Result<Head, JournalError>> {
    let mut runs = Runs::new(writes);
    // Open, as nearly always; the statement does nothing when it is not.
    let mut gate: Option<Vec<u8>> = None;
    loop {
        let round = runs.next();
        if round.is_empty() {
            return runs.into_answers();
        }
        match execute(database, &runs, &round, gate.as_deref()).await {
            Ok(Judged::Rows(rows)) => {
                // Of claims, too: who looks for nothing loses little.
                if rows.iter().any(|judged| judged.passed) {
                    database.committed();
                }
                for judged in rows {
                    runs.judged(&round[judged.run], judged.head, judged.passed);
                }
            }
            Ok(Judged::Advanced(rows)) => {
                if !rows.is_empty() {
                    database.committed();
                }
                let mut left_over = vec![true; round.len()];
                for advanced in rows {
                    left_over[advanced.run] = false;
                    let run = &round[advanced.run];
                    runs.judged(run, advanced.before(run), true);
                }
                round
                    .iter()
                    .zip(left_over)
                    .filter(|(_, left)| *left)
                    .for_each(|(run, _)| runs.left_over(run));
            }
            Ok(Judged::Gated(found)) => {
                let of = found.as_deref().map(Gate::decode).transpose();
                runs.gated(of.unwrap_or_else(|_| Some(Gate::unreadable())));
                gate = found;
            }
            Err(error) => runs.failed(&round, &error),
        }
    }
}

/// What a statement made of its runs.
enum Judged {
    Rows(Vec<JudgedRun>),
    /// The short way: those that passed, with their heads afterwards.
    Advanced(Vec<JudgedRun>),
    /// Nothing was judged: the gate is this.
    Gated(Option<Vec<u8>>),
}

struct JudgedRun {
    run: usize,
    /// The head before it.
    head: Head,
    passed: bool,
}

/// Executes one statement for the runs; again when it had to give way.
async fn execute(
    database: &Database,
    runs: &Runs,
    round: &[Run],
    gate: Option<&[u8]>,
) -> Result<Judged, JournalError> {
    let mut tries = 0;
    loop {
        let mut connection = database.writer().await?;
        match execute_on(&mut connection, runs, round, gate).await {
            Ok(judged) => {
                connection.done();
                return Ok(judged);
            }
            Err(error) if gave_way(&error) && tries < TRIES => {
                connection.done();
                tries += 1;
            }
            Err(error @ (sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_))) => {
                // The rows came after the commit.
                return Err(JournalError::unknown(
                    read_failure(database.server(), error).to_string(),
                    Undecided,
                ));
            }
            Err(error) => return Err(write_failure(database.server(), error)),
        }
    }
}

async fn execute_on(
    connection: &mut PgConnection,
    runs: &Runs,
    round: &[Run],
    gate: Option<&[u8]>,
) -> sqlx::Result<Judged> {
    let way = runs.way(round);
    let statement = Statement::of(runs, round);
    let mut rows = statement.query(way, gate).fetch(connection);
    let mut judged = Vec::with_capacity(round.len());
    let mut gated = None;
    while let Some(row) = rows.try_next().await? {
        if way != Way::Judge {
            judged.push(JudgedRun::of(&row, round.len(), true)?);
        } else if row.try_get::<bool, _>(OPEN)? {
            judged.push(JudgedRun::of(&row, round.len(), row.try_get(PASSED)?)?);
        } else {
            gated = Some(row.try_get(GATE)?);
        }
    }
    Ok(match (way, gated) {
        (Way::Judge, Some(gate)) => Judged::Gated(gate),
        (Way::Judge, None) => Judged::Rows(judged),
        _ => Judged::Advanced(judged),
    })
}

/// Columns of the answer behind the run's number and its head.
const PASSED: usize = 6;
const GATE: usize = 7;
const OPEN: usize = 8;

impl JudgedRun {
    fn of(row: &PgRow, runs: usize, passed: bool) -> sqlx::Result<Self> {
        let number: i64 = row.try_get(0)?;
        let run = usize::try_from(number - 1).ok().filter(|run| *run < runs);
        let run = run.ok_or_else(|| row::none_of_ours("answer", format!("there is no run {number}")))?;
        let known: Option<i64> = row.try_get(1)?;
        let head = if known.is_some() { row::head(row, 1)? } else { Head::EMPTY };
        Ok(Self { run, head, passed })
    }

    /// The head before what the run did to it.
    fn before(&self, run: &Run) -> Head {
        let seq_nr = run.heads.map_or(self.head.seq_nr, |(from, _)| from);
        let mark = run.marks.as_ref().map_or(self.head.mark, |(from, _)| *from);
        Head { seq_nr, mark, ..self.head }
    }
}

/// The parameters of a statement, a column each.
#[derive(Default)]
struct Statement<'a> {
    ids: Vec<&'a str>,
    slices: Vec<i16>,
    epochs: Vec<i64>,
    activations: Vec<i64>,
    exact: Vec<bool>,
    writes: Vec<bool>,
    expected: Vec<Option<i64>>,
    heads: Vec<Option<i64>>,
    marks: Vec<bool>,
    marks_from: Vec<Option<&'a [u8]>>,
    marks_to: Vec<Option<&'a [u8]>>,
    event_ids: Vec<&'a str>,
    event_numbers: Vec<i64>,
    event_slices: Vec<i16>,
    envelopes: Vec<&'a [u8]>,
    tags: Vec<Option<String>>,
    tagged: bool,
}

impl<'a> Statement<'a> {
    fn of(runs: &'a Runs, round: &'a [Run]) -> Self {
        let mut statement = Self::default();
        let mut entries = Vec::with_capacity(round.len());
        for run in round {
            let (id, token) = (runs.id_of(run), runs.writes[run.entries[0]].token);
            statement.ids.push(id.as_str());
            statement.slices.push(slice(&runs.writes[run.entries[0]]));
            statement.epochs.push(row::stored(token.epoch.0));
            statement.activations.push(row::stored(token.activation));
            statement.exact.push(run.exact);
            statement.writes.push(run.writes);
            statement.expected.push(run.heads.map(|(from, _)| row::stored(from.get())));
            statement.heads.push(run.heads.map(|(_, to)| row::stored(to.get())));
            statement.marks.push(run.marks.is_some());
            let from = run.marks.as_ref().and_then(|(from, _)| from.as_ref());
            statement.marks_from.push(from.map(|mark| mark.as_bytes().as_slice()));
            statement.marks_to.push(run.marks.as_ref().map(|(_, to)| to.as_bytes().as_slice()));
            entries.extend_from_slice(&run.entries);
        }
        // Offsets in the order of the list.
        entries.sort_unstable();
        entries.into_iter().for_each(|entry| statement.events_of(&runs.writes[entry]));
        statement
    }

    fn events_of(&mut self, write: &'a EncodedWrite) {
        let EncodedKind::Append { expected, events: Ok(events), .. } = &write.kind else { return };
        let (mut number, slice) = (*expected, slice(write));
        for event in events {
            number = number.next();
            self.event_ids.push(write.persistence_id.as_str());
            self.event_numbers.push(row::stored(number.get()));
            self.event_slices.push(slice);
            self.envelopes.push(&event.bytes);
            self.tags.push(joined(event.tags.iter().map(crate::Tag::as_str)));
            self.tagged |= !event.tags.is_empty();
        }
    }

    fn query(self, way: Way, gate: Option<&'a [u8]>) -> Query<'a, Postgres, PgArguments> {
        let kinds = match way {
            Way::Advance => statements::ADVANCE,
            Way::AdvanceMarked => statements::ADVANCE_MARKED,
            Way::Judge => statements::WRITE,
        };
        let query = sqlx::query(match (self.envelopes.is_empty(), self.tagged) {
            (true, _) => kinds.heads,
            (_, false) => kinds.events,
            (_, true) => kinds.tagged,
        });
        let query = match way {
            Way::Advance | Way::AdvanceMarked => query
                .bind(self.ids)
                .bind(self.epochs)
                .bind(self.activations)
                .bind(self.expected)
                .bind(self.heads),
            Way::Judge => query
                .bind(gate)
                .bind(self.ids)
                .bind(self.slices)
                .bind(self.epochs)
                .bind(self.activations)
                .bind(self.exact)
                .bind(self.writes)
                .bind(self.expected)
                .bind(self.heads)
                .bind(self.marks),
        };
        let query = match way {
            Way::Advance => query,
            Way::AdvanceMarked | Way::Judge => query.bind(self.marks_from).bind(self.marks_to),
        };
        if self.envelopes.is_empty() {
            return query;
        }
        let query =
            query.bind(self.event_ids).bind(self.event_numbers).bind(self.event_slices).bind(self.envelopes);
        if self.tagged { query.bind(self.tags) } else { query }
    }
}

/// Tags with a unit separator between them, which no tag has in it; `None` when there are none.
pub(super) fn joined<'a>(tags: impl Iterator<Item = &'a str>) -> Option<String> {
    let tags: Vec<_> = tags.collect();
    (!tags.is_empty()).then(|| tags.join("\u{1f}"))
}

fn slice(write: &EncodedWrite) -> i16 {
    write.persistence_id.slice().number().cast_signed()
}

#[derive(Debug, thiserror::Error)]
#[error("the answer to a committed write could not be read")]
struct Undecided;

/// A statement that gives way has waited for whom it gave way to; the next has another order.
const TRIES: u32 = 10;
