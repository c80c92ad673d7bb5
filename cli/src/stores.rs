use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use annals_journal::encryption::{DataKeyOptions, DataKeys, KeyState, SealedJournal, SealedOptions};
use annals_journal::sqlite::Database;
use annals_journal::{Journal, JournalUrl, OpenJournal, Records, is_encrypted};
use annals_journal::{cassandra, postgres};
use annals_snapshot::{SealedSnapshots, SnapshotStore, open_beside};
use anyhow::{Context as _, bail};

use crate::key_sources::{NewKeyArgs, OptionalKeyArgs};

/// Which journal, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub(crate) struct JournalArgs {
    /// The journal: sqlite://PATH, postgres://HOST/DATABASE or cassandra://HOST/KEYSPACE
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

/// Which journal, and what opens what is sealed in it.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub(crate) struct KeyedJournalArgs {
    #[command(flatten)]
    journal: JournalArgs,
    #[command(flatten)]
    keys: OptionalKeyArgs,
}

impl KeyedJournalArgs {
    pub(crate) fn new(journal: JournalArgs, keys: OptionalKeyArgs) -> Self {
        Self { journal, keys }
    }

    pub(crate) fn url(&self) -> &JournalUrl {
        &self.journal.journal
    }

    /// Opens what is there, to look at it: nothing is created or changed, nobody is registered, no key is made. Without keys what is sealed
    /// stays as it is stored.
    pub(crate) async fn open_read_only(&self) -> anyhow::Result<Stores> {
        let stores = self.journal.open_read_only().await?;
        // Keys that the environment names are none of the business of a journal that has none.
        if self.keys.is_empty() || !is_encrypted(&*stores.records).await? {
            return Ok(stores);
        }
        let read = async |stores: Stores| {
            let masters = Arc::new(self.keys.open_for_reading(&*stores.records).await.context("--keys")?);
            let keys = DataKeys::open_for_reading(stores.records.clone(), masters, data_keys());
            let keys = keys.await.context("--keys")?;
            stores.behind(keys).await
        };
        let built = read(stores.clone()).await;
        stores.or_close(built).await
    }

    /// Opens what is there, to look at all of it: a sealed one needs keys.
    pub(crate) async fn open_read_only_whole(&self) -> anyhow::Result<Stores> {
        let stores = self.open_read_only().await?;
        if stores.sealed.is_none() && is_encrypted(&*stores.records).await? {
            stores.close().await;
            bail!("--journal {}: it is encrypted: {GIVE_KEYS}", self.url());
        }
        Ok(stores)
    }

    /// Opens what is there, to change it and leave it sealed or plain as it is; a journal that is not there is not made.
    pub(crate) async fn open_whole(&self) -> anyhow::Result<Stores> {
        let looked = self.open_read_only_whole().await?;
        let is_sealed = looked.sealed.is_some();
        looked.close().await;
        if is_sealed { self.open().await } else { self.journal.open().await }
    }

    /// The words of a command line that say the same.
    pub(crate) fn words(&self) -> Vec<OsString> {
        let mut words = vec!["--journal".into(), self.url().to_string().into()];
        words.extend(self.keys.words());
        words
    }

    /// Opens what is there, to check it: keys that are missing or wrong are answered, and what can be checked without them still is.
    pub(crate) async fn open_to_check(&self) -> anyhow::Result<(Stores, Vec<String>)> {
        let stores = self.journal.open_read_only().await?;
        let has_keys = is_encrypted(&*stores.records).await.unwrap_or(true)
            || !KeyState::list(&*stores.records, None, 1).await?.is_empty();
        if self.keys.is_empty() || !has_keys {
            return Ok((stores, Vec::new()));
        }
        let masters = Arc::new(self.keys.open_for_reading(&*stores.records).await.context("--keys")?);
        let keys = DataKeys::open_partly(stores.records.clone(), masters, data_keys());
        let (keys, lacks) = keys.await.context("--keys")?;
        let mut lacks: Vec<String> = lacks.iter().map(ToString::to_string).collect();
        match stores.clone().behind(keys).await {
            Ok(sealed) => Ok((sealed, lacks)),
            Err(error) => {
                lacks.push(format!("{error:#}; no seal and no chain can be checked"));
                Ok((stores, lacks))
            }
        }
    }

    /// Opens it, or creates it, to write. With keys what is written is sealed, also where nothing was before.
    pub(crate) async fn open(&self) -> anyhow::Result<Stores> {
        self.open_making(&NewKeyArgs::default()).await
    }

    /// The same, and makes keys as is said.
    pub(crate) async fn open_making(&self, new: &NewKeyArgs) -> anyhow::Result<Stores> {
        if self.keys.is_empty() && new.is_given() {
            bail!("--into-scope: only what is sealed belongs to a scope: {GIVE_KEYS}");
        }
        let stores = self.journal.open().await?;
        if self.keys.is_empty() {
            return Ok(stores);
        }
        let open = async |stores: Stores| {
            let masters = Arc::new(self.keys.open(&*stores.records).await.context("--keys")?);
            let options = new.within(data_keys());
            let keys = DataKeys::open(stores.records.clone(), masters, options).await.context("--keys")?;
            stores.behind(keys).await
        };
        let built = open(stores.clone()).await;
        stores.or_close(built).await
    }
}

/// Each id is worked on once, and nobody shall wait long for a process that was killed.
pub(crate) fn data_keys() -> DataKeyOptions {
    DataKeyOptions { cached_ids: KNOWN_IDS, lease: LEASE, ..DataKeyOptions::default() }
}

/// The remedy where something is sealed.
pub(crate) const GIVE_KEYS: &str = "give the journal's keys, such as --keys file:ring.json";

const KNOWN_IDS: usize = 4_096;
const LEASE: Duration = Duration::from_secs(6);

/// What is behind a URL.
#[derive(Debug, Clone)]
pub(crate) struct Stores {
    /// Through the keys, when there are any.
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) records: Arc<dyn Records>,
    /// Through the keys, when there are any.
    pub(crate) snapshots: Arc<dyn SnapshotStore>,
    stored: (Arc<dyn Journal>, Arc<dyn SnapshotStore>),
    sealed: Option<SealedJournal>,
    database: Option<Database>,
    postgres: Option<postgres::Database>,
    cassandra: Option<cassandra::Keyspace>,
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
        let OpenJournal { journal, records, database, postgres, cassandra, .. } = opened;
        let stored = (journal.clone(), snapshots.clone());
        Ok(Self { journal, records, snapshots, stored, sealed: None, database, postgres, cassandra })
    }

    /// Closes them when what was built on them failed: a process that ends under an open SQLite file leaves an empty log beside it.
    async fn or_close(self, built: anyhow::Result<Self>) -> anyhow::Result<Self> {
        if built.is_err() {
            self.close().await;
        }
        built
    }

    /// The same through these keys; they are closed with it.
    pub(crate) async fn behind(self, keys: DataKeys) -> anyhow::Result<Self> {
        let options = SealedOptions { known_ids: KNOWN_IDS, ..SealedOptions::default() };
        let (journal, snapshots) = self.stored.clone();
        let snapshots = Arc::new(SealedSnapshots::new(snapshots, keys.clone()));
        let sealed = match SealedJournal::open(journal, keys.clone(), options).await {
            Ok(sealed) => sealed,
            Err(error) => {
                keys.close().await;
                return Err(error).context("--keys");
            }
        };
        Ok(Self { journal: Arc::new(sealed.clone()), snapshots, sealed: Some(sealed), ..self })
    }

    /// The journal as it is stored: sealed events are sealed.
    pub(crate) fn stored_journal(&self) -> &Arc<dyn Journal> {
        &self.stored.0
    }

    /// Snapshots as they are stored.
    pub(crate) fn stored_snapshots(&self) -> &Arc<dyn SnapshotStore> {
        &self.stored.1
    }

    /// The journal behind keys, when there are any.
    pub(crate) fn sealed(&self) -> Option<&SealedJournal> {
        self.sealed.as_ref()
    }

    /// The SQLite file, when they are in one.
    pub(crate) fn database(&self) -> Option<&Database> {
        self.database.as_ref()
    }

    /// Ends the registration of keys, and closes files, so that nothing is left beside them.
    pub(crate) async fn close(self) {
        if let Some(sealed) = &self.sealed {
            sealed.keys().close().await;
        }
        if let Some(database) = &self.database {
            database.close().await;
        }
        if let Some(database) = &self.postgres {
            database.close().await;
        }
        if let Some(keyspace) = &self.cassandra {
            keyspace.close().await;
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
