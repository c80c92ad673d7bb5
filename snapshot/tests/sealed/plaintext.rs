//! Snapshots from before there were keys, and what becomes of them.

use annals_snapshot::SnapshotError;

use super::*;

#[tokio::test]
async fn a_snapshot_in_the_clear_is_read_until_the_id_has_a_key() {
    let place = Place::new().await;
    for number in [5, 9] {
        place.stored.save(snapshot("account|alice", number)).await.unwrap();
    }
    let load = async |at_most| place.sealed.load(&id("account|alice"), nr(at_most)).await;
    assert_eq!(load(9).await.unwrap(), Some(snapshot("account|alice", 9)));

    // Sealed from the next event on: none may come back in the clear behind that.
    place.sealed.save(snapshot("account|alice", 9)).await.unwrap();
    assert!(place.stored("account|alice", 9).await.key_id.is_some());
    assert_eq!(load(9).await.unwrap(), Some(snapshot("account|alice", 9)));
    assert_eq!(load(5).await.unwrap(), Some(snapshot("account|alice", 5)));
    place.stored.save(snapshot("account|alice", 10)).await.unwrap();
    let error = load(10).await.unwrap_err();
    assert!(matches!(&error, SnapshotError::Corrupt { seq_nr, .. } if *seq_nr == nr(10)), "{error}");
}

#[tokio::test]
async fn none_in_the_clear_is_read_where_that_is_refused() {
    let place = Place::new().await;
    place.stored.save(snapshot("account|alice", 5)).await.unwrap();
    let strict = place.sealed.clone().refuse_plaintext();
    let error = strict.load(&id("account|alice"), SeqNr::MAX).await.unwrap_err();
    assert!(matches!(&error, SnapshotError::Corrupt { .. }), "{error}");
    strict.save(snapshot("account|alice", 6)).await.unwrap();
    assert_eq!(
        strict.load(&id("account|alice"), SeqNr::MAX).await.unwrap(),
        Some(snapshot("account|alice", 6))
    );
}

#[tokio::test]
async fn nothing_shows_a_state_or_a_key() {
    let place = Place::new().await;
    place.save(snapshot("account|alice", 5)).await;
    let shown = format!("{:?} {:?}", place.sealed, place.stored("account|alice", 5).await);
    assert!(!shown.contains("Liddell") && !shown.contains("BBBB"), "{shown}");
}
