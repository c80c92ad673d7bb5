//! Listing persistence ids.

use super::Harness;
use super::sample::*;
use crate::{JournalExt, PersistenceId};

/// Ids come in the order of their bytes, in pages that go on behind the last one.
pub async fn ids_come_in_order_and_in_pages(h: &mut Harness) {
    let journal = h.journal();
    let mut ids: Vec<_> = ["b|1", "a|2", "a|10", "a.b|1", "a|Ä", "a|A", "a|z", "B|1", "a|語", "a|1|x", "a|1"]
        .map(|text| PersistenceId::parse(text).unwrap())
        .into();
    for a in &ids {
        journal.append(append(a, OWNER, 0, 2)).await.unwrap();
    }
    ids.sort();
    assert_eq!(journal.persistence_ids(None, 100).await.unwrap(), ids);
    for limit in [1, 2, 5, 10, 11, 12] {
        let mut listed: Vec<PersistenceId> = Vec::new();
        loop {
            let page = journal.persistence_ids(listed.last(), limit).await.unwrap();
            assert!(page.len() <= limit);
            let last = page.len() < limit;
            listed.extend(page);
            if last {
                break;
            }
        }
        assert_eq!(listed, ids, "in pages of {limit}");
    }
    // Behind an id that is not there.
    let behind = PersistenceId::parse("a|1|y").unwrap();
    let expected: Vec<_> = ids.iter().filter(|id| **id > behind).cloned().collect();
    assert_eq!(journal.persistence_ids(Some(&behind), 100).await.unwrap(), expected);
    assert_eq!(journal.persistence_ids(None, 0).await.unwrap(), []);
}

/// An id is listed from its first claim or append on, for ever: also when all its events are deleted, and after opening anew.
pub async fn an_id_is_listed_from_its_first_claim_on(h: &mut Harness) {
    let (journal, a, b) = (h.journal(), id("a"), id("b"));
    assert_eq!(journal.persistence_ids(None, 10).await.unwrap(), []);
    journal.claim(&b, token(1, 1)).await.unwrap();
    assert_eq!(journal.persistence_ids(None, 10).await.unwrap(), std::slice::from_ref(&b));
    seed(&journal, &a, 3).await;
    journal.delete_to(&a, nr(3)).await.unwrap();
    h.reopen().await;
    assert_eq!(h.journal().persistence_ids(None, 10).await.unwrap(), [a, b]);
}

/// Asking for an id, and what was refused, does not list it.
pub async fn an_id_is_not_listed_for_what_was_not_stored(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    journal.head(&a).await.unwrap();
    refused!(journal.append(append(&a, OWNER, 3, 1)).await, Conflict);
    refused!(journal.append(append(&a, OWNER, 0, 0)).await, Rejected);
    refused!(journal.delete_to(&a, nr(1)).await, Rejected);
    assert_eq!(journal.persistence_ids(None, 10).await.unwrap(), []);
}
