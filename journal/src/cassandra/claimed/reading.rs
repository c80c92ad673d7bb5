use std::collections::BTreeSet;

use super::log::Missing;
use super::{Log, Marker, Row, Rows, Rule, Rules, resolve};
use crate::SeqNr;

/// How numbers are cut into partitions: a batch is in that of its first number, however long it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Buckets {
    pub(super) size: u64,
    /// A batch has at most so many events.
    pub(super) largest_batch: u64,
}

impl Buckets {
    /// Where a batch that begins with this number is.
    pub(super) fn of(self, first: SeqNr) -> u64 {
        (first.get().max(1) - 1) / self.size
    }

    /// Where a batch that has this number may be.
    pub(super) fn around(self, seq_nr: SeqNr) -> std::ops::RangeInclusive<u64> {
        let first = seq_nr.get().saturating_sub(self.largest_batch - 1);
        self.of(SeqNr::ZERO.plus(first))..=self.of(seq_nr)
    }
}

/// What is to be read, at a quorum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Markers,
    DeletedTo,
    /// All rows of a bucket, page by page.
    Rows(u64),
}

/// What was read.
#[derive(Debug, Clone)]
pub(super) enum Found {
    Markers(Vec<Marker>),
    DeletedTo(SeqNr),
    Rows(Vec<Row>),
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Next {
    Ask(Ask),
    Resolved(Log),
}

/// T2: reads a log from a number on.
///
/// ```text
/// markers, deleted ─▶ from where on? ─▶ rows, bucket by bucket ─▶ markers ─▶ deleted ─▶ the log; more buckets? a row missing? again
/// ```
/// Markers and numbers that were deleted are never taken back, so that what was seen of them once counts.
#[derive(Debug)]
pub(super) struct Reading {
    rules: Rules,
    buckets: Buckets,
    /// What is asked for begins behind it; `None`: behind the base of the newest marker.
    wanted: Option<SeqNr>,
    above: SeqNr,
    stage: Stage,
    unread: BTreeSet<u64>,
    read: BTreeSet<u64>,
    rows: Rows,
    markers: Vec<Marker>,
    deleted_to: SeqNr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    FirstMarkers,
    FirstDeleted,
    Rows,
    Markers,
    Deleted,
}

impl Reading {
    pub(super) fn begin(rules: Rules, buckets: Buckets, wanted: Option<SeqNr>) -> (Self, Ask) {
        let reading = Self {
            rules,
            buckets,
            wanted,
            above: SeqNr::ZERO,
            stage: Stage::FirstMarkers,
            unread: BTreeSet::new(),
            read: BTreeSet::new(),
            rows: Rows::new(),
            markers: Vec::new(),
            deleted_to: SeqNr::ZERO,
        };
        (reading, Ask::Markers)
    }

    /// The rows that were read.
    pub(super) fn rows(&self) -> &Rows {
        &self.rows
    }

    pub(super) fn step(&mut self, found: Found) -> Next {
        match found {
            Found::Markers(markers) => {
                self.markers.extend(markers);
                self.markers.sort_by_key(|marker| marker.token);
                self.markers.dedup();
            }
            Found::DeletedTo(to) => self.deleted_to = self.deleted_to.max(to),
            Found::Rows(rows) => self.rows.extend(rows.into_iter().map(|row| ((row.seq_nr, row.token), row))),
        }
        match self.stage {
            Stage::FirstMarkers => self.ask(Stage::FirstDeleted, Ask::DeletedTo),
            Stage::FirstDeleted => {
                let base = self.markers.last().map_or(SeqNr::ZERO, |marker| marker.history.base());
                self.above = self.deleted_to.max(self.wanted.map_or(base, |wanted| wanted.min(base)));
                self.read.clear();
                self.unread.extend(self.buckets.around(self.above.next()));
                self.go_on()
            }
            Stage::Rows => self.go_on(),
            Stage::Markers if !self.rules.keep(Rule::DeletedIsReadAfterRows) => self.conclude(),
            Stage::Markers => self.ask(Stage::Deleted, Ask::DeletedTo),
            Stage::Deleted => self.conclude(),
        }
    }

    fn ask(&mut self, stage: Stage, ask: Ask) -> Next {
        self.stage = stage;
        Next::Ask(ask)
    }

    fn go_on(&mut self) -> Next {
        match self.unread.pop_first() {
            None => self.ask(Stage::Markers, Ask::Markers),
            Some(bucket) => {
                self.read.insert(bucket);
                self.ask(Stage::Rows, Ask::Rows(bucket))
            }
        }
    }

    fn conclude(&mut self) -> Next {
        let resolved = resolve(&self.rows, self.above, &self.markers, self.deleted_to, self.rules);
        let number = match &resolved {
            Ok(log) => log.head().next(),
            Err(Missing(seq_nr)) => *seq_nr,
        };
        let unread: Vec<u64> =
            self.buckets_of(number).into_iter().filter(|bucket| !self.read.contains(bucket)).collect();
        match resolved {
            _ if !unread.is_empty() => {
                self.unread.extend(unread);
                self.go_on()
            }
            Ok(log) => Next::Resolved(log),
            Err(_) => {
                self.rows.clear();
                self.ask(Stage::FirstDeleted, Ask::DeletedTo)
            }
        }
    }

    /// Where the row of a number may be, when all before it is known: what was deleted may end in the middle of its batch.
    fn buckets_of(&self, number: SeqNr) -> Vec<u64> {
        let around = self.buckets.around(number);
        let last_read = self.read.last().copied().unwrap_or(0);
        if !self.rules.keep(Rule::BucketOfTheNextNumber) {
            // As if no batch were longer than a bucket.
            return if self.has_rows_in(last_read) {
                vec![(last_read + 1).min(*around.end())]
            } else {
                Vec::new()
            };
        }
        match self.rules.keep(Rule::BatchBeginsEarlier) {
            true => around.collect(),
            false => vec![*around.end()],
        }
    }

    fn has_rows_in(&self, bucket: u64) -> bool {
        self.rows.values().any(|row| self.buckets.of(row.batch.first) == bucket)
    }
}
