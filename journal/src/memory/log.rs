use std::collections::VecDeque;

use bytes::Bytes;

use crate::{PersistenceId, SeqNr, Slice, Tag};

/// Rows in the order of their positions, which are 1, 2, 3, … and never used again.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Row of position `first + index`; `None` where it was taken out. Never begins with `None`.
    rows: VecDeque<Option<Row>>,
    /// How many positions at the beginning are gone.
    gone: u64,
}

/// An event or a tombstone.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: PersistenceId,
    pub(super) slice: Slice,
    /// The event's number; of a tombstone the last number that was deleted.
    pub(super) seq_nr: SeqNr,
    /// The event's tags; of a tombstone those of all events that were deleted.
    pub(super) tags: Vec<Tag>,
    /// The encoded envelope; `None`: a tombstone.
    pub(super) event: Option<Bytes>,
}

impl Log {
    /// Puts a row at the end and says its position.
    pub(super) fn push(&mut self, row: Row) -> u64 {
        self.rows.push_back(Some(row));
        self.end()
    }

    /// The last position that was ever used.
    pub(super) fn end(&self) -> u64 {
        self.gone + self.rows.len() as u64
    }

    pub(super) fn get(&self, position: u64) -> Option<&Row> {
        self.rows.get(self.index(position)?)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, position: u64) -> Option<&mut Row> {
        let index = self.index(position)?;
        self.rows.get_mut(index)?.as_mut()
    }

    /// Takes a row out; its position stays used.
    pub(super) fn take(&mut self, position: u64) -> Option<Row> {
        let index = self.index(position)?;
        let row = self.rows.get_mut(index)?.take();
        while let Some(None) = self.rows.front() {
            self.rows.pop_front();
            self.gone += 1;
        }
        row
    }

    /// The rows behind a position.
    pub(super) fn after(&self, position: u64) -> impl Iterator<Item = (u64, &Row)> {
        let skipped = position.saturating_sub(self.gone);
        let first = self.gone + skipped + 1;
        let start = usize::try_from(skipped).unwrap_or(usize::MAX).min(self.rows.len());
        self.rows.range(start..).zip(first..).filter_map(|(row, position)| Some((position, row.as_ref()?)))
    }

    fn index(&self, position: u64) -> Option<usize> {
        usize::try_from(position.checked_sub(self.gone + 1)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: u64) -> Row {
        let id = PersistenceId::new("k", "e").unwrap();
        let slice = id.slice();
        Row { id, slice, seq_nr: SeqNr::new(number).unwrap(), tags: vec![], event: None }
    }

    #[test]
    fn positions_stay_used_when_rows_go() {
        let mut log = Log::default();
        let positions: Vec<_> = (1..=3).map(|number| log.push(row(number))).collect();
        assert_eq!(positions, [1, 2, 3]);
        for position in positions {
            assert_eq!(log.take(position).unwrap().seq_nr.get(), position);
        }
        assert_eq!((log.end(), log.push(row(4))), (3, 4));
        assert_eq!(log.after(0).map(|(position, _)| position).collect::<Vec<_>>(), [4]);
        assert_eq!(log.after(4).count(), 0);
        assert_eq!(log.after(99).count(), 0);
        assert!(log.get(3).is_none() && log.get(4).is_some() && log.get(5).is_none());
    }
}
