//! What `keys rekey` and `keys encrypt` have in common.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use annals_journal::PersistenceId;
use annals_journal::encryption::{
    DataKeyOptions, DataKeys, KeyScope, ResealOptions, ResealProgress, ResealSummary, ResealedIds,
    SealedJournal, SealedOptions,
};
use annals_snapshot::SealedSnapshots;
use anyhow::bail;

use crate::console::{Progress, print, print_json};
use crate::exit::Exit;
use crate::ids::{is_known, unknown};
use crate::key_sources::{KeyArgs, NewKeyArgs};
use crate::stores::{JournalArgs, Stores};

#[derive(Debug, Clone, clap::Args)]
pub(super) struct RunArgs {
    /// At most so many events and snapshots a second
    #[arg(long, value_name = "N")]
    rate: Option<NonZeroU32>,
    /// Of so many ids at once
    #[arg(long, value_name = "N", default_value_t = ResealOptions::default().parallel)]
    parallel: usize,
    /// Write the SQLite file anew at the end, so that nothing of before is left in it; who writes waits as long as that takes
    #[arg(long)]
    vacuum: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// Which ids; one of the four, so that nobody reseals a journal by leaving something out.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct IdArgs {
    /// These ids, such as 'account|alice'
    #[arg(value_name = "ID")]
    ids: Vec<PersistenceId>,
    /// Ids that begin so, such as 'account|'
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    /// Ids of this scope that have data keys, such as those of a tenant
    #[arg(long, value_name = "NAME")]
    scope: Option<KeyScope>,
    /// All ids
    #[arg(long)]
    all: bool,
}

impl IdArgs {
    pub(super) fn ids(self) -> ResealedIds {
        match (self.prefix, self.scope) {
            (Some(prefix), _) => ResealedIds::Prefix(prefix),
            (None, Some(scope)) => ResealedIds::Scope(scope),
            (None, None) if self.all => ResealedIds::All,
            (None, None) => ResealedIds::These(self.ids),
        }
    }
}

/// A journal behind keys, and how to go about it.
pub(super) struct Run {
    pub(super) journal: SealedJournal,
    pub(super) snapshots: Arc<SealedSnapshots>,
    pub(super) args: RunArgs,
    stores: Stores,
}

impl Run {
    pub(super) async fn open(
        journal: &JournalArgs,
        keys: &KeyArgs,
        new: &NewKeyArgs,
        args: RunArgs,
    ) -> anyhow::Result<Self> {
        let stores = journal.open_existing().await?;
        match Self::behind_keys(&stores, keys, new, args).await {
            Ok(run) => Ok(run),
            Err(error) => {
                stores.close().await;
                Err(error)
            }
        }
    }

    async fn behind_keys(
        stores: &Stores,
        keys: &KeyArgs,
        new: &NewKeyArgs,
        args: RunArgs,
    ) -> anyhow::Result<Self> {
        let masters = Arc::new(keys.open(&*stores.records).await?);
        // Nobody shall wait long for one that was killed.
        let ours = new.within(DataKeyOptions { lease: LEASE, ..DataKeyOptions::default() });
        let keys = DataKeys::open(stores.records.clone(), masters, ours).await?;
        let journal =
            SealedJournal::open(stores.journal.clone(), keys.clone(), SealedOptions::default()).await?;
        let snapshots = Arc::new(SealedSnapshots::new(stores.snapshots.clone(), keys));
        Ok(Self { journal, snapshots, args, stores: stores.clone() })
    }

    pub(super) async fn close(self) {
        self.journal.keys().close().await;
        self.stores.close().await;
    }

    /// Ids that were named must be there.
    pub(super) async fn must_be_there(&self, ids: &ResealedIds) -> anyhow::Result<()> {
        let ResealedIds::These(ids) = ids else { return Ok(()) };
        for id in ids {
            if !is_known(&*self.stores.journal, id).await? {
                bail!("{}", unknown(id));
            }
        }
        Ok(())
    }

    pub(super) fn options(&self) -> ResealOptions {
        ResealOptions { rate: self.args.rate, parallel: self.args.parallel }
    }

    pub(super) fn progress(&self, ids: &ResealedIds) -> Shown {
        let total = match ids {
            ResealedIds::These(ids) => Some(ids.len() as u64),
            ResealedIds::Prefix(_) | ResealedIds::Scope(_) | ResealedIds::All => None,
        };
        Shown { bar: Progress::towards(total, "ids"), ids: AtomicU64::new(0) }
    }

    /// Leaves nothing of before in the file, if that was asked for and everything is done; answers whether it did.
    pub(super) async fn vacuum(&self, summary: &ResealSummary) -> anyhow::Result<bool> {
        match self.stores.database() {
            Some(database) if self.args.vacuum && summary.total.failed == 0 => {
                database.scrub().await?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    pub(super) fn text(&self, summary: &ResealSummary, vacuumed: bool, what: &str) -> anyhow::Result<Exit> {
        for failure in &summary.failures {
            print(format!("failed: {}: {}", failure.persistence_id, failure.error))?;
        }
        if vacuumed {
            print("the file was written anew, and its write-ahead log is empty")?;
        } else if self.stores.database().is_some() && summary.total.failed == 0 {
            print(format!(
                "{what} may still be in free pages and in the write-ahead log of the file: run it again with --vacuum when those who write may wait"
            ))?;
        }
        Ok(exit(summary))
    }

    pub(super) fn json(
        &self,
        summary: &ResealSummary,
        more: &[(&str, serde_json::Value)],
        vacuumed: bool,
    ) -> anyhow::Result<Exit> {
        let total = summary.total;
        let failures: Vec<_> = summary
            .failures
            .iter()
            .map(|failure| {
                serde_json::json!({"id": failure.persistence_id.as_str(), "what": failure.error.to_string()})
            })
            .collect();
        let mut line = serde_json::json!({
            "ids": total.ids, "changed": total.changed, "events": total.events, "snapshots": total.states,
            "failed": total.failed, "failures": failures, "vacuumed": vacuumed,
        });
        for (name, value) in more {
            line[*name] = value.clone();
        }
        print_json(&line)?;
        Ok(exit(summary))
    }
}

fn exit(summary: &ResealSummary) -> Exit {
    if summary.total.failed == 0 { Exit::Well } else { Exit::Found }
}

/// A bar that knows what it has shown.
pub(super) struct Shown {
    bar: Progress,
    ids: AtomicU64,
}

impl Shown {
    pub(super) fn say(&self, line: &str) {
        self.bar.say(line);
    }

    pub(super) fn shows(&self, now: ResealProgress) {
        let before = self.ids.fetch_max(now.ids, Ordering::Relaxed);
        self.bar.add(now.ids.saturating_sub(before));
    }
}

const LEASE: Duration = Duration::from_secs(6);
