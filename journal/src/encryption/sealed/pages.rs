use std::collections::HashMap;

use super::{Vault, events};
use crate::{JournalError, Offset, Page, PageItem, PersistenceId, SeqNr, SliceRange, StoredEvent, Tag};

/// Which events a page has.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reading<'a> {
    /// Who reads all of an id's events is told at the last erased one of all that they were erased: once.
    Slices(SliceRange),
    /// Who may not meet the last one is told at the first in each page.
    Tag(&'a Tag),
}

impl Vault {
    /// A page of what is readable. Where erased events leave less than what was asked for, the next page is read too: one that is not full
    /// says that there is no more.
    pub(super) async fn page(
        &self,
        mut after: Offset,
        limit: usize,
        reading: Reading<'_>,
    ) -> Result<Page, JournalError> {
        let mut opening = Opening { vault: self, reading, items: Vec::new(), erased: HashMap::new() };
        loop {
            let wanted = limit - opening.items.len();
            let page = match reading {
                Reading::Slices(slices) => self.inner.events_by_slice(slices, after, wanted).await?,
                Reading::Tag(tag) => self.inner.events_by_tag(tag, after, wanted).await?,
            };
            let (full, complete_to) = (page.items.len() >= wanted, page.complete_to);
            opening.open(page.items).await?;
            if !full || opening.items.len() >= limit {
                return Ok(Page { items: opening.items, complete_to });
            }
            after = complete_to;
        }
    }

    /// What was read some time ago.
    #[cfg(test)]
    pub(in crate::encryption) async fn opened(
        &self,
        items: Vec<PageItem>,
    ) -> Result<Vec<PageItem>, JournalError> {
        let reading = Reading::Slices(SliceRange::ALL);
        let mut opening = Opening { vault: self, reading, items: Vec::new(), erased: HashMap::new() };
        opening.open(items).await?;
        Ok(opening.items)
    }

    /// Checks an event that was read in the clear; one that may not be so is read again: it may have been sealed in its place since.
    async fn plain_or_sealed(&self, event: StoredEvent) -> Result<Read, JournalError> {
        if event.envelope.key_id.is_some() {
            return Ok(Read::Sealed(event));
        }
        let (id, seq_nr) = (&event.envelope.persistence_id, event.envelope.seq_nr);
        let Err(error) = self.check_plain(id, seq_nr).await else { return Ok(Read::Plain(event)) };
        self.sealed_since(id, seq_nr).await?.map(Read::Sealed).ok_or(error)
    }

    /// Has the keys of a page in memory; those that are missing are read together.
    async fn fetch_keys_of(&self, items: &[PageItem]) {
        let sealed = |item: &PageItem| match item {
            PageItem::Event(StoredEvent { envelope, .. }) => {
                envelope.key_id.map(|key| (envelope.persistence_id.clone(), key))
            }
            _ => None,
        };
        let mut missing: Vec<_> = items
            .iter()
            .filter_map(sealed)
            .filter(|(id, key)| self.keys.known_to_open(id, *key).is_none())
            .collect();
        missing.sort_unstable();
        missing.dedup();
        if !missing.is_empty() {
            let wanted: Vec<_> = missing.iter().map(|(id, key)| (id, *key)).collect();
            // Whatever is wrong with one is said with the event that needs it.
            drop(self.keys.to_open(&wanted).await);
        }
    }
}

/// How an event stands there.
enum Read {
    Plain(StoredEvent),
    Sealed(StoredEvent),
}

/// A page while its events are opened.
struct Opening<'a> {
    vault: &'a Vault,
    reading: Reading<'a>,
    items: Vec<PageItem>,
    /// The ids that have erased events here, with the first and the last of all of them.
    erased: HashMap<PersistenceId, (SeqNr, SeqNr)>,
}

impl Opening<'_> {
    async fn open(&mut self, items: Vec<PageItem>) -> Result<(), JournalError> {
        self.vault.fetch_keys_of(&items).await;
        self.items.reserve(items.len());
        let mut context = Vec::with_capacity(256);
        for item in items {
            match item {
                PageItem::Event(event) => self.event(event, &mut context).await?,
                gone => self.items.push(gone),
            }
        }
        Ok(())
    }

    async fn event(&mut self, event: StoredEvent, context: &mut Vec<u8>) -> Result<(), JournalError> {
        let event = match self.vault.plain_or_sealed(event).await? {
            Read::Sealed(event) => event,
            Read::Plain(event) => {
                self.items.push(PageItem::Event(event));
                return Ok(());
            }
        };
        let (offset, seq_nr) = (event.offset, event.envelope.seq_nr);
        let id = event.envelope.persistence_id.clone();
        match self.vault.with_key(event).await {
            Ok((StoredEvent { offset, envelope, bytes }, key)) => {
                let record = events::record(&envelope)?;
                let envelope = events::open(&key, envelope, &record, context)?;
                self.items.push(PageItem::Event(StoredEvent { offset, envelope, bytes }));
                Ok(())
            }
            Err(JournalError::Erased { .. }) => self.erased(offset, id, seq_nr).await,
            Err(error) => Err(error),
        }
    }

    async fn erased(
        &mut self,
        offset: Offset,
        persistence_id: PersistenceId,
        seq_nr: SeqNr,
    ) -> Result<(), JournalError> {
        let known = self.erased.get(&persistence_id).copied();
        let (from, to) = match known.filter(|(_, to)| seq_nr <= *to) {
            Some(range) => range,
            None => {
                let head = self.vault.inner.head(&persistence_id).await?;
                let head = self.vault.with_erased(&persistence_id, head).await?;
                let range = (head.deleted_to.next().min(seq_nr), head.erased_to.max(seq_nr));
                self.erased.insert(persistence_id.clone(), range);
                range
            }
        };
        let tell = match self.reading {
            Reading::Slices(_) => seq_nr == to,
            Reading::Tag(_) => known.is_none(),
        };
        if tell {
            self.items.push(PageItem::Erased { offset, persistence_id, from, to });
        }
        Ok(())
    }
}
