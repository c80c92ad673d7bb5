//! Marks: what a layer keeps beside an id's head. A journal that keeps its own there says so in its limits, and takes none.

use super::Harness;
use super::sample::*;
use crate::{AtomicWrite, Head, Journal, JournalError, JournalExt, Mark, MarkChange, PersistenceId, Write};

/// An append that changes the mark does both in one step: its answer, the next claim and every reader say the new mark. One that changes
/// none leaves it.
pub async fn a_mark_is_stored_with_its_append(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    let marked = marked(&a, 0, 2, None, 1);
    if !journal.limits().marks {
        refused!(journal.append(marked).await, Rejected);
        assert_eq!(journal.head(&a).await.unwrap(), Head::EMPTY);
        return;
    }
    let (other, _) = h.another().await;
    let head = Head { seq_nr: nr(2), token: OWNER, mark: Some(mark(1)), ..Head::EMPTY };
    assert_eq!(journal.append(marked).await.unwrap(), head);
    assert_eq!(journal.head(&a).await.unwrap(), head);
    assert_eq!(other.head(&a).await.unwrap(), head);
    assert_eq!(other.claim(&a, OWNER).await.unwrap(), head);
    assert_eq!(journal.verify(&a, OWNER).await.unwrap(), head);
    let plain = journal.append(append(&a, OWNER, 2, 1)).await.unwrap();
    assert_eq!(plain, Head { seq_nr: nr(3), ..head });
    assert_eq!(journal.head(&id("b")).await.unwrap().mark, None);
}

/// An append whose change builds on another mark is a conflict: neither event nor mark is stored.
pub async fn an_append_on_another_mark_is_a_conflict(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    if !journal.limits().marks {
        return;
    }
    refused!(journal.append(marked(&a, 0, 1, Some(9), 1)).await, Conflict);
    assert_eq!(journal.head(&a).await.unwrap(), Head::EMPTY);
    let head = journal.append(marked(&a, 0, 1, None, 1)).await.unwrap();
    for from in [None, Some(2)] {
        refused!(journal.append(marked(&a, 1, 1, from, 3)).await, Conflict);
        assert_eq!(journal.head(&a).await.unwrap(), head);
    }
    assert_eq!(shown_range(&journal, crate::ReplayRange::all(&a)).await, "1");
    assert_eq!(journal.append(marked(&a, 1, 1, Some(1), 3)).await.unwrap().mark, Some(mark(3)));
}

/// An append that is refused for another reason leaves the mark.
pub async fn a_refused_append_leaves_the_mark(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    if !journal.limits().marks {
        return;
    }
    let head = journal.append(marked(&a, 0, 1, None, 1)).await.unwrap();
    refused!(journal.append(marked(&a, 4, 1, Some(1), 2)).await, Conflict);
    let mut stale = marked(&a, 1, 1, Some(1), 2);
    stale.token = token(OWNER.epoch.0, OWNER.activation - 1);
    stale.events[0].token = stale.token;
    refused!(journal.append(stale).await, Superseded);
    refused!(journal.append(marked(&a, 1, 0, Some(1), 2)).await, Rejected);
    assert_eq!(journal.head(&a).await.unwrap(), head);
}

/// Within a list each change builds on the one before; what stands behind a refused one is refused.
pub async fn marks_move_through_a_list(h: &mut Harness) {
    let (journal, a, b) = (h.journal(), id("a"), id("b"));
    if !journal.limits().marks {
        return;
    }
    let list = vec![
        Write::Append(marked(&a, 0, 1, None, 1)),
        Write::Append(marked(&b, 0, 1, None, 7)),
        Write::Append(marked(&a, 1, 2, Some(1), 2)),
        set(&a, Some(2), 3),
        Write::Append(marked(&a, 3, 1, Some(2), 4)),
        Write::Append(marked(&a, 3, 1, Some(3), 4)),
        Write::Append(marked(&b, 1, 1, Some(7), 8)),
    ];
    let answers = journal.write(list).await;
    let marks: Vec<_> = answers.iter().map(|answer| answer.as_ref().map(|head| head.mark).ok()).collect();
    let some = |number| Some(Some(mark(number)));
    assert_eq!(marks, [some(1), some(7), some(2), some(3), None, None, some(8)], "{answers:?}");
    assert_eq!(journal.head(&a).await.unwrap().mark, Some(mark(3)));
    assert_eq!(journal.head(&b).await.unwrap().mark, Some(mark(8)));
}

/// The owner of the newest token changes a mark without an event, where it is the one that the change builds on.
pub async fn a_mark_is_changed_by_its_owner_alone(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    if !journal.limits().marks {
        return;
    }
    seed(&journal, &a, 3).await;
    assert_eq!(journal.write_one(set(&a, None, 1)).await.unwrap().mark, Some(mark(1)));
    refused!(journal.write_one(set(&a, None, 2)).await, Conflict);
    let newer = token(OWNER.epoch.0, OWNER.activation + 1);
    refused!(journal.write_one(set_by(&a, newer, Some(1), 2)).await, Superseded);
    journal.claim(&a, newer).await.unwrap();
    refused!(journal.write_one(set(&a, Some(1), 2)).await, Superseded);
    let head = journal.write_one(set_by(&a, newer, Some(1), 2)).await.unwrap();
    assert_eq!(head, Head { seq_nr: nr(3), token: newer, mark: Some(mark(2)), ..Head::EMPTY });
    assert_eq!(journal.head(&a).await.unwrap(), head);
    assert_eq!(shown_range(&journal, crate::ReplayRange::all(&a)).await, "1 2 3");
}

/// A mark outlives the events, and the process where the store does.
pub async fn a_mark_is_never_forgotten(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    if !journal.limits().marks {
        return;
    }
    journal.append(marked(&a, 0, 3, None, 1)).await.unwrap();
    journal.delete_to(&a, nr(3)).await.unwrap();
    assert_eq!(journal.head(&a).await.unwrap().mark, Some(mark(1)));
    drop(journal);
    h.reopen().await;
    let journal = h.journal();
    assert_eq!(journal.head(&a).await.unwrap().mark, Some(mark(1)));
    let newer = token(OWNER.epoch.0 + 1, 1);
    assert_eq!(journal.claim(&a, newer).await.unwrap().mark, Some(mark(1)));
}

/// Of changes at one time that build on one mark, one is made.
pub async fn of_concurrent_changes_one_is_made(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    if !journal.limits().marks {
        return;
    }
    let (other, _) = h.another().await;
    journal.claim(&a, OWNER).await.unwrap();
    let mut from = None;
    for round in 0..20_u8 {
        let change = |journal: &std::sync::Arc<dyn Journal>, to| {
            let (journal, set) = (journal.clone(), set(&a, from, to));
            tokio::spawn(async move { journal.write_one(set).await })
        };
        let (to, others) = (2 * round + 1, 2 * round + 2);
        let (one, two) = (change(&journal, to), change(&other, others));
        let answers = [one.await.unwrap(), two.await.unwrap()];
        let conflicts = answers.iter().filter(|answer| matches!(answer, Err(JournalError::Conflict { .. })));
        assert_eq!(conflicts.count(), 1, "{answers:?}");
        from = Some(if answers[0].is_ok() { to } else { others });
        assert_eq!(journal.head(&a).await.unwrap().mark, from.map(mark));
    }
}

fn mark(number: u8) -> Mark {
    Mark::from_bytes([number; Mark::BYTES])
}

fn change(from: Option<u8>, to: u8) -> MarkChange {
    MarkChange { from: from.map(mark), to: mark(to) }
}

fn marked(id: &PersistenceId, expected: u64, count: u64, from: Option<u8>, to: u8) -> AtomicWrite {
    AtomicWrite { mark: Some(change(from, to)), ..append(id, OWNER, expected, count) }
}

fn set(id: &PersistenceId, from: Option<u8>, to: u8) -> Write {
    set_by(id, OWNER, from, to)
}

fn set_by(id: &PersistenceId, token: crate::Token, from: Option<u8>, to: u8) -> Write {
    Write::Mark { persistence_id: id.clone(), token, change: change(from, to) }
}
