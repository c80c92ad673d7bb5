//! A journal behind keys, for tests.
#![allow(dead_code, clippy::unwrap_used, reason = "a part of each test binary")]

use std::sync::Arc;

use annals_journal::encryption::{DataKeyOptions, DataKeys, Ring, RingKeys, SealedJournal, SealedOptions};
use annals_journal::{Journal, Records};

/// A ring with one key, the same in every process.
pub(crate) fn ring() -> Ring {
    Ring::parse(&format!(r#"{{"active":1,"keys":{{"1":"{}="}}}}"#, "B".repeat(42) + "A")).unwrap()
}

pub(crate) async fn keys(records: Arc<dyn Records>) -> DataKeys {
    DataKeys::open(records, Arc::new(RingKeys::from(ring())), DataKeyOptions::default()).await.unwrap()
}

/// A journal in front of another whose records have the keys.
pub(crate) async fn sealed(inner: Arc<dyn Journal>, records: Arc<dyn Records>) -> SealedJournal {
    SealedJournal::open(inner, keys(records).await, SealedOptions::default()).await.unwrap()
}
