//! The long part: pages of the source in the order of their offsets, as appends.

use std::time::Instant;

use annals_journal::{
    AtomicWrite, Envelope, JournalError, Offset, Page, PageItem, PersistenceId, Record, Revision, SliceRange,
    Write,
};
use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::copier::{Copy, CopyReport, Progress, checkpoint_key};
use super::error::CopyError;
use crate::pace::Pace;

impl Copy {
    /// Copies pages until one is not full, and answers whether the target has all of it from this very call. While one is written the
    /// next is read.
    pub(super) async fn fill_to_the_end(
        &self,
        report: &mut CopyReport,
        progress: Progress<'_>,
    ) -> Result<bool, CopyError> {
        let mut pace = Pace::new(self.events_per_second, Instant::now());
        let mut checkpoint = Checkpoint::read(self).await?;
        let mut is_all_new = checkpoint.offset == Offset::BEGINNING;
        let mut page = self.page(checkpoint.offset).await?;
        loop {
            let (count, after) = (page.items.len(), page.complete_to);
            let read = async { if count < PAGE { Ok(None) } else { self.page(after).await.map(Some) } };
            let (next, written) = futures::join!(read, self.write(page, report));
            is_all_new &= written?;
            let next = next?;
            checkpoint.pass(self, after, next.is_none()).await?;
            progress(count as u64);
            pace.wait_after(count as u64).await;
            match next {
                Some(next) => page = next,
                None => return Ok(is_all_new),
            }
        }
    }

    async fn page(&self, after: Offset) -> Result<Page, JournalError> {
        self.from.journal.events_by_slice(SliceRange::ALL, after, PAGE).await
    }

    /// Answers whether nothing of it was in the target before.
    async fn write(&self, page: Page, report: &mut CopyReport) -> Result<bool, CopyError> {
        let (mut appends, mut is_all_new) = (Vec::new(), true);
        for item in page.items {
            match item {
                PageItem::Event(event) => push(&mut appends, event.envelope),
                // Of what was erased nothing is left but the numbers.
                PageItem::Deleted { persistence_id, to, .. }
                | PageItem::Erased { persistence_id, to, .. } => {
                    is_all_new &= self.append(std::mem::take(&mut appends), report).await?;
                    self.delete_to(&persistence_id, to).await?;
                }
                _ => {
                    let reason = "it has an item that this build does not know: run a newer build".to_owned();
                    return Err(CopyError::Closed { name: self.from.name.clone(), reason });
                }
            }
        }
        Ok(self.append(appends, report).await? && is_all_new)
    }

    /// Appends in the order of the list. An id that does not stand where its append begins is looked at by itself: an earlier
    /// run has copied some of it, or events before it were deleted meanwhile. Answers whether there was none.
    async fn append(&self, appends: Vec<AtomicWrite>, report: &mut CopyReport) -> Result<bool, CopyError> {
        if appends.is_empty() {
            return Ok(true);
        }
        let lists: Vec<(PersistenceId, u64)> = appends
            .iter()
            .map(|append| (append.persistence_id.clone(), append.events.len() as u64))
            .collect();
        let answers = self.to.journal.write(appends.into_iter().map(Write::Append).collect()).await;
        let mut behind: Vec<PersistenceId> = Vec::new();
        for ((id, events), answer) in lists.into_iter().zip(answers) {
            match answer {
                Ok(_) => report.events += events,
                Err(
                    JournalError::Conflict { .. }
                    | JournalError::Superseded { .. }
                    | JournalError::Fenced { .. },
                ) => {
                    if !behind.contains(&id) {
                        behind.push(id);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        for id in &behind {
            self.catch_up(id, report).await?;
        }
        Ok(behind.is_empty())
    }
}

/// One owner's neighbours of one id are appended together.
pub(super) fn push(appends: &mut Vec<AtomicWrite>, event: Envelope) {
    match appends.last_mut() {
        Some(append)
            if append.persistence_id == event.persistence_id
                && append.token == event.token
                && append.last().next() == event.seq_nr
                && append.events.len() < EVENTS_AN_APPEND =>
        {
            append.events.push(event);
        }
        _ => appends.push(AtomicWrite {
            persistence_id: event.persistence_id.clone(),
            expected: event.seq_nr.previous(),
            token: event.token,
            events: vec![event],
            mark: None,
        }),
    }
}

/// Up to where the target has everything that the source had when it was read.
struct Checkpoint {
    offset: Offset,
    revision: Option<Revision>,
    pages: u32,
}

impl Checkpoint {
    async fn read(copy: &Copy) -> Result<Self, CopyError> {
        let key = checkpoint_key()?;
        let record = copy.to.records.get(&key).await?;
        let Some(Record { revision, value }) = record else {
            return Ok(Self { offset: Offset::BEGINNING, revision: None, pages: 0 });
        };
        let mut value = value;
        if value.len() != LENGTH || value.get_u8() != FORMAT {
            let reason = format!("the record {key} is of another build: run that one");
            return Err(CopyError::Closed { name: copy.to.name.clone(), reason });
        }
        let [generation, major, minor] = std::array::from_fn(|_| value.get_u64());
        Ok(Self { offset: Offset { generation, major, minor }, revision: Some(revision), pages: 0 })
    }

    /// Now and then: what lies behind it is only looked at again.
    async fn pass(&mut self, copy: &Copy, offset: Offset, last: bool) -> Result<(), CopyError> {
        self.pages += 1;
        if (!last && self.pages < PAGES_A_CHECKPOINT) || offset == self.offset {
            return Ok(());
        }
        (self.pages, self.offset) = (0, offset);
        let key = checkpoint_key()?;
        match copy.to.records.compare_and_set(&key, self.revision, self.encode()).await? {
            annals_journal::CompareAndSet::Set(revision) => self.revision = Some(revision),
            annals_journal::CompareAndSet::Changed { .. } => {
                return Err(CopyError::Raced { name: copy.to.name.clone() });
            }
        }
        Ok(())
    }

    fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(LENGTH);
        out.put_u8(FORMAT);
        for number in [self.offset.generation, self.offset.major, self.offset.minor] {
            out.put_u64(number);
        }
        out.freeze()
    }
}

const PAGE: usize = 1_024;
const EVENTS_AN_APPEND: usize = 256;
const PAGES_A_CHECKPOINT: u32 = 64;
const FORMAT: u8 = 1;
const LENGTH: usize = 25;
