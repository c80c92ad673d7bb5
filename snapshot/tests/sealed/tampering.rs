//! What is changed, cut or moved is named, and never taken for a state.

use std::collections::HashSet;

use annals_journal::KeyId;
use annals_snapshot::SnapshotError;

use super::*;

async fn assert_corrupt(place: &Place, of: &str, number: u64, what: &str) {
    match place.sealed.load(&id(of), nr(number)).await {
        Err(SnapshotError::Corrupt { persistence_id, seq_nr, .. }) => {
            assert_eq!((persistence_id, seq_nr), (id(of), nr(number)), "{what}");
        }
        other => panic!("{what}: {other:?}"),
    }
}

#[tokio::test]
async fn each_flipped_byte_is_found() {
    let place = Place::new().await;
    place.save(snapshot("account|alice", 5)).await;
    let stored = place.stored("account|alice", 5).await;
    for at in 0..stored.payload.len() {
        for flip in [1, 0x80, 0xff] {
            let mut payload = stored.payload.to_vec();
            payload[at] ^= flip;
            place.stored.save(Snapshot { payload: payload.into(), ..stored.clone() }).await.unwrap();
            assert_corrupt(&place, "account|alice", 5, &format!("byte {at} xor {flip}")).await;
        }
    }
    // And each of the stored record, where the store beneath looks first.
    place.stored.save(stored.clone()).await.unwrap();
    for at in 0..stored.encode().len() {
        assert!(place.stored.tamper(&id("account|alice"), nr(5), |bytes| bytes[at] ^= 1));
        assert_corrupt(&place, "account|alice", 5, &format!("stored byte {at}")).await;
        assert!(place.stored.tamper(&id("account|alice"), nr(5), |bytes| bytes[at] ^= 1));
    }
    assert_eq!(
        place.sealed.load(&id("account|alice"), SeqNr::MAX).await.unwrap(),
        Some(snapshot("account|alice", 5))
    );
}

#[tokio::test]
async fn each_cut_is_found() {
    let place = Place::new().await;
    place.save(snapshot("account|alice", 5)).await;
    let stored = place.stored("account|alice", 5).await;
    for len in 0..stored.payload.len() {
        let payload = stored.payload.slice(..len);
        place.stored.save(Snapshot { payload, ..stored.clone() }).await.unwrap();
        assert_corrupt(&place, "account|alice", 5, &format!("{len} bytes")).await;
    }
}

#[tokio::test]
async fn each_changed_field_is_found() {
    let place = Place::new().await;
    place.save(snapshot("account|alice", 5)).await;
    let stored = place.stored("account|alice", 5).await;
    let changed = [
        Snapshot { token: Token::new(Epoch(8), 3), ..stored.clone() },
        Snapshot { token: Token::new(Epoch(7), 4), ..stored.clone() },
        Snapshot { last_event: EventDigest([8; 32]), ..stored.clone() },
        Snapshot { timestamp: Timestamp::from_micros(1), ..stored.clone() },
        Snapshot { manifest: Manifest::new("account.stat").unwrap(), ..stored.clone() },
        Snapshot { schema_version: 1, ..stored.clone() },
        Snapshot { codec: Codec::Protobuf, ..stored.clone() },
        Snapshot { key_id: Some(KeyId(2)), ..stored.clone() },
        Snapshot { key_id: Some(KeyId(0)), ..stored.clone() },
        Snapshot { key_id: None, ..stored.clone() },
    ];
    for changed in changed {
        let what = format!("{changed:?}");
        assert_ne!(changed, stored);
        place.stored.save(changed).await.unwrap();
        assert_corrupt(&place, "account|alice", 5, &what).await;
    }
}

#[tokio::test]
async fn an_old_state_under_a_new_number_or_another_id_is_found() {
    let place = Place::new().await;
    for (of, number) in [("account|alice", 5), ("account|alice", 9), ("account|bob", 5)] {
        place.save(snapshot(of, number)).await;
    }
    let old = place.stored("account|alice", 5).await;
    place.stored.save(Snapshot { seq_nr: nr(12), ..old.clone() }).await.unwrap();
    assert_corrupt(&place, "account|alice", 12, "an old one under a new number").await;
    let newer = place.stored("account|alice", 9).await;
    place.stored.save(Snapshot { payload: newer.payload.clone(), ..old.clone() }).await.unwrap();
    place.stored.save(Snapshot { payload: old.payload.clone(), ..newer }).await.unwrap();
    for number in [5, 9] {
        assert_corrupt(&place, "account|alice", number, "two that were swapped").await;
    }
    place.stored.save(Snapshot { persistence_id: id("account|bob"), ..old.clone() }).await.unwrap();
    assert_corrupt(&place, "account|bob", 5, "another id's").await;
    // An id that has no key at all.
    place.stored.save(Snapshot { persistence_id: id("account|eve"), ..old }).await.unwrap();
    assert_corrupt(&place, "account|eve", 5, "an id without a key").await;
}

#[tokio::test]
async fn no_nonce_comes_twice_though_one_number_is_sealed_again_and_again() {
    let place = Place::new().await;
    let mut nonces = HashSet::new();
    for round in 0..2_000 {
        // A second process, from time to time.
        let other = keys(place.records.clone(), ring(1)).await.unwrap();
        let sealed = SealedSnapshots::new(Arc::new(place.stored.clone()), other);
        sealed.save(snapshot("account|alice", 5)).await.unwrap();
        let stored = place.stored("account|alice", 5).await;
        assert!(nonces.insert((stored.key_id, stored.payload.slice(1..13))), "round {round}");
    }
}
