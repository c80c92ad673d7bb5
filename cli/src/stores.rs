use std::sync::Arc;

use annals_journal::sqlite::Database;
use annals_journal::{Journal, JournalUrl, OpenJournal, Records};
use annals_snapshot::{SnapshotStore, open_beside};
use anyhow::Context as _;

/// Which journal.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct JournalArgs {
    /// The journal: sqlite://PATH
    #[arg(long, value_name = "URL", env = "ANNALS_JOURNAL", value_parser = url)]
    pub(crate) journal: JournalUrl,
}

impl JournalArgs {
    /// Opens what is there, to look at it: nothing is created or changed.
    pub(crate) async fn open_read_only(&self) -> anyhow::Result<Stores> {
        Stores::open_read_only(&self.journal, "--journal").await
    }

    /// Opens what is there, to change it; a journal that is not there is not made.
    pub(crate) async fn open_existing(&self) -> anyhow::Result<Stores> {
        self.open_read_only().await?.close().await;
        self.open().await
    }

    /// Opens it, or creates it.
    pub(crate) async fn open(&self) -> anyhow::Result<Stores> {
        Stores::open(&self.journal, "--journal").await
    }
}

/// What is behind a URL.
#[derive(Debug, Clone)]
pub(crate) struct Stores {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) records: Arc<dyn Records>,
    pub(crate) snapshots: Arc<dyn SnapshotStore>,
    database: Option<Database>,
}

impl Stores {
    /// Opens what is there, to look at it; `argument` is how the command line calls it.
    pub(crate) async fn open_read_only(url: &JournalUrl, argument: &str) -> anyhow::Result<Self> {
        let place = || format!("{argument} {url}");
        Self::beside(url.open_read_only().await.with_context(place)?).await.with_context(place)
    }

    /// Opens it, or creates it.
    pub(crate) async fn open(url: &JournalUrl, argument: &str) -> anyhow::Result<Self> {
        let place = || format!("{argument} {url}");
        Self::beside(url.open().await.with_context(place)?).await.with_context(place)
    }

    async fn beside(opened: OpenJournal) -> anyhow::Result<Self> {
        let snapshots = open_beside(&opened).await?;
        let OpenJournal { journal, records, database, .. } = opened;
        Ok(Self { journal, records, snapshots, database })
    }

    /// The SQLite file, when they are in one.
    pub(crate) fn database(&self) -> Option<&Database> {
        self.database.as_ref()
    }

    /// Closes files, so that nothing is left beside them.
    pub(crate) async fn close(self) {
        if let Some(database) = &self.database {
            database.close().await;
        }
    }
}

pub(crate) fn url(text: &str) -> Result<JournalUrl, String> {
    let url: JournalUrl = text.parse().map_err(|error| format!("{error}"))?;
    if url.is_memory() {
        return Err("a journal in memory is seen by its own process alone; name one on disk, such as sqlite://bank.db".into());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_in_memory_is_of_no_use_here() {
        assert!(url("memory:").unwrap_err().contains("sqlite://"));
        assert!(url("sqlite://bank.db").is_ok());
        assert!(url("bank.db").unwrap_err().contains("sqlite://PATH"));
    }
}
