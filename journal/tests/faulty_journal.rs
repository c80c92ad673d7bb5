//! Each order that a faulty journal takes: what its caller is answered, and what is stored after.

#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::time::Duration;

use annals_journal::testing::{Fault, FaultyJournal, JournalAnswer, JournalOperation, Outcome};
use annals_journal::{
    Head, Journal, JournalError, JournalExt, MemoryJournal, Offset, ReplayRange, Replayed, SliceRange, Tag,
    Write,
};
use futures::{FutureExt, StreamExt};
use support::{append, event, id, nr, token, write};
use tokio::time::Instant;

const SEC: Duration = Duration::from_secs(1);

fn faulty() -> FaultyJournal {
    FaultyJournal::around(MemoryJournal::new())
}

/// With `count` events of `test|a` under token 1.1.
async fn holding(count: u64) -> FaultyJournal {
    let journal = faulty();
    journal.append(append(&id("a"), token(1, 1), 0, count)).await.unwrap();
    journal
}

async fn stored(journal: &FaultyJournal) -> u64 {
    journal.inner().head(&id("a")).await.unwrap().seq_nr.get()
}

async fn replayed(journal: &FaultyJournal) -> Vec<Result<u64, JournalError>> {
    let items = journal.replay(ReplayRange::all(&id("a")));
    let number = |item| match item {
        Ok(Replayed::Event(event)) => Ok(event.envelope.seq_nr.get()),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error),
    };
    items.map(number).collect().await
}

#[tokio::test]
async fn without_orders_it_is_the_journal_behind_it() {
    let journal = holding(2).await;
    assert_eq!(stored(&journal).await, 2);
    assert_eq!(journal.head(&id("a")).await.unwrap().seq_nr, nr(2));
    assert_eq!(replayed(&journal).await.len(), 2);
    assert_eq!(journal.persistence_ids(None, 9).await.unwrap(), [id("a")]);
    assert_eq!(journal.limits(), MemoryJournal::LIMITS);
}

#[tokio::test]
async fn an_append_that_fails_is_not_stored_and_the_next_one_is() {
    let journal = faulty();
    for order in 0..4 {
        let next = journal.next_append();
        match order {
            0 => next.fails_unavailable(),
            1 => next.conflicts(),
            2 => next.is_rejected("no"),
            _ => next.outcome_unknown(Outcome::NotStored),
        }
        let error = journal.append(append(&id("a"), token(1, 1), 0, 1)).await.unwrap_err();
        let kind = ["unavailable", "conflict", "rejected", "unknown"][order];
        assert_eq!((error.kind(), stored(&journal).await), (kind, 0));
    }
    assert!(journal.append(append(&id("a"), token(1, 1), 0, 1)).await.is_ok());
    assert_eq!(stored(&journal).await, 1);
}

#[tokio::test]
async fn an_unknown_outcome_may_be_stored() {
    let journal = faulty();
    journal.next_append().outcome_unknown(Outcome::Stored);
    let error = journal.append(append(&id("a"), token(1, 1), 0, 1)).await.unwrap_err();
    assert_eq!((error.kind(), stored(&journal).await), ("unknown", 1));
    journal.next_append().answers(JournalAnswer::FalselyUnavailable(Outcome::Stored));
    let error = journal.append(append(&id("a"), token(1, 1), 1, 1)).await.unwrap_err();
    assert_eq!((error.kind(), stored(&journal).await), ("unavailable", 2), "a lie");
}

#[tokio::test(start_paused = true)]
async fn a_late_write_is_stored_unless_a_newer_token_came_first() {
    for (claimed, expected) in [(false, 1), (true, 0)] {
        let journal = faulty();
        journal.next_append().outcome_unknown(Outcome::Late(5 * SEC));
        let error = journal.append(append(&id("a"), token(1, 1), 0, 1)).await.unwrap_err();
        assert_eq!((error.kind(), stored(&journal).await), ("unknown", 0));
        if claimed {
            journal.claim(&id("a"), token(1, 2)).await.unwrap();
        }
        let sent = Instant::now();
        journal.late_writes().await;
        assert_eq!(sent.elapsed().as_secs(), 5, "virtual");
        assert_eq!(stored(&journal).await, expected);
    }
}

#[tokio::test]
async fn who_is_fenced_stays_so_and_who_is_superseded_claims_again() {
    let journal = holding(1).await;
    journal.next_append().is_superseded();
    let append_as = |by| journal.append(append(&id("a"), by, 1, 1));
    assert!(matches!(append_as(token(1, 1)).await, Err(JournalError::Superseded { .. })));
    assert!(append_as(token(1, 1)).await.is_err(), "the journal itself refuses it");
    assert!(journal.claim(&id("a"), token(1, 3)).await.is_ok());

    journal.next_append().is_fenced();
    assert!(matches!(append_as(token(1, 3)).await, Err(JournalError::Fenced { .. })));
    let again = journal.claim(&id("a"), token(1, 4)).await;
    assert!(matches!(again, Err(JournalError::Fenced { .. })), "{again:?}");
    assert_eq!(stored(&journal).await, 1);
    assert!(journal.claim(&id("a"), token(3, 1)).await.is_ok());
}

#[tokio::test]
async fn claims_and_verifications_are_ordered_by_themselves() {
    let journal = holding(1).await;
    journal.next_claim().fails_unavailable();
    journal.next_verify().outcome_unknown(Outcome::NotStored);
    assert!(journal.append(append(&id("a"), token(1, 1), 1, 1)).await.is_ok());
    assert_eq!(journal.verify(&id("a"), token(1, 1)).await.unwrap_err().kind(), "unknown");
    assert_eq!(journal.claim(&id("a"), token(1, 2)).await.unwrap_err().kind(), "unavailable");
    assert_eq!(journal.inner().head(&id("a")).await.unwrap().token, token(1, 1));
    journal.next_claim().conflicts();
    assert!(journal.claim(&id("a"), token(1, 2)).await.is_ok(), "only an append can conflict");
    journal.next_write().times(2).fails_unavailable();
    assert!(journal.verify(&id("a"), token(1, 2)).await.is_err());
    assert!(journal.claim(&id("a"), token(1, 3)).await.is_err());
    assert_eq!(journal.outstanding(), 0);
}

#[tokio::test]
async fn of_a_list_the_failed_writers_later_entries_are_answered_alike() {
    let journal = faulty();
    let (a, b) = (id("a"), id("b"));
    journal.next_append().of(&a).skip(1).outcome_unknown(Outcome::Stored);
    let list = vec![
        write(&a, token(1, 1), 0, 1),
        write(&b, token(1, 1), 0, 1),
        write(&a, token(1, 1), 1, 1),
        write(&b, token(1, 1), 1, 1),
        write(&a, token(1, 1), 2, 1),
    ];
    let answers = journal.write(list).await;
    let shown: Vec<_> = answers
        .iter()
        .map(|answer| {
            answer.as_ref().map_or_else(|error| error.kind().to_owned(), |head| head.seq_nr.to_string())
        })
        .collect();
    assert_eq!(shown, ["1", "1", "unknown", "2", "unknown"]);
    assert_eq!(stored(&journal).await, 2, "the second one is stored, the third was never sent");
    assert_eq!(journal.commits(), [5]);
}

#[tokio::test]
async fn always_means_until_the_journal_comes_back_and_the_next_ones_go_before() {
    let journal = faulty();
    journal.next_append().always().fails_unavailable();
    journal.next_append().skip(1).is_rejected("the second");
    let kinds = async || {
        let error = journal.append(append(&id("a"), token(1, 1), 0, 1)).await.unwrap_err();
        error.kind()
    };
    assert_eq!([kinds().await, kinds().await, kinds().await], ["unavailable", "rejected", "unavailable"]);
    journal.comes_back();
    assert!(journal.append(append(&id("a"), token(1, 1), 0, 1)).await.is_ok());
}

#[tokio::test]
async fn orders_of_an_id_and_of_so_many_leave_the_others_alone() {
    let journal = faulty();
    journal.next_append().of(&id("a")).times(2).fails_unavailable();
    assert!(journal.append(append(&id("b"), token(1, 1), 0, 1)).await.is_ok());
    for expected in [true, true, false] {
        assert_eq!(journal.append(append(&id("a"), token(1, 1), 0, 1)).await.is_err(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn time_passes_before_the_write_or_before_its_answer() {
    let journal = faulty();
    journal.next_append().takes(5 * SEC);
    let mut slow = journal.append(append(&id("a"), token(1, 1), 0, 1)).boxed();
    assert!(slow.as_mut().now_or_never().is_none());
    assert_eq!(stored(&journal).await, 0);
    let sent = Instant::now();
    assert!(slow.await.is_ok());
    assert_eq!(sent.elapsed().as_secs(), 5);

    journal.next_append().answers_after(5 * SEC);
    let mut slow = journal.append(append(&id("a"), token(1, 1), 1, 1)).boxed();
    assert!(slow.as_mut().now_or_never().is_none());
    assert_eq!(stored(&journal).await, 2);
    assert!(slow.await.is_ok());
}

#[tokio::test]
async fn a_gate_holds_calls_until_it_lets_them_pass() {
    let journal = faulty();
    let gate = journal.next_append().always().waits();
    let mut first = journal.append(append(&id("a"), token(1, 1), 0, 1)).boxed();
    let mut second = journal.append(append(&id("b"), token(1, 1), 0, 1)).boxed();
    assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
    gate.arrived().await;
    gate.arrived().await;
    assert!(gate.arrived().now_or_never().is_none(), "only two came");
    gate.let_pass(1);
    assert!(first.await.is_ok());
    assert!(second.as_mut().now_or_never().is_none());
    drop(gate);
    assert!(second.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_replay_breaks_at_the_start_in_the_middle_or_at_the_end() {
    for events in 0..=3 {
        let journal = holding(3).await;
        journal.next_replay().after_events(events).fails_unavailable();
        let items = replayed(&journal).await;
        let given = usize::try_from(events).unwrap();
        assert_eq!(items.len(), given + 1);
        assert!(items[..given].iter().all(Result::is_ok));
        assert_eq!(items[given].as_ref().unwrap_err().kind(), "unavailable");
        assert_eq!(replayed(&journal).await.len(), 3);
    }
    let journal = holding(3).await;
    journal.next_replay().after_events(4).is_corrupt("torn");
    assert!(replayed(&journal).await.iter().all(Result::is_ok), "it has no fourth");
    journal.next_replay().after_events(1).takes(7 * SEC);
    let began = Instant::now();
    assert_eq!(replayed(&journal).await.len(), 3);
    assert_eq!(began.elapsed().as_secs(), 7);
}

#[tokio::test]
async fn deletions_and_reads_fail_too() {
    let journal = holding(3).await;
    let a = id("a");
    journal.next_delete().fails_unavailable();
    assert_eq!(journal.delete_to(&a, nr(1)).await.unwrap_err().kind(), "unavailable");
    journal.next_delete().outcome_unknown(Outcome::Stored);
    assert_eq!(journal.delete_to(&a, nr(2)).await.unwrap_err().kind(), "unknown");
    assert_eq!(journal.inner().head(&a).await.unwrap().deleted_to, nr(2));
    journal.next_head().fails_unavailable();
    assert!(journal.head(&a).await.is_err() && journal.head(&a).await.is_ok());

    let found = journal.replay(ReplayRange::all(&a).from(nr(3))).next().await;
    let Some(Ok(Replayed::Event(old))) = found else { panic!("{found:?}") };
    journal.next_replace().is_rejected("not now");
    let same = event(&a, 3, token(1, 1));
    assert_eq!(journal.replace(&old, same.clone()).await.unwrap_err().kind(), "rejected");
    assert!(journal.replace(&old, same).await.is_ok());

    journal.next_read().times(3).is_corrupt("torn");
    let tag = Tag::new("t").unwrap();
    assert!(journal.events_by_tag(&tag, Offset::BEGINNING, 9).await.is_err());
    assert!(journal.events_by_slice(SliceRange::ALL, Offset::BEGINNING, 9).await.is_err());
    assert!(journal.persistence_ids(None, 9).await.is_err());
    assert!(journal.persistence_ids(None, 9).await.is_ok());
}

#[tokio::test]
async fn a_journal_that_is_down_answers_nothing_until_it_comes_back() {
    let journal = holding(1).await;
    journal.next_append().is_rejected("forgotten");
    journal.goes_down();
    assert!(journal.head(&id("a")).await.is_err());
    assert!(replayed(&journal).await[0].is_err());
    let append = append(&id("a"), token(1, 1), 1, 1);
    assert_eq!(journal.append(append.clone()).await.unwrap_err().kind(), "unavailable");
    journal.comes_back();
    assert!(journal.append(append).await.is_ok());
}

#[tokio::test]
async fn lots_decide_what_no_order_does() {
    let journal = faulty();
    journal.decide_by(|call| {
        (call.operation == JournalOperation::Append).then(|| {
            Fault::new(JournalAnswer::Rejected(format!("{}", call.persistence_id.as_ref().unwrap())))
        })
    });
    journal.next_append().fails_unavailable();
    let kind = async || journal.append(append(&id("a"), token(1, 1), 0, 1)).await.unwrap_err().to_string();
    assert_eq!(kind().await, "journal unavailable: a test ordered it");
    assert_eq!(kind().await, "rejected: test|a: test|a");
    assert!(journal.claim(&id("a"), token(1, 1)).await.is_ok());
}

#[tokio::test]
async fn what_was_asked_and_answered_is_listed() {
    let journal = faulty();
    let a = id("a");
    journal.next_append().skip(1).conflicts();
    let _ = journal
        .write(vec![
            Write::Claim { persistence_id: a.clone(), token: token(1, 1) },
            write(&a, token(1, 1), 0, 3),
        ])
        .await;
    let _ = journal.append(append(&a, token(1, 1), 3, 1)).await;
    journal.next_replay().after_events(2).fails_unavailable();
    let _ = replayed(&journal).await;
    let gate = journal.next_head().waits();
    assert!(journal.head(&a).now_or_never().is_none(), "and its caller goes");
    assert_eq!(journal.delete_to(&a, nr(1)).await.map_err(|error| error.kind()), Ok(()));
    drop(gate);
    let calls: Vec<_> = journal.calls().iter().map(ToString::to_string).collect();
    assert_eq!(
        calls,
        [
            "claim test|a by 1.1 → head #0",
            "append test|a #1..#3 by 1.1 → head #3",
            "append test|a #4 by 1.1 → conflict: test|a is at 4, the append expected 3",
            "replay test|a #1.. → journal unavailable: a test ordered it, after 2 events",
            "head test|a (no answer yet)",
            "delete test|a to #1 → done",
        ]
    );
    assert_eq!(journal.commits(), [2, 1]);
    assert_eq!(
        journal.inner().head(&a).await.unwrap(),
        Head { seq_nr: nr(3), token: token(1, 1), deleted_to: nr(1), ..Head::EMPTY }
    );
}
