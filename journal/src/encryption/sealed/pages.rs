use super::{Vault, events};
use crate::{JournalError, Page, PageItem, StoredEvent};

impl Vault {
    /// Opens the events of a page; the keys that are missing are read together.
    pub(super) async fn opened(&self, page: Page) -> Result<Page, JournalError> {
        let sealed = |item: &PageItem| match item {
            PageItem::Event(StoredEvent { envelope, .. }) => {
                envelope.key_id.map(|key| (envelope.persistence_id.clone(), key))
            }
            PageItem::Deleted { .. } => None,
        };
        let mut missing: Vec<_> = page
            .items
            .iter()
            .filter_map(sealed)
            .filter(|(id, key)| self.keys.to_open_cached(id, *key).is_none())
            .collect();
        missing.sort_unstable();
        missing.dedup();
        if !missing.is_empty() {
            let wanted: Vec<_> = missing.iter().map(|(id, key)| (id, *key)).collect();
            // Whatever is wrong with one is said with the event that needs it.
            drop(self.keys.to_open(&wanted).await);
        }
        let mut context = Vec::with_capacity(256);
        let mut items = Vec::with_capacity(page.items.len());
        for item in page.items {
            items.push(match item {
                PageItem::Event(StoredEvent { offset, envelope, bytes }) => {
                    let envelope = match envelope.key_id {
                        None => {
                            self.check_plain(&envelope.persistence_id, envelope.seq_nr).await?;
                            envelope
                        }
                        Some(key) => {
                            let key = self.key_to_open(&envelope.persistence_id, key).await?;
                            let record = events::record(&envelope)?;
                            events::open(&key, envelope, &record, &mut context)?
                        }
                    };
                    PageItem::Event(StoredEvent { offset, envelope, bytes })
                }
                deleted => deleted,
            });
        }
        Ok(Page { items, ..page })
    }
}
