//! Replacing a stored event: only where it is unchanged, and only what may change.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;

use super::Harness;
use super::sample::*;
use crate::{
    Envelope, Journal, KeyId, Manifest, Offset, PersistenceId, ReplayRange, SliceRange, StoredEvent,
    Timestamp,
};

/// An unchanged event is replaced; readers see the new envelope at the old place, and its neighbours as they were.
pub async fn an_unchanged_event_is_replaced(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    seed(&journal, &a, 3).await;
    let before = events(&journal, &a).await;
    let new = Envelope {
        payload: Bytes::from(vec![0xff; 5_000]),
        key_id: journal.limits().marks.then_some(KeyId(7)),
        manifest: Manifest::new("clause.rewritten").unwrap(),
        schema_version: 2,
        ..before[1].envelope.clone()
    };
    assert!(journal.replace(&before[1], new.clone()).await.unwrap());
    h.reopen().await;
    let journal = h.journal();
    let after = events(&journal, &a).await;
    assert_eq!((&after[0], &after[2]), (&before[0], &before[2]));
    assert_eq!((after[1].offset, &after[1].envelope), (before[1].offset, &new));
    if journal.limits().marks {
        assert_eq!(after[1].bytes, new.encode());
    }
    let page = journal.events_by_slice(SliceRange::ALL, Offset::BEGINNING, 10).await.unwrap();
    assert_eq!(shown_page(&page.items), "a1 a2 a3");
    assert_eq!(page.items[1], crate::PageItem::Event(after[1].clone()));
    assert_eq!(journal.head(&a).await.unwrap().seq_nr, nr(3));
}

/// An event that has other bytes than the caller knows stays as it is.
pub async fn a_changed_event_is_left_alone(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    seed(&journal, &a, 3).await;
    let old = stored(&journal, &a, 2).await;
    assert!(journal.replace(&old, with_payload(&old, "first")).await.unwrap());
    assert!(!journal.replace(&old, with_payload(&old, "second")).await.unwrap());
    assert_eq!(stored(&journal, &a, 2).await.envelope.payload, "first");
    // What is there now can be replaced again.
    let now = stored(&journal, &a, 2).await;
    assert!(journal.replace(&now, with_payload(&now, "third")).await.unwrap());
    assert_eq!(stored(&journal, &a, 2).await.envelope.payload, "third");
}

/// An event that is not there is not created: never stored, or deleted.
pub async fn an_event_that_is_not_there_is_not_created(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    seed(&journal, &a, 3).await;
    let first = stored(&journal, &a, 1).await;
    journal.delete_to(&a, nr(2)).await.unwrap();
    assert!(!journal.replace(&first, with_payload(&first, "new")).await.unwrap());
    for (never, number) in [(id("a"), 9), (id("unknown"), 1)] {
        let envelope = event(&never, number, OWNER);
        let never = StoredEvent { offset: first.offset, bytes: envelope.encode(), envelope };
        assert!(!journal.replace(&never, with_payload(&never, "new")).await.unwrap());
    }
    assert_eq!(shown_range(&journal, ReplayRange::all(&a)).await, "[1-2] 3");
    assert_eq!(journal.persistence_ids(None, 10).await.unwrap(), [a]);
}

/// An envelope with another id, number or time stamp is rejected, as is one that is too large.
pub async fn another_event_is_rejected_as_replacement(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    seed(&journal, &a, 3).await;
    let old = stored(&journal, &a, 2).await;
    let wrong = [
        Envelope { persistence_id: id("b"), ..old.envelope.clone() },
        Envelope { seq_nr: nr(3), ..old.envelope.clone() },
        Envelope { timestamp: Timestamp::from_micros(1), ..old.envelope.clone() },
        Envelope {
            payload: Bytes::from(vec![0; journal.limits().max_payload_bytes + 1]),
            ..old.envelope.clone()
        },
    ];
    for new in wrong {
        refused!(journal.replace(&old, new).await, Rejected);
    }
    assert_eq!(stored(&journal, &a, 2).await, old);
}

/// Readers by tag follow the new envelope's tags, also once the event is deleted.
pub async fn tags_follow_the_new_envelope(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    for expected in 0..3 {
        store_tagged(&journal, &a, expected, &["old", "both"]).await;
    }
    let old = stored(&journal, &a, 2).await;
    let new = tagged(old.envelope.clone(), &["both", "new"]);
    assert!(journal.replace(&old, new).await.unwrap());
    let shown = async |label: &str| shown_page(&all_tagged(&journal, label, Offset::BEGINNING).await);
    assert_eq!(shown("old").await, "a1 a3");
    assert_eq!(shown("both").await, "a1 a2 a3");
    assert_eq!(shown("new").await, "a2");
    journal.delete_to(&a, nr(2)).await.unwrap();
    assert_eq!(shown("old").await, "a[1-2] a3");
    assert_eq!(shown("new").await, "a[1-2]");
}

/// Of many that replace the same bytes at once, one does.
pub async fn of_concurrent_replacements_one_wins(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    let (other, _) = h.another().await;
    seed(&journal, &a, 3).await;
    let old = stored(&journal, &a, 2).await;
    let calls = (0..20).map(|n| {
        let journal = Arc::clone(if n % 2 == 0 { &journal } else { &other });
        let old = old.clone();
        tokio::spawn(async move {
            let won = journal.replace(&old, with_payload(&old, &format!("writer {n}"))).await.unwrap();
            won.then_some(n)
        })
    });
    let winners: Vec<i32> = join_all(calls).await.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(winners.len(), 1, "{winners:?}");
    assert_eq!(stored(&journal, &a, 2).await.envelope.payload, format!("writer {}", winners[0]));
}

/// Of a list each replacement is decided by itself, and sees those before it.
pub async fn each_replacement_of_a_list_is_decided_by_itself(h: &mut Harness) {
    let (journal, a, b) = (h.journal(), id("a"), id("b"));
    seed(&journal, &a, 3).await;
    seed(&journal, &b, 2).await;
    let (a1, a2, b1) =
        (stored(&journal, &a, 1).await, stored(&journal, &a, 2).await, stored(&journal, &b, 1).await);
    let stale = StoredEvent { bytes: a1.bytes.clone(), ..b1.clone() };
    let wrong = Envelope { seq_nr: nr(3), ..a2.envelope.clone() };
    let answers = journal
        .replace_all(vec![
            (a1.clone(), with_payload(&a1, "first")),
            (a1.clone(), with_payload(&a1, "second")),
            (a2.clone(), wrong),
            (stale, with_payload(&b1, "stale")),
            (StoredEvent { offset: Offset::BEGINNING, ..b1.clone() }, with_payload(&b1, "third")),
        ])
        .await;
    let answers: Vec<_> = answers.iter().map(|answer| answer.as_ref().ok().copied()).collect();
    assert_eq!(answers, [Some(true), Some(false), None, Some(false), Some(true)]);
    assert!(journal.replace_all(Vec::new()).await.is_empty());
    h.reopen().await;
    let journal = h.journal();
    assert_eq!(stored(&journal, &a, 1).await.envelope.payload, "first");
    assert_eq!(stored(&journal, &a, 2).await, a2);
    assert_eq!(stored(&journal, &b, 1).await.envelope.payload, "third");
    assert_eq!(stored(&journal, &b, 1).await.offset, b1.offset);
}

async fn stored(journal: &Arc<dyn Journal>, id: &PersistenceId, number: u64) -> StoredEvent {
    let mut events = events_of(journal, id, number).await;
    events.pop().unwrap()
}

async fn events_of(journal: &Arc<dyn Journal>, id: &PersistenceId, number: u64) -> Vec<StoredEvent> {
    let range = ReplayRange::all(id).from(nr(number)).to(nr(number));
    let items = replay(journal, range).await;
    items
        .into_iter()
        .filter_map(|item| match item {
            crate::Replayed::Event(event) => Some(event),
            crate::Replayed::Deleted { .. } | crate::Replayed::Erased { .. } => None,
        })
        .collect()
}

fn with_payload(old: &StoredEvent, payload: &str) -> Envelope {
    Envelope { payload: Bytes::copy_from_slice(payload.as_bytes()), ..old.envelope.clone() }
}
