//! Master keys that a service keeps to itself, asked over HTTP: what an application writes (`kms_keys.rs`), against a service that is made up
//! (`service.rs`).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kms_keys;
mod service;

use std::sync::Arc;

use annals_journal::encryption::{
    DataKey, DataKeyOptions, DataKeys, KeyUsage, KeysError, MasterKeyId, RotationOptions,
};
use annals_journal::{JournalError, KeyId, MemoryJournal, PersistenceId, SeqNr};

use crate::kms_keys::KmsKeys;
use crate::service::Service;

async fn keys(service: &Service, records: &Arc<MemoryJournal>) -> Result<DataKeys, KeysError> {
    let masters = Arc::new(KmsKeys::connect(service.address()).await?);
    DataKeys::open(records.clone(), masters, DataKeyOptions::default()).await
}

fn ids() -> Vec<PersistenceId> {
    (0..100).map(|n| PersistenceId::new("account", &n.to_string()).unwrap()).collect()
}

async fn make(keys: &DataKeys, ids: &[PersistenceId]) -> Vec<Arc<DataKey>> {
    let wanted: Vec<_> = ids.iter().map(|id| (id, SeqNr::FIRST)).collect();
    keys.to_seal(&wanted).await.into_iter().map(Result::unwrap).collect()
}

async fn open(keys: &DataKeys, ids: &[PersistenceId]) -> Vec<Result<Arc<DataKey>, JournalError>> {
    let wanted: Vec<_> = ids.iter().map(|id| (id, KeyId(1))).collect();
    keys.to_open(&wanted).await
}

/// Whether one opens what the other seals.
fn same(one: &DataKey, other: &DataKey) -> bool {
    let mut text = *b"deposited 100";
    let seal = one.seal(b"", &mut text).unwrap();
    other.open(&seal, b"", &mut text).is_ok()
}

#[tokio::test]
async fn keys_are_wrapped_and_opened_by_the_service_and_then_kept() {
    let (service, records, ids) = (Service::start().await, Arc::new(MemoryJournal::new()), ids());
    let ours = keys(&service, &records).await.unwrap();
    let made = make(&ours, &ids).await;
    let theirs = keys(&service, &records).await.unwrap();
    for (ours, theirs) in made.iter().zip(open(&theirs, &ids).await) {
        assert!(same(ours, &theirs.unwrap()));
    }
    let asked = service.asked();
    make(&ours, &ids).await;
    open(&theirs, &ids).await;
    assert_eq!(service.asked(), asked, "what is in memory needs no service");
}

#[tokio::test]
async fn a_rotation_moves_to_a_new_key_of_the_service() {
    let (service, records, ids) = (Service::start().await, Arc::new(MemoryJournal::new()), ids());
    let ours = keys(&service, &records).await.unwrap();
    let made = make(&ours, &ids).await;
    let chain = ours.chain_key().await.unwrap();
    service.add_key();
    let summary = ours.rotate(&RotationOptions::default(), |_| ()).await.unwrap();
    assert_eq!((summary.to, summary.total.rewrapped, summary.total.failed), (MasterKeyId(2), 100, 0));
    assert_eq!(summary.unused, [MasterKeyId(1)]);
    service.disable(MasterKeyId(1));
    let later = keys(&service, &records).await.unwrap();
    for (before, after) in made.iter().zip(open(&later, &ids).await) {
        assert!(same(before, &after.unwrap()));
    }
    assert_eq!(later.chain_key().await.unwrap(), chain);
    let usage = KeyUsage::read(&*records, |_| ()).await.unwrap();
    assert_eq!(usage.master_keys[&MasterKeyId(2)].data_keys, 100);
}

#[tokio::test]
async fn a_service_that_is_down_or_misses_a_key_is_told_from_a_journal_that_was_changed() {
    let (service, records, ids) = (Service::start().await, Arc::new(MemoryJournal::new()), ids());
    let ours = keys(&service, &records).await.unwrap();
    make(&ours, &ids).await;
    service.fail(true);
    open(&ours, &ids[..1]).await.remove(0).unwrap();
    ours.forget(&ids[0]);
    let error = open(&ours, &ids[..1]).await.remove(0).unwrap_err();
    assert!(matches!(error, JournalError::Unavailable { .. }), "{error}");
    assert!(keys(&service, &records).await.is_err());
    service.fail(false);
    open(&ours, &ids[..1]).await.remove(0).unwrap();

    service.disable(MasterKeyId(1));
    ours.forget(&ids[0]);
    let error = open(&ours, &ids[..1]).await.remove(0).unwrap_err();
    assert!(
        matches!(&error, JournalError::Key { .. }) && error.to_string().contains("master key 1"),
        "{error}"
    );
    let refused = keys(&service, &records).await.unwrap_err();
    assert!(matches!(refused, KeysError::MissingMasterKeys { .. }), "{refused}");
}
