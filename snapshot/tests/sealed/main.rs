//! Snapshots that are sealed: the contract of stores holds, nothing is readable, and nothing can be changed or moved unseen.
#![cfg(feature = "encryption")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod again;
#[cfg(all(feature = "conformance", feature = "cassandra"))]
#[path = "../../../journal/tests/support/cassandra.rs"]
mod cassandra;
#[cfg(feature = "conformance")]
mod conformance;
mod golden;
mod plaintext;
#[cfg(all(feature = "conformance", feature = "postgres"))]
#[path = "../../../journal/tests/support/postgres.rs"]
mod postgres;
#[cfg(feature = "sqlite")]
mod readable;
mod tampering;

use std::sync::Arc;

use annals_journal::encryption::{DataKeyOptions, DataKeys, KeysError, Ring, RingKeys};
use annals_journal::{
    Codec, Epoch, EventDigest, Manifest, MemoryJournal, PersistenceId, Records, SeqNr, Timestamp, Token,
};
use annals_snapshot::{MemorySnapshotStore, SealedSnapshots, Snapshot, SnapshotStore};
use bytes::Bytes;

/// A ring of two keys that is the same in every test.
fn ring(active: u32) -> Ring {
    let keys: Vec<_> =
        (1..=2).map(|number| format!(r#""{number}":"{number}{}A=""#, "B".repeat(41))).collect();
    Ring::parse(&format!(r#"{{"active":{active},"keys":{{{}}}}}"#, keys.join(","))).unwrap()
}

async fn keys(records: Arc<dyn Records>, ring: Ring) -> Result<DataKeys, KeysError> {
    DataKeys::open(records, Arc::new(RingKeys::from(ring)), DataKeyOptions::default()).await
}

fn id(text: &str) -> PersistenceId {
    PersistenceId::parse(text).unwrap()
}

fn nr(number: u64) -> SeqNr {
    SeqNr::new(number).unwrap()
}

fn snapshot(of: &str, number: u64) -> Snapshot {
    Snapshot {
        persistence_id: id(of),
        seq_nr: nr(number),
        token: Token::new(Epoch(7), 3),
        last_event: EventDigest([9; 32]),
        timestamp: Timestamp::from_micros(1_795_421_730_000_001),
        manifest: Manifest::new("account.state").unwrap(),
        schema_version: 2,
        codec: Codec::Json,
        key_id: None,
        payload: Bytes::from(format!(r#"{{"owner":"Alice Liddell","events":{number}}}"#)),
    }
}

/// A store in memory behind keys in memory.
struct Place {
    records: Arc<MemoryJournal>,
    stored: MemorySnapshotStore,
    keys: DataKeys,
    sealed: SealedSnapshots,
}

impl Place {
    async fn new() -> Self {
        let (records, stored) = (Arc::new(MemoryJournal::new()), MemorySnapshotStore::new());
        let keys = keys(records.clone(), ring(1)).await.unwrap();
        let sealed = SealedSnapshots::new(Arc::new(stored.clone()), keys.clone());
        Self { records, stored, keys, sealed }
    }

    /// Saves a snapshot of an id whose events were sealed from the first on.
    async fn save(&self, snapshot: Snapshot) {
        let made = self.keys.to_seal(&[(&snapshot.persistence_id, SeqNr::FIRST)]).await.remove(0);
        assert_eq!(made.unwrap().from_seq(), SeqNr::FIRST);
        self.sealed.save(snapshot).await.unwrap();
    }

    /// A snapshot as it is stored.
    async fn stored(&self, of: &str, number: u64) -> Snapshot {
        let found = self.stored.load(&id(of), nr(number)).await.unwrap().unwrap();
        assert_eq!(found.seq_nr, nr(number));
        found
    }
}
