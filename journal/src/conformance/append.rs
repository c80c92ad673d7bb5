//! Appending lists of atomic writes: answers, order, atomicity, and what is refused.

use futures::FutureExt;

use super::Harness;
use super::sample::*;
use crate::{Head, Journal, JournalError, JournalExt, Offset, ReplayRange, SliceRange, Write};

/// Each entry of a list is answered with the head right after it, in the list's order.
pub async fn each_entry_of_a_list_is_answered(h: &mut Harness) {
    let (journal, a, b) = (h.journal(), id("a"), id("b"));
    let list = vec![
        write(&a, token(1, 1), 0, 2),
        write(&b, token(2, 1), 0, 1),
        claim(&b, token(2, 2)),
        write(&a, token(1, 1), 2, 3),
        verify(&b, token(2, 2)),
    ];
    let heads: Vec<_> = journal.write(list).await.into_iter().map(Result::unwrap).collect();
    let head = |seq_nr, token| Head { seq_nr: nr(seq_nr), token, ..Head::EMPTY };
    assert_eq!(
        heads,
        [
            head(2, token(1, 1)),
            head(1, token(2, 1)),
            head(1, token(2, 2)),
            head(5, token(1, 1)),
            head(1, token(2, 2))
        ]
    );
    assert_eq!(shown_range(&journal, ReplayRange::all(&a)).await, "1 2 3 4 5");
    assert_eq!(shown_range(&journal, ReplayRange::all(&b)).await, "1");
}

/// An empty list has no answers.
pub async fn an_empty_list_has_no_answers(h: &mut Harness) {
    assert!(h.journal().write(Vec::new()).await.is_empty());
}

/// An append that builds on another head is a conflict that names both, and nothing of it is stored.
pub async fn an_append_on_another_head_is_a_conflict(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    seed(&journal, &a, 5).await;
    for expected in [0, 3, 4, 6, 100] {
        let error = refused!(journal.append(append(&a, OWNER, expected, 2)).await, Conflict);
        let JournalError::Conflict { persistence_id, expected: named, head } = error else { unreachable!() };
        assert_eq!((persistence_id, named, head), (a.clone(), nr(expected), nr(5)));
    }
    assert_eq!(shown_range(&journal, ReplayRange::all(&a)).await, "1 2 3 4 5");
}

/// The first append of an id must expect zero; another one is a conflict, and does not create the id.
pub async fn the_first_append_expects_zero(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    refused!(journal.append(append(&a, OWNER, 1, 1)).await, Conflict);
    assert_eq!(journal.head(&a).await.unwrap(), Head::EMPTY);
    assert_eq!(journal.persistence_ids(None, 10).await.unwrap(), []);
    assert_eq!(journal.append(append(&a, OWNER, 0, 1)).await.unwrap().seq_nr, nr(1));
}

/// (19) When one entry of a list is refused, its neighbours are stored whole and of it nothing is.
pub async fn a_refused_entry_leaves_its_neighbours_alone(h: &mut Harness) {
    let (journal, a, b, c) = (h.journal(), id("a"), id("b"), id("c"));
    seed(&journal, &b, 2).await;
    let list = vec![write(&a, OWNER, 0, 5), write(&b, OWNER, 1, 5), write(&c, OWNER, 0, 5)];
    let answers = journal.write(list).await;
    assert_eq!(answers.len(), 3);
    assert!(answers[0].is_ok() && answers[2].is_ok(), "{answers:?}");
    assert!(matches!(answers[1], Err(JournalError::Conflict { .. })), "{answers:?}");
    for (id, shown) in [(a, "1 2 3 4 5"), (b, "1 2"), (c, "1 2 3 4 5")] {
        assert_eq!(shown_range(&journal, ReplayRange::all(&id)).await, shown);
    }
}

/// (19) What no backend may store is rejected whole: no events, wrong numbers, another id or token than its append's.
pub async fn a_malformed_append_is_rejected_whole(h: &mut Harness) {
    let (journal, a, b) = (h.journal(), id("a"), id("b"));
    seed(&journal, &a, 2).await;
    let good = append(&a, OWNER, 2, 3);
    let mut malformed = vec![append(&a, OWNER, 2, 0)];
    for (at, wrong) in [
        (1, event(&a, 5, OWNER)),
        (1, event(&a, 3, OWNER)),
        (0, event(&a, 4, OWNER)),
        (2, event(&b, 5, OWNER)),
        (2, event(&a, 5, token(9, 9))),
    ] {
        let mut write = good.clone();
        write.events[at] = wrong;
        malformed.push(write);
    }
    for write in malformed {
        let shown = format!("{:?}", write.events.iter().map(|event| event.seq_nr).collect::<Vec<_>>());
        let answers = journal.write(vec![Write::Append(write), write_to(&b)]).await;
        assert!(matches!(answers[0], Err(JournalError::Rejected { .. })), "{shown}: {answers:?}");
        // The list's other entry is decided by itself.
        assert!(!matches!(answers[1], Err(JournalError::Rejected { .. })), "{shown}: {answers:?}");
    }
    assert_eq!(shown_range(&journal, ReplayRange::all(&a)).await, "1 2");
    assert_eq!(journal.append(good).await.unwrap().seq_nr, nr(5));
}

fn write_to(b: &crate::PersistenceId) -> Write {
    write(b, OWNER, 0, 1)
}

/// Once an entry of a list is not stored, every later one of that id and token is answered alike and not stored;
/// other ids and other tokens are decided by themselves.
pub async fn after_a_refused_entry_its_writer_is_refused_in_that_list(h: &mut Harness) {
    let (journal, a, b) = (h.journal(), id("a"), id("b"));
    seed(&journal, &a, 2).await;
    let mut empty = append(&a, OWNER, 2, 1);
    empty.events.clear();
    for (first, variant) in [(write(&a, OWNER, 7, 1), "conflict"), (Write::Append(empty), "rejected")] {
        let expected = journal.head(&b).await.unwrap().seq_nr.get();
        let list = vec![
            first,
            write(&a, OWNER, 2, 1),
            write(&b, OWNER, expected, 1),
            verify(&a, OWNER),
            claim(&a, OWNER),
            write(&b, OWNER, expected + 1, 1),
        ];
        let answers = journal.write(list).await;
        for refused in [0, 1, 3, 4] {
            let error = answers[refused].as_ref().unwrap_err();
            assert_eq!(error.kind(), variant, "entry {refused}: {answers:?}");
        }
        assert!(answers[2].is_ok() && answers[5].is_ok(), "{answers:?}");
        assert_eq!(shown_range(&journal, ReplayRange::all(&a)).await, "1 2");
    }
    // An entry that is not an append counts too: this token verifies nothing, although its append would be the newest.
    let ahead = token(OWNER.epoch.0 + 1, 1);
    let answers = journal.write(vec![verify(&a, ahead), write(&a, ahead, 2, 1)]).await;
    assert!(
        answers.iter().all(|answer| matches!(answer, Err(JournalError::Superseded { .. }))),
        "{answers:?}"
    );
    assert_eq!(journal.head(&a).await.unwrap().token, OWNER);
    // A newer activation in the same list is another writer, and the old one stays refused behind it.
    let newer = token(OWNER.epoch.0, OWNER.activation + 1);
    let answers = journal
        .write(vec![write(&a, OWNER, 7, 1), claim(&a, newer), write(&a, newer, 2, 1), write(&a, OWNER, 3, 1)])
        .await;
    assert!(matches!(answers[0], Err(JournalError::Conflict { .. })), "{answers:?}");
    assert!(answers[1].is_ok() && answers[2].is_ok(), "{answers:?}");
    assert!(matches!(answers[3], Err(JournalError::Conflict { .. })), "{answers:?}");
    assert_eq!(journal.head(&a).await.unwrap(), Head { seq_nr: nr(3), token: newer, ..Head::EMPTY });
}

/// The next list decides anew: that a writer was refused is forgotten with its list.
pub async fn the_next_list_decides_anew(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    seed(&journal, &a, 2).await;
    refused!(journal.append(append(&a, OWNER, 7, 1)).await, Conflict);
    assert_eq!(journal.append(append(&a, OWNER, 2, 1)).await.unwrap().seq_nr, nr(3));
}

/// What was answered is seen by every reader that begins afterwards, through any handle.
pub async fn what_was_answered_is_seen(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    let (other, _) = h.another().await;
    for number in 1..=20 {
        journal.append(append(&a, OWNER, number - 1, 1)).await.unwrap();
        assert_eq!(other.head(&a).await.unwrap().seq_nr, nr(number));
        assert_eq!(events(&other, &a).await.len() as u64, number);
        let page = other.events_by_slice(SliceRange::ALL, Offset::BEGINNING, 100).await.unwrap();
        assert_eq!(page.items.len() as u64, number);
    }
}

/// A call whose future is dropped is done or not done, never half done.
pub async fn a_dropped_append_is_done_whole_or_not_at_all(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    let mut head = Head::EMPTY;
    for round in 1..=40 {
        let token = token(1, round);
        head = journal.claim(&a, token).await.unwrap();
        assert_eq!(head.seq_nr.get() % 7, 0, "a part of an append was stored: {head:?}");
        let append = append(&a, token, head.seq_nr.get(), 7);
        let mut call = journal.append(append).boxed();
        for _ in 0..round % 4 {
            if call.as_mut().now_or_never().is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(call);
    }
    let settled = journal.claim(&a, token(2, 1)).await.unwrap();
    assert!(settled.seq_nr >= head.seq_nr, "acknowledged events are gone");
    assert_eq!(settled.seq_nr.get() % 7, 0, "a part of an append was stored: {settled:?}");
    let numbers: Vec<_> =
        events(&journal, &a).await.iter().map(|event| event.envelope.seq_nr.get()).collect();
    assert_eq!(numbers, (1..=settled.seq_nr.get()).collect::<Vec<_>>());
}
