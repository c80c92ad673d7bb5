//! The sealed form: what was stored once is opened for ever, by each cipher.

use std::path::PathBuf;

use annals_journal::{RecordChange, RecordKey, Verdict};

use super::*;

/// The records of the keys that the golden snapshot needs, as they were stored.
const RECORDS: [&str; 3] = ["encryption/active", "encryption/master/1", "encryption/key/account|alice"];

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/sealed").join(name)
}

fn file_of(record: &str) -> PathBuf {
    golden(&format!("{}.record", record.replace(['/', '|'], "-")))
}

async fn write() {
    let place = Place::new().await;
    place.save(snapshot("account|alice", 5)).await;
    std::fs::create_dir_all(golden("")).unwrap();
    std::fs::write(golden("state-1.snapshot"), place.stored("account|alice", 5).await.encode()).unwrap();
    for name in RECORDS {
        let record = place.records.get(&RecordKey::new(name).unwrap()).await.unwrap().unwrap();
        std::fs::write(file_of(name), record.value).unwrap();
    }
}

#[tokio::test]
async fn what_was_sealed_once_is_opened() {
    if std::env::var_os("ANNALS_WRITE_GOLDEN").is_some() && !golden("state-1.snapshot").exists() {
        write().await;
    }
    let records = Arc::new(MemoryJournal::new());
    for name in RECORDS {
        let value = std::fs::read(file_of(name)).unwrap().into();
        let change = RecordChange::set(RecordKey::new(name).unwrap(), None, value);
        let verdict = records.change(vec![change]).await.remove(0);
        assert!(matches!(verdict, Ok(Verdict::Set(_))), "{verdict:?}");
    }
    let stored = Bytes::from(std::fs::read(golden("state-1.snapshot")).unwrap());
    let stored = Snapshot::decode(&stored).unwrap();
    // format, nonce, ciphertext as long as the state, tag
    let plain = snapshot("account|alice", 5);
    assert_eq!((stored.payload[0], stored.payload.len()), (1, 1 + 12 + plain.payload.len() + 16));
    let inner = MemorySnapshotStore::new();
    inner.save(stored).await.unwrap();
    let sealed = SealedSnapshots::new(Arc::new(inner), keys(records, ring(1)).await.unwrap());
    assert_eq!(sealed.load(&id("account|alice"), SeqNr::MAX).await.unwrap(), Some(plain));
}
