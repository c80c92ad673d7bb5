use std::collections::BTreeMap;

use crate::cassandra::claimed::{Marker, Row, Rows};
use crate::{Epoch, SeqNr, Token};

/// One of three copies. Of two writes of one cell the one with the higher time stamp stays, of two with the same one the larger.
#[derive(Debug, Default, Clone)]
pub(super) struct Replica {
    pub(super) partitions: BTreeMap<u64, Partition>,
    pub(super) markers: BTreeMap<Token, Marker>,
    pub(super) deleted_to: SeqNr,
    /// Time stamp and epoch.
    pub(super) claim: Option<(u64, Epoch)>,
}

/// A bucket.
#[derive(Debug, Default, Clone)]
pub(super) struct Partition {
    pub(super) rows: Rows,
    /// Up to this number all rows are gone that were written under this token or an older one.
    pub(super) deletions: Vec<(SeqNr, Token)>,
}

/// Where a page ends.
pub(super) type Place = (SeqNr, Token);

/// What a write brings to a replica.
#[derive(Debug, Clone)]
pub(super) enum Mutation {
    Claim { stamp: u64, epoch: Epoch },
    Rows { bucket: u64, rows: Vec<Row> },
    Marker(Marker),
    DeletedTo(SeqNr),
    Deletion { bucket: u64, to: SeqNr, token: Token },
}

impl Replica {
    pub(super) fn apply(&mut self, mutation: &Mutation) {
        match mutation {
            Mutation::Claim { stamp, epoch } => self.claim = self.claim.max(Some((*stamp, *epoch))),
            Mutation::Rows { bucket, rows } => {
                let partition = self.partitions.entry(*bucket).or_default();
                rows.iter().for_each(|row| partition.put(row));
            }
            Mutation::Marker(marker) => {
                self.markers.entry(marker.token).or_insert_with(|| marker.clone());
            }
            Mutation::DeletedTo(to) => self.deleted_to = self.deleted_to.max(*to),
            Mutation::Deletion { bucket, to, token } => {
                self.partitions.entry(*bucket).or_default().deletions.push((*to, *token));
            }
        }
    }
}

impl Partition {
    fn put(&mut self, row: &Row) {
        let stored = self.rows.entry((row.seq_nr, row.token)).or_insert_with(|| row.clone());
        if row.payload > stored.payload {
            *stored = row.clone();
        }
    }

    fn has_deleted(&self, (seq_nr, token): Place) -> bool {
        self.deletions.iter().any(|(to, by)| seq_nr <= *to && token <= *by)
    }

    /// The rows that are left.
    pub(super) fn live(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|(place, _)| !self.has_deleted(**place)).map(|(_, row)| row)
    }

    /// What another has too.
    pub(super) fn merge(&mut self, other: &Self) {
        other.rows.values().for_each(|row| self.put(row));
        for deletion in &other.deletions {
            if !self.deletions.contains(deletion) {
                self.deletions.push(*deletion);
            }
        }
    }

    /// At most so many rows behind a place; and where it ends, when more may come.
    pub(super) fn page(&self, after: Option<Place>, limit: usize) -> (Self, Option<Place>) {
        let behind = self.live().filter(|row| after.is_none_or(|after| (row.seq_nr, row.token) > after));
        let rows: Rows = behind.take(limit).map(|row| ((row.seq_nr, row.token), row.clone())).collect();
        let end = (rows.len() == limit).then(|| rows.keys().next_back().copied()).flatten();
        (Self { rows, deletions: self.deletions.clone() }, end)
    }
}
