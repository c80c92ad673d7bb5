//! One writer (I4): tokens, claims, and everything an older writer may try.

use std::sync::Arc;

use futures::FutureExt;

use super::Harness;
use super::sample::*;
use crate::{Head, Journal, JournalError, JournalExt, PersistenceId, ReplayRange, Token};

const OLD: Token = token(1, 9);
const NEW: Token = token(2, 1);

/// A claim says where the id stands, raises the token, and stores no event.
pub async fn a_claim_takes_over_and_says_the_head(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    let claimed = journal.claim(&a, OLD).await.unwrap();
    assert_eq!(claimed, Head { token: OLD, ..Head::EMPTY });
    journal.append(append(&a, OLD, 0, 3)).await.unwrap();
    let claimed = journal.claim(&a, NEW).await.unwrap();
    assert_eq!(claimed, Head { seq_nr: nr(3), token: NEW, ..Head::EMPTY });
    assert_eq!(journal.head(&a).await.unwrap(), claimed);
    assert_eq!(shown_range(&journal, ReplayRange::all(&a)).await, "1 2 3");
}

/// Claiming again under the same token is the same claim.
pub async fn a_claim_may_be_repeated(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    assert_eq!(journal.claim(&a, OLD).await.unwrap(), journal.claim(&a, OLD).await.unwrap());
    journal.append(append(&a, OLD, 0, 1)).await.unwrap();
    assert_eq!(journal.claim(&a, OLD).await.unwrap().seq_nr, nr(1));
}

/// After a claim the older epoch's append is fenced, on the right head too.
pub async fn a_stale_append_after_a_claim_is_fenced(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    owned(&journal, &a, 2).await;
    journal.claim(&a, NEW).await.unwrap();
    let error = refused!(journal.append(append(&a, OLD, 2, 1)).await, Fenced);
    let JournalError::Fenced { persistence_id, token, stored } = error else { unreachable!() };
    assert_eq!((persistence_id, token, stored), (a.clone(), OLD, NEW));
    assert_eq!(shown_range(&journal, ReplayRange::all(&a)).await, "1 2");
}

/// After a claim by a newer activation of the same epoch, the older activation's append is superseded.
pub async fn an_older_activations_append_is_superseded(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    owned(&journal, &a, 2).await;
    let newer = token(OLD.epoch.0, OLD.activation + 1);
    journal.claim(&a, newer).await.unwrap();
    let error = refused!(journal.append(append(&a, OLD, 2, 1)).await, Superseded);
    let JournalError::Superseded { token, stored, .. } = error else { unreachable!() };
    assert_eq!((token, stored), (OLD, newer));
    assert_eq!(journal.append(append(&a, newer, 2, 1)).await.unwrap().seq_nr, nr(3));
}

/// The newest owner's append raises the token like a claim, and fences whoever is older.
pub async fn a_stale_append_after_the_new_owners_append_is_fenced(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    owned(&journal, &a, 2).await;
    let head = journal.append(append(&a, NEW, 2, 1)).await.unwrap();
    assert_eq!(head.token, NEW);
    for expected in [2, 3] {
        // On the old head both are true, and fenced is what is said.
        refused!(journal.append(append(&a, OLD, expected, 1)).await, Fenced);
    }
    assert_eq!(events(&journal, &a).await[2].envelope.token, NEW);
}

/// Of a stale append of five against one event of the new owner, nothing is stored.
pub async fn nothing_of_a_stale_batch_is_stored(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    owned(&journal, &a, 2).await;
    journal.append(append(&a, NEW, 2, 1)).await.unwrap();
    refused!(journal.append(append(&a, OLD, 2, 5)).await, Fenced);
    assert_eq!(shown_range(&journal, ReplayRange::all(&a)).await, "1 2 3");
    assert_eq!(journal.append(append(&a, NEW, 3, 1)).await.unwrap().seq_nr, nr(4));
}

/// Deleting does not let the stale writer in: not after everything was deleted, nor all but the last.
pub async fn a_stale_append_is_fenced_after_the_new_owner_deleted(h: &mut Harness) {
    for (name, kept) in [("nothing-left", 0), ("last-left", 1)] {
        let (journal, a) = (h.journal(), id(name));
        owned(&journal, &a, 2).await;
        let head = journal.append(append(&a, NEW, 2, 1)).await.unwrap();
        journal.delete_to(&a, nr(head.seq_nr.get() - kept)).await.unwrap();
        for expected in 0..=3 {
            refused!(journal.append(append(&a, OLD, expected, 1)).await, Fenced);
            refused!(journal.append(append(&a, OLD, expected, 5)).await, Fenced);
        }
        assert_eq!(journal.append(append(&a, NEW, 3, 1)).await.unwrap().seq_nr, nr(4));
    }
}

/// A claim with a lower epoch is fenced, with a lower activation superseded; the token stays.
pub async fn an_older_claim_is_refused(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    journal.claim(&a, token(5, 5)).await.unwrap();
    refused!(journal.claim(&a, token(4, 9)).await, Fenced);
    refused!(journal.claim(&a, token(5, 4)).await, Superseded);
    assert_eq!(journal.head(&a).await.unwrap().token, token(5, 5));
    journal.append(append(&a, token(5, 5), 0, 1)).await.unwrap();
}

/// The sharp one: n+1 fails, n+2 of the same token is under way, a new activation stores another n+1: n+2 is refused.
pub async fn an_append_on_top_of_a_failed_one_is_never_stored(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    owned(&journal, &a, 2).await;
    // n+1 failed: it was never stored. n+2, which builds on it, is under way.
    let under_way = append(&a, OLD, 3, 1);
    refused!(journal.append(under_way.clone()).await, Conflict);
    let activation = token(OLD.epoch.0, OLD.activation + 1);
    journal.claim(&a, activation).await.unwrap();
    journal.append(append(&a, activation, 2, 1)).await.unwrap();
    // Now the head is the one that n+2 expects.
    refused!(journal.append(under_way).await, Superseded);
    let stored = events(&journal, &a).await;
    assert_eq!(stored.len(), 3);
    assert_eq!(stored[2].envelope.token, activation);
}

/// As the clause above, in one list.
pub async fn an_append_on_top_of_a_failed_one_is_refused_in_its_list(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    owned(&journal, &a, 2).await;
    let activation = token(OLD.epoch.0, OLD.activation + 1);
    let list = vec![
        write(&a, OLD, 1, 1),
        write(&a, OLD, 2, 1),
        write(&a, activation, 2, 1),
        write(&a, OLD, 3, 1),
        write(&a, activation, 3, 1),
    ];
    let answers = journal.write(list).await;
    for refused in [0, 1, 3] {
        assert!(matches!(answers[refused], Err(JournalError::Conflict { .. })), "{answers:?}");
    }
    assert_eq!(answers[2].as_ref().unwrap().seq_nr, nr(3));
    assert_eq!(answers[4].as_ref().unwrap().seq_nr, nr(4));
    assert!(events(&journal, &a).await[2..].iter().all(|event| event.envelope.token == activation));
}

/// After a conflict the owner claims, catches up, and its append is stored.
pub async fn after_a_conflict_the_owner_catches_up(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    owned(&journal, &a, 2).await;
    // Somebody wrote under the same token: a maintenance tool.
    journal.append(append(&a, OLD, 2, 1)).await.unwrap();
    refused!(journal.append(append(&a, OLD, 2, 1)).await, Conflict);
    let activation = token(OLD.epoch.0, OLD.activation + 1);
    let head = journal.claim(&a, activation).await.unwrap();
    let missed = replay(&journal, ReplayRange::all(&a).from(nr(3)).to(head.seq_nr)).await;
    assert_eq!(shown(&missed), "3");
    assert_eq!(journal.append(append(&a, activation, 3, 1)).await.unwrap().seq_nr, nr(4));
}

/// After an unknown outcome the writer claims under a newer activation and reads: what is there then is all there will be.
pub async fn after_an_unknown_outcome_claiming_and_reading_settles_it(h: &mut Harness) {
    for polls in 0..6 {
        let (journal, a) = (h.journal(), id(&format!("polls-{polls}")));
        owned(&journal, &a, 2).await;
        let lost = append(&a, OLD, 2, 2);
        lose(&journal, lost.clone(), polls).await;
        let activation = token(OLD.epoch.0, OLD.activation + 1);
        let head = journal.claim(&a, activation).await.unwrap();
        let seen = events(&journal, &a).await;
        assert_eq!(seen.len() as u64, head.seq_nr.get());
        assert!(seen.len() == 2 || seen.len() == 4, "half an append: {}", seen.len());
        // The lost request reaches the store once more, late.
        refused!(journal.append(lost).await, Superseded);
        assert_eq!(events(&journal, &a).await, seen);
        journal.append(append(&a, activation, head.seq_nr.get(), 1)).await.unwrap();
    }
}

/// Two unknown outcomes in a row: each takes a newer activation, and neither lost append appears later.
pub async fn two_unknown_outcomes_in_a_row_are_settled(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    owned(&journal, &a, 2).await;
    let first = append(&a, OLD, 2, 1);
    lose(&journal, first.clone(), 0).await;
    let second_token = token(OLD.epoch.0, OLD.activation + 1);
    let head = journal.claim(&a, second_token).await.unwrap();
    let second = append(&a, second_token, head.seq_nr.get(), 1);
    lose(&journal, second.clone(), 0).await;
    let third_token = token(OLD.epoch.0, OLD.activation + 2);
    let head = journal.claim(&a, third_token).await.unwrap();
    let seen = events(&journal, &a).await;
    for late in [second, first] {
        refused!(journal.append(late).await, Superseded);
    }
    assert_eq!(events(&journal, &a).await, seen);
    assert!(journal.append(append(&a, third_token, head.seq_nr.get(), 1)).await.is_ok());
}

/// Verifying is `Ok` exactly when the stored token is the given one; it raises nothing and creates no id.
pub async fn verifying_says_whether_a_token_is_the_newest(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    refused!(journal.verify(&a, token(1, 1)).await, Superseded);
    assert_eq!(journal.persistence_ids(None, 10).await.unwrap(), []);
    journal.append(append(&a, token(3, 3), 0, 2)).await.unwrap();
    let head = Head { seq_nr: nr(2), token: token(3, 3), ..Head::EMPTY };
    assert_eq!(journal.verify(&a, token(3, 3)).await.unwrap(), head);
    refused!(journal.verify(&a, token(2, 9)).await, Fenced);
    refused!(journal.verify(&a, token(3, 2)).await, Superseded);
    refused!(journal.verify(&a, token(3, 4)).await, Superseded);
    refused!(journal.verify(&a, token(4, 1)).await, Superseded);
    assert_eq!(journal.head(&a).await.unwrap(), head);
}

/// A list's verification sees the claims and appends before it in the list.
pub async fn verifying_sees_what_stands_before_it_in_its_list(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    let list = vec![claim(&a, OLD), verify(&a, OLD), claim(&a, NEW), verify(&a, OLD), verify(&a, NEW)];
    let answers = journal.write(list).await;
    assert!(
        answers[0].is_ok() && answers[1].is_ok() && answers[2].is_ok() && answers[4].is_ok(),
        "{answers:?}"
    );
    assert!(matches!(answers[3], Err(JournalError::Fenced { .. })), "{answers:?}");
}

/// Token and head are not forgotten when everything is deleted and the store is opened again.
pub async fn a_token_is_never_forgotten(h: &mut Harness) {
    let a = id("a");
    owned(&h.journal(), &a, 3).await;
    h.journal().claim(&a, NEW).await.unwrap();
    h.journal().delete_to(&a, nr(3)).await.unwrap();
    h.reopen().await;
    let journal = h.journal();
    assert_eq!(
        journal.head(&a).await.unwrap(),
        Head { seq_nr: nr(3), token: NEW, deleted_to: nr(3), ..Head::EMPTY }
    );
    refused!(journal.append(append(&a, OLD, 0, 1)).await, Fenced);
    refused!(journal.append(append(&a, OLD, 3, 1)).await, Fenced);
    refused!(journal.claim(&a, OLD).await, Fenced);
    refused!(journal.append(append(&a, NEW, 0, 1)).await, Conflict);
}

/// Epochs rank before activations, and the highest numbers rank highest.
pub async fn tokens_are_ordered_by_epoch_then_activation(h: &mut Harness) {
    const TOP: u64 = i64::MAX as u64;
    let (journal, a) = (h.journal(), id("a"));
    let rising = [token(0, 1), token(1, 0), token(1, TOP), token(2, 0), token(TOP, 1), token(TOP, TOP)];
    for (n, now) in rising.iter().enumerate() {
        assert_eq!(journal.claim(&a, *now).await.unwrap().token, *now);
        for older in &rising[..n] {
            assert!(journal.claim(&a, *older).await.is_err(), "{older} after {now}");
        }
    }
}

/// Of many that claim at once, the highest token is stored in the end, and from then on no other can append.
pub async fn of_concurrent_claims_the_newest_wins(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    let (other, _) = h.another().await;
    let claims = (1..=40_u64).map(|n| {
        let (journal, a) = (Arc::clone(if n % 2 == 0 { &journal } else { &other }), a.clone());
        tokio::spawn(async move { journal.claim(&a, token(1 + n % 3, n)).await })
    });
    let newest = token(3, 38);
    for answer in futures::future::join_all(claims).await {
        if let Err(error) = answer.unwrap() {
            assert!(
                matches!(error, JournalError::Fenced { .. } | JournalError::Superseded { .. }),
                "{error}"
            );
        }
    }
    assert_eq!(journal.head(&a).await.unwrap().token, newest);
    refused!(journal.append(append(&a, token(3, 35), 0, 1)).await, Superseded);
    assert!(other.append(append(&a, newest, 0, 1)).await.is_ok());
}

/// However hard an older writer tries, the newest owner claims, catches up and goes on at once.
pub async fn the_newest_owner_is_never_refused_for_good(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    let (other, _) = h.another().await;
    let stale = tokio::spawn({
        let a = a.clone();
        async move {
            let mut expected = 0;
            loop {
                match other.append(append(&a, OLD, expected, 1)).await {
                    Ok(head) => expected = head.seq_nr.get(),
                    Err(JournalError::Conflict { head, .. }) => expected = head.get(),
                    Err(error) => return error,
                }
                tokio::task::yield_now().await;
            }
        }
    });
    while journal.head(&a).await.unwrap().seq_nr < nr(5) {
        tokio::task::yield_now().await;
    }
    let mut head = journal.claim(&a, NEW).await.unwrap();
    for _ in 0..20 {
        head = journal.append(append(&a, NEW, head.seq_nr.get(), 1)).await.unwrap();
    }
    assert!(matches!(stale.await.unwrap(), JournalError::Fenced { .. }));
    let stored = events(&journal, &a).await;
    let owners: Vec<_> = stored.iter().map(|event| event.envelope.token).collect();
    assert!(owners.is_sorted(), "an older writer's event stands behind a newer one's: {owners:?}");
    assert_eq!(owners.iter().filter(|owner| **owner == NEW).count(), 20);
}

/// Stores `count` events as [`OLD`].
async fn owned(journal: &Arc<dyn Journal>, id: &PersistenceId, count: u64) {
    journal.claim(id, OLD).await.unwrap();
    journal.append(append(id, OLD, 0, count)).await.unwrap();
}

/// Sends an append and does not wait for its answer.
async fn lose(journal: &Arc<dyn Journal>, append: crate::AtomicWrite, polls: usize) {
    let mut call = journal.append(append).boxed();
    for _ in 0..polls {
        if call.as_mut().now_or_never().is_some() {
            return;
        }
        tokio::task::yield_now().await;
    }
}
