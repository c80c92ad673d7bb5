use std::path::Path;
use std::sync::Arc;

use annals_journal::encryption::{DataKeyOptions, DataKeys, KeySource, RingKeys};
use annals_journal::{JournalUrl, KeyId, PersistenceId, SeqNr};

/// A journal with data keys for so many accounts, made by an application that has ended.
pub(crate) fn keyed(directory: &Path, source: &str, accounts: usize) {
    with_keys(directory, source, async |keys, _| {
        let ids = ids(accounts);
        let wanted: Vec<_> = ids.iter().map(|id| (id, SeqNr::FIRST)).collect();
        for key in keys.to_seal(&wanted).await {
            key.unwrap();
        }
        keys.chain_key().await.unwrap();
        keys.close().await;
    });
}

/// Every account's key opens with what is in this source.
pub(crate) fn all_open(directory: &Path, source: &str, accounts: usize) {
    with_keys(directory, source, async |keys, _| {
        let ids = ids(accounts);
        let wanted: Vec<_> = ids.iter().map(|id| (id, KeyId(1))).collect();
        for key in keys.to_open(&wanted).await {
            key.unwrap();
        }
        keys.close().await;
    });
}

/// Runs something as an application does that has the journal and its keys open.
pub(crate) fn with_keys(directory: &Path, source: &str, run: impl AsyncFnOnce(DataKeys, RingKeys)) {
    let url: JournalUrl = format!("sqlite://{}", directory.join("bank.db").display()).parse().unwrap();
    let source: KeySource = match source.strip_prefix("file:") {
        Some(name) => KeySource::File(directory.join(name)),
        None => source.parse().unwrap(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let opened = url.open().await.unwrap();
        let masters = RingKeys::open(&[source], &*opened.records).await.unwrap();
        let (records, options) = (opened.records.clone(), DataKeyOptions::default());
        let keys = DataKeys::open(records, Arc::new(masters.clone()), options).await.unwrap();
        run(keys, masters).await;
        opened.database.unwrap().close().await;
    });
}

fn ids(accounts: usize) -> Vec<PersistenceId> {
    (0..accounts).map(|n| PersistenceId::new("account", &format!("{n}")).unwrap()).collect()
}
