//! What a saved snapshot is when it comes back.

use annals_journal::{Codec, Epoch, EventDigest, KeyId, Manifest, SeqNr, Timestamp, Token};
use bytes::Bytes;

use super::Backend;
use super::sample::{FIVE, delete, five, id, list, load, nr, save, snapshot};
use crate::{Snapshot, SnapshotError};

/// A second snapshot of one number takes the place of the first, whole.
pub async fn the_same_number_replaces(backend: &dyn Backend) {
    let id = id("suite|five");
    let store = five(backend, &id).await;
    for payload in ["a longer payload than it was before", "", "short"] {
        let other = Snapshot {
            payload: Bytes::from(payload),
            token: Token::new(Epoch(9), 9),
            timestamp: Timestamp::from_micros(1),
            schema_version: 2,
            ..snapshot(&id, 13)
        };
        save(&store, other.clone()).await;
        assert_eq!(load(&store, &id, nr(13)).await, Some(other));
    }
    assert_eq!(list(&store, &id).await, FIVE);
}

/// Of every byte value.
pub async fn a_state_of_10_000_bytes_is_stored(backend: &dyn Backend) {
    let (store, id) = (backend.open().await, id("suite|large"));
    let large = Snapshot { payload: patterned(10_000), ..snapshot(&id, 1) };
    save(&store, large.clone()).await;
    assert_eq!(load(&store, &id, SeqNr::MAX).await, Some(large));
}

/// At their limits too: the longest id and manifest, the highest numbers, key 0, a codec of the user's own, no payload. A store that
/// seals gives a state back without a key id, as it took it.
pub async fn every_field_is_given_back(backend: &dyn Backend) {
    let store = backend.open().await;
    let longest = id(&format!("{}|{}", "k".repeat(64), "é".repeat(256)));
    let full = Snapshot {
        persistence_id: longest.clone(),
        seq_nr: SeqNr::MAX,
        token: Token::new(Epoch(u64::MAX), u64::MAX),
        last_event: EventDigest(std::array::from_fn(|n| u8::try_from(255 - n).unwrap_or_default())),
        timestamp: Timestamp::from_micros(u64::MAX),
        manifest: Manifest::new(&"m".repeat(Manifest::MAX_BYTES)).expect("a manifest may be this long"),
        schema_version: u32::MAX,
        codec: Codec::Custom(u32::MAX),
        key_id: Some(KeyId(u32::MAX)),
        payload: patterned(256),
    };
    let bare = Snapshot {
        token: Token::NONE,
        last_event: EventDigest([0; 32]),
        timestamp: Timestamp::from_micros(0),
        codec: Codec::Protobuf,
        key_id: Some(KeyId(0)),
        payload: Bytes::new(),
        ..snapshot(&longest, 1)
    };
    for mut expected in [full, bare] {
        if backend.seals() {
            let answer = store.save(expected.clone()).await;
            assert!(
                matches!(answer, Err(SnapshotError::Rejected { .. })),
                "a sealed state was answered {answer:?}"
            );
            expected.key_id = None;
        }
        save(&store, expected.clone()).await;
        assert_eq!(load(&store, &longest, expected.seq_nr).await, Some(expected));
    }
}

/// [`max_payload_bytes`](crate::SnapshotStore::max_payload_bytes) is a promise, of 1 MiB at least.
pub async fn the_largest_payload_is_stored(backend: &dyn Backend) {
    let (store, id) = (backend.open().await, id("suite|largest"));
    let bytes = store.max_payload_bytes();
    assert!(bytes >= 1024 * 1024, "a store takes at least 1 MiB, this one {bytes} bytes");
    let largest = Snapshot { payload: patterned(bytes), ..snapshot(&id, 1) };
    save(&store, largest.clone()).await;
    // Not `assert_eq`: nobody wants to read the difference.
    assert!(load(&store, &id, SeqNr::MAX).await == Some(largest), "another snapshot came back");
    delete(&store, &id, 1, 1).await;
}

/// One byte more, and what had the number stays.
pub async fn a_larger_payload_is_rejected_and_replaces_nothing(backend: &dyn Backend) {
    let (store, id) = (backend.open().await, id("suite|larger"));
    save(&store, snapshot(&id, 1)).await;
    let larger = Snapshot { payload: patterned(store.max_payload_bytes() + 1), ..snapshot(&id, 1) };
    match store.save(larger).await {
        Err(SnapshotError::Rejected { persistence_id, seq_nr, .. }) => {
            assert_eq!((persistence_id, seq_nr), (id.clone(), nr(1)));
        }
        Err(other) => panic!("a payload that is too large must be Rejected, not {}: {other}", other.kind()),
        Ok(()) => panic!("a payload above max_payload_bytes was accepted"),
    }
    assert_eq!(load(&store, &id, SeqNr::MAX).await, Some(snapshot(&id, 1)));
}

/// Number 0 is no event's.
pub async fn a_snapshot_without_an_event_is_rejected(backend: &dyn Backend) {
    let (store, id) = (backend.open().await, id("suite|zero"));
    let answer = store.save(snapshot(&id, 0)).await;
    assert!(matches!(answer, Err(SnapshotError::Rejected { .. })), "number 0 was answered {answer:?}");
    assert_eq!(list(&store, &id).await, [0; 0]);
}

/// In a store that outlives its process: closed and opened again, it has what it had.
pub async fn what_was_saved_and_deleted_survives_reopening(backend: &dyn Backend) {
    if !backend.outlives_process() {
        return;
    }
    let id = id("suite|five");
    for round in 0..3 {
        let store = five(backend, &id).await;
        delete(&store, &id, 15, 15).await;
        drop(store);
        let store = backend.open().await;
        assert_eq!(list(&store, &id).await, [11, 12, 13, 14], "round {round}");
        assert_eq!(load(&store, &id, SeqNr::MAX).await, Some(snapshot(&id, 14)));
    }
}

fn patterned(len: usize) -> Bytes {
    (0..=255).cycle().take(len).collect()
}
