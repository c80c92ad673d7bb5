use std::sync::Arc;

use annals_journal::{Journal, JournalError, PersistenceId};
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};

/// Which ids a command works on.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Selection {
    /// Only these ids, such as 'account|alice'
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<PersistenceId>,
    /// Only ids that begin so, such as 'account|'; may be given several times
    #[arg(long, value_name = "TEXT", conflicts_with = "ids")]
    pub(crate) prefix: Vec<String>,
}

impl Selection {
    pub(crate) fn wants(&self, id: &PersistenceId) -> bool {
        self.prefix.is_empty() || self.prefix.iter().any(|prefix| id.as_str().starts_with(prefix))
    }

    /// The ids in their order; those that were named must be there.
    pub(crate) async fn check(&self, journal: &dyn Journal) -> anyhow::Result<()> {
        for id in &self.ids {
            if !is_known(journal, id).await? {
                anyhow::bail!("{}", unknown(id));
            }
        }
        Ok(())
    }

    /// The ids in the order of their text. The list ends with its first error.
    pub(crate) fn stream(
        &self,
        journal: Arc<dyn Journal>,
    ) -> BoxStream<'static, Result<PersistenceId, JournalError>> {
        let mut named = self.ids.clone();
        named.sort();
        named.dedup();
        let all = self.ids.is_empty();
        let wanted = self.clone();
        let listed = stream::try_unfold(all.then_some(None), move |after| {
            let journal = journal.clone();
            async move {
                let Some(after) = after else { return Ok::<_, JournalError>(None) };
                let ids = journal.persistence_ids(after.as_ref(), IDS_A_PAGE).await?;
                let next = (ids.len() == IDS_A_PAGE).then(|| ids.last().cloned());
                Ok(Some((stream::iter(ids.into_iter().map(Ok::<_, JournalError>)), next)))
            }
        })
        .try_flatten()
        .try_filter(move |id| std::future::ready(wanted.wants(id)));
        stream::iter(named.into_iter().map(Ok)).chain(listed).boxed()
    }

    /// How many there are.
    pub(crate) async fn count(&self, journal: &Arc<dyn Journal>) -> Result<u64, JournalError> {
        if !self.ids.is_empty() {
            return Ok(self.ids.len() as u64);
        }
        self.stream(journal.clone()).try_fold(0, |count, _| std::future::ready(Ok(count + 1))).await
    }
}

/// Whether somebody has ever claimed or written an id.
pub(crate) async fn is_known(journal: &dyn Journal, id: &PersistenceId) -> Result<bool, JournalError> {
    Ok(journal.head(id).await? != annals_journal::Head::EMPTY)
}

pub(crate) fn unknown(id: &PersistenceId) -> String {
    format!("the journal has no {id}; `annals inspect --ids` lists the ids that it has")
}

/// How many ids are worked on at a time, unless somebody says otherwise.
pub(crate) fn at_a_time() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// A few thousand bytes of ids at a time.
const IDS_A_PAGE: usize = 256;
