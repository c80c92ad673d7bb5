use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use annals_journal::encryption::{
    DataKeyOptions, DataKeys, KeyUsage, KeysError, MasterKeyId, MasterKeys as _, RingKeys,
};

use crate::console::{Progress, print, print_json};
use crate::exit::Exit;
use crate::key_sources::OptionalKeyArgs;
use crate::stores::{JournalArgs, Stores};
use crate::table::{Align, Table};

/// Tell which master key is used by how much.
///
/// Needs no key; with --keys it also checks that those which are needed are there, and are the right ones. Only looks: nothing is written.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(flatten)]
    journal: JournalArgs,
    #[command(flatten)]
    keys: OptionalKeyArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

const EXAMPLE: &str = "\
Examples:
  annals keys status --journal sqlite://bank.db
  annals keys status --journal sqlite://bank.db --keys file:ring.json --json

Exit codes: 0 told; 1 a needed master key is missing or wrong, or a record cannot be read; 2 wrong command line; 3 the journal or the keys \
cannot be opened";

pub(crate) async fn run(args: Args) -> anyhow::Result<Exit> {
    let stores = args.journal.open_read_only().await?;
    let told = status(&args, &stores).await;
    stores.close().await;
    told
}

async fn status(args: &Args, stores: &Stores) -> anyhow::Result<Exit> {
    let bar = Progress::towards(None, "ids");
    let shown = AtomicU64::new(0);
    let usage = KeyUsage::read(&*stores.records, |count| {
        bar.add(count.saturating_sub(shown.swap(count, Ordering::Relaxed)));
    })
    .await?;
    drop(bar);
    let here = match args.keys.is_empty() {
        true => None,
        false => Some(args.keys.open_for_reading(&*stores.records).await?),
    };
    let wrong = match &here {
        None => None,
        Some(here) => check(stores, here).await?,
    };
    let here = here.map(|here| here.ids());
    if args.json {
        print_json(&json(&usage, here.as_deref(), wrong.as_deref()))?
    } else {
        text(&usage, here.as_deref(), wrong.as_deref())?
    }
    Ok(if wrong.is_none() && usage.unreadable.is_empty() { Exit::Well } else { Exit::Found })
}

/// What is wrong with the keys that are here.
async fn check(stores: &Stores, here: &RingKeys) -> anyhow::Result<Option<String>> {
    let records = stores.records.clone();
    match DataKeys::open_for_reading(records, Arc::new(here.clone()), DataKeyOptions::default()).await {
        Ok(_) => Ok(None),
        Err(error @ (KeysError::MissingMasterKeys { .. } | KeysError::WrongMasterKey { .. })) => {
            Ok(Some(error.to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

fn text(usage: &KeyUsage, here: Option<&[MasterKeyId]>, wrong: Option<&str>) -> anyhow::Result<()> {
    match usage.active {
        None => print("nothing was ever sealed in this journal")?,
        Some(active) => print(format!("active       master key {active}"))?,
    }
    print(format!("ids          {} with data keys, {} erased", usage.ids, usage.erased))?;
    if usage.scopes + usage.erased_scopes > 0 {
        print(format!(
            "scopes       {} with keys, that wrap those of {} ids, {} erased",
            usage.scopes, usage.in_scopes, usage.erased_scopes
        ))?;
    }
    for process in &usage.processes {
        let keys: Vec<_> = process.master_keys.iter().map(MasterKeyId::to_string).collect();
        print(format!("process      {} has master key {}", process.id, keys.join(", ")))?;
    }
    let mut table = Table::new([
        ("master key", Align::Right),
        ("data keys", Align::Right),
        ("chains", Align::Left),
        ("needed", Align::Left),
        ("here", Align::Left),
    ]);
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    for (id, used) in &usage.master_keys {
        let is_here = here.map_or_else(|| "?".to_owned(), |here| yes(here.contains(id)));
        table.row([
            id.to_string(),
            used.data_keys.to_string(),
            yes(used.chain_key),
            yes(used.in_use),
            is_here,
        ]);
    }
    if !usage.master_keys.is_empty() {
        print("")?;
        table.lines().try_for_each(print)?;
    }
    for name in &usage.unreadable {
        print(format!("unreadable: record {name}"))?;
    }
    wrong.map_or(Ok(()), |wrong| Ok(print(format!("wrong: {wrong}"))?))
}

fn json(usage: &KeyUsage, here: Option<&[MasterKeyId]>, wrong: Option<&str>) -> serde_json::Value {
    let masters: Vec<_> = usage
        .master_keys
        .iter()
        .map(|(id, used)| {
            serde_json::json!({
                "id": id.0, "data_keys": used.data_keys, "chain_key": used.chain_key, "needed": used.in_use,
                "here": here.map(|here| here.contains(id)),
            })
        })
        .collect();
    let processes: Vec<_> = usage
        .processes
        .iter()
        .map(|process| {
            let keys: Vec<_> = process.master_keys.iter().map(|id| id.0).collect();
            serde_json::json!({
                "id": process.id.to_string(), "until": process.until.to_string(), "master_keys": keys,
            })
        })
        .collect();
    let unreadable: Vec<_> = usage.unreadable.iter().map(|name| name.as_str()).collect();
    serde_json::json!({
        "active": usage.active.map(|id| id.0), "ids": usage.ids, "erased": usage.erased, "scopes": usage.scopes,
        "in_scopes": usage.in_scopes, "erased_scopes": usage.erased_scopes, "master_keys": masters,
        "processes": processes, "unreadable": unreadable, "wrong": wrong,
    })
}
