use async_trait::async_trait;
use futures::stream::BoxStream;

use super::pages::Reading;
use super::{SealedJournal, unmarked};
use crate::{
    CommitListener, Envelope, Head, Journal, JournalError, Limits, Offset, Page, PersistenceId, ReplayRange,
    Replayed, SeqNr, SliceRange, StoredEvent, Tag, Write,
};

#[async_trait]
impl Journal for SealedJournal {
    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Head, JournalError>> {
        self.vault.write(writes).await
    }

    fn replay(&self, range: ReplayRange) -> BoxStream<'static, Result<Replayed, JournalError>> {
        super::replaying::replay(self.vault.clone(), range)
    }

    async fn head(&self, id: &PersistenceId) -> Result<Head, JournalError> {
        let head = self.vault.stored(id).await?.head;
        self.vault.with_erased(id, unmarked(head)).await
    }

    async fn delete_to(&self, id: &PersistenceId, to: SeqNr) -> Result<(), JournalError> {
        self.vault.delete_to(id, to).await
    }

    async fn replace(&self, old: &StoredEvent, new: Envelope) -> Result<bool, JournalError> {
        self.vault.replace(old, new).await
    }

    async fn replace_all(
        &self,
        replacements: Vec<(StoredEvent, Envelope)>,
    ) -> Vec<Result<bool, JournalError>> {
        self.vault.replace_all(replacements).await
    }

    async fn events_by_tag(&self, tag: &Tag, after: Offset, limit: usize) -> Result<Page, JournalError> {
        self.vault.page(after, limit, Reading::Tag(tag)).await
    }

    async fn events_by_slice(
        &self,
        slices: SliceRange,
        after: Offset,
        limit: usize,
    ) -> Result<Page, JournalError> {
        self.vault.page(after, limit, Reading::Slices(slices)).await
    }

    async fn persistence_ids(
        &self,
        after: Option<&PersistenceId>,
        limit: usize,
    ) -> Result<Vec<PersistenceId>, JournalError> {
        self.vault.inner.persistence_ids(after, limit).await
    }

    fn limits(&self) -> Limits {
        self.vault.limits()
    }

    fn commits(&self) -> Option<CommitListener> {
        self.vault.inner.commits()
    }
}
