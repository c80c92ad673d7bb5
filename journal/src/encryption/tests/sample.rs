use std::sync::Arc;

use crate::encryption::key_store::KeyStore;
use crate::encryption::{DataKey, DataKeyOptions, DataKeys, KeysError, MasterKeyId, Ring, RingKeys};
use crate::{JournalError, KeyId, PersistenceId, Records, SeqNr};

pub(super) fn id(entity: &str) -> PersistenceId {
    PersistenceId::new("account", entity).unwrap()
}

/// A ring with these of two keys; what a number stands for is the same in all of them.
pub(super) fn ring(active: u32, numbers: &[u32]) -> Ring {
    let keys: Vec<_> =
        numbers.iter().map(|number| format!(r#""{number}":"{}{}A=""#, number, "B".repeat(41))).collect();
    Ring::parse(&format!(r#"{{"active":{active},"keys":{{{}}}}}"#, keys.join(","))).unwrap()
}

pub(super) async fn keys(records: Arc<dyn Records>, ring: Ring) -> Result<DataKeys, KeysError> {
    DataKeys::open(records, Arc::new(RingKeys::from(ring)), DataKeyOptions::default()).await
}

pub(super) async fn to_seal(
    keys: &DataKeys,
    id: &PersistenceId,
    seq_nr: u64,
) -> Result<Arc<DataKey>, JournalError> {
    keys.to_seal(&[(id, SeqNr::new(seq_nr).unwrap())]).await.remove(0)
}

pub(super) async fn to_open(
    keys: &DataKeys,
    id: &PersistenceId,
    key: u32,
) -> Result<Arc<DataKey>, JournalError> {
    keys.to_open(&[(id, KeyId(key))]).await.remove(0)
}

/// Whether one opens what the other seals.
pub(super) fn same(one: &DataKey, other: &DataKey) -> bool {
    let mut text = *b"deposited 100";
    let seal = one.seal(b"context", &mut text).unwrap();
    one.id() == other.id() && other.open(&seal, b"context", &mut text).is_ok()
}

/// Another process that makes master key 2 the active one.
pub(super) async fn activate_second(records: Arc<dyn Records>) {
    let store = KeyStore::new(records, Arc::new(RingKeys::from(ring(2, &[1, 2]))));
    let before = store.active().await.unwrap().unwrap();
    store.activate(Some(before), MasterKeyId(2)).await.unwrap().unwrap();
}
