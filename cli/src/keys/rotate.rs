use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use annals_journal::encryption::{
    DataKeyOptions, DataKeys, KeyUsage, MasterKeyId, RotationOptions, RotationSummary,
};

use anyhow::bail;

use crate::console::{Progress, print, print_json};
use crate::exit::Exit;
use crate::key_sources::KeyArgs;
use crate::stores::{JournalArgs, Stores};

/// Move a journal to the active key of a ring, and rewrap every data key under it.
///
/// Applications go on meanwhile; events and snapshots are not touched. It begins only when every application that runs on the journal has the
/// new key: they read their ring every few seconds. One that was killed at any moment is started again, and goes on. Afterwards it says
/// which master keys nothing needs any more.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(flatten)]
    journal: JournalArgs,
    #[command(flatten)]
    keys: KeyArgs,
    /// Begin also when a running application has not announced the new key; it must get it, or it makes no new ids any more
    #[arg(long)]
    force: bool,
    /// At most so many data keys a second
    #[arg(long, value_name = "N")]
    rate: Option<NonZeroU32>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

const EXAMPLE: &str = "\
Examples:
  annals keys generate ring.json                                          adds a key; give the ring to every application
  annals keys rotate --journal sqlite://bank.db --keys file:ring.json     moves to it
  annals keys rotate --journal sqlite://bank.db --keys file:ring.json --keys passphrase:env:OLD
                                                                          from a passphrase to a ring

Exit codes: 0 every data key is under the active key; 1 some could not be rewrapped: they are named; 2 wrong command line; 3 it could not \
be done, or not to its end: start it again";

pub(crate) async fn run(args: Args) -> anyhow::Result<Exit> {
    let stores = args.journal.open_existing().await?;
    let done = rotate(&args, &stores).await;
    stores.close().await;
    done
}

async fn rotate(args: &Args, stores: &Stores) -> anyhow::Result<Exit> {
    if KeyUsage::active(&*stores.records).await?.is_none() {
        bail!("nothing was ever sealed in this journal: there are no data keys to rotate");
    }
    let masters = Arc::new(args.keys.open(&*stores.records).await?);
    // Nobody shall wait long for a rotation that was killed.
    let ours = DataKeyOptions { lease: LEASE, ..DataKeyOptions::default() };
    let keys = DataKeys::open(stores.records.clone(), masters, ours).await?;
    let options = RotationOptions { force: args.force, rate: args.rate, ..RotationOptions::default() };
    let total = KeyUsage::count_scopes(&*stores.records).await?;
    let bar = Progress::towards(Some(total), "ids");
    let shown = AtomicU64::new(0);
    let rotated = keys
        .rotate(&options, |now| {
            let before = shown.swap(now.scopes, Ordering::Relaxed);
            bar.add(now.scopes.saturating_sub(before));
        })
        .await;
    keys.close().await;
    drop(bar);
    let summary = rotated?;
    if args.json {
        print_json(&json(&summary))?
    } else {
        text(&summary)?
    }
    Ok(if summary.total.failed == 0 { Exit::Well } else { Exit::Found })
}

const LEASE: Duration = Duration::from_secs(6);

fn text(summary: &RotationSummary) -> anyhow::Result<()> {
    if let Some(from) = summary.moved_from {
        print(format!("moved from master key {from} to {}", summary.to))?;
    }
    let total = summary.total;
    print(format!(
        "{} data keys rewrapped under master key {}, those of {} ids looked at, {} failed",
        total.rewrapped, summary.to, total.scopes, total.failed
    ))?;
    for failure in &summary.failures {
        print(format!("failed: {}: {}", failure.record, failure.error))?;
    }
    if !summary.unused.is_empty() {
        print(format!(
            "no longer used by anything: master key {}; remove it from every ring, and keep a copy as long as a backup of this journal",
            list(&summary.unused)
        ))?;
    }
    if !summary.still_used.is_empty() {
        print(format!("may still be used: master key {}", list(&summary.still_used)))?;
    }
    Ok(())
}

fn json(summary: &RotationSummary) -> serde_json::Value {
    let numbers = |ids: &[MasterKeyId]| ids.iter().map(|id| id.0).collect::<Vec<_>>();
    let failures: Vec<_> = summary
        .failures
        .iter()
        .map(|failure| {
            serde_json::json!({"record": failure.record.as_str(), "what": failure.error.to_string()})
        })
        .collect();
    serde_json::json!({
        "active": summary.to.0, "moved_from": summary.moved_from.map(|id| id.0), "scopes": summary.total.scopes,
        "rewrapped": summary.total.rewrapped, "failed": summary.total.failed, "failures": failures,
        "unused": numbers(&summary.unused), "still_used": numbers(&summary.still_used),
    })
}

fn list(ids: &[MasterKeyId]) -> String {
    ids.iter().map(MasterKeyId::to_string).collect::<Vec<_>>().join(", ")
}
