//! Records as the conformance suite expects them beside a journal behind keys.
#![allow(dead_code, reason = "not every set of features seals")]

use std::sync::Arc;

use annals_journal::{JournalError, Record, RecordChange, RecordKey, Records, Timestamp, Verdict};
use async_trait::async_trait;

/// Records without those of keys: the suite expects to find none.
#[derive(Debug)]
pub(crate) struct Others<R>(pub(crate) Arc<R>);

#[async_trait]
impl<R: Records> Records for Others<R> {
    async fn get(&self, key: &RecordKey) -> Result<Option<Record>, JournalError> {
        self.0.get(key).await
    }

    async fn change(&self, changes: Vec<RecordChange>) -> Vec<Result<Verdict, JournalError>> {
        self.0.change(changes).await
    }

    async fn now(&self) -> Result<Timestamp, JournalError> {
        self.0.now().await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&RecordKey>,
        limit: usize,
    ) -> Result<Vec<(RecordKey, Record)>, JournalError> {
        let all = self.0.list(prefix, after, limit.saturating_add(10_000)).await?;
        let others = all.into_iter().filter(|(key, _)| !key.as_str().starts_with("encryption/"));
        Ok(others.take(limit).collect())
    }
}
