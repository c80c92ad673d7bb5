//! Many writers and readers at once, through several handles.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;

use super::Harness;
use super::sample::*;
use crate::{Head, Journal, JournalError, JournalExt, ReplayRange, Write};

/// Of concurrent appends that build on the same head at most one is stored: every number has one event, that of the
/// writer who was told so, and the others are told of a conflict.
pub async fn of_concurrent_appends_on_one_head_one_is_stored(h: &mut Harness) {
    const WRITERS: u64 = 8;
    const WINS: u64 = 12;
    let (journal, a) = (h.journal(), id("a"));
    let (other, _) = h.another().await;
    // All under one token: only the head decides.
    let writers = (1..=WRITERS).map(|writer| {
        let (journal, a) = (Arc::clone(if writer % 2 == 0 { &journal } else { &other }), a.clone());
        tokio::spawn(async move {
            let (mut expected, mut won) = (0, Vec::new());
            while (won.len() as u64) < WINS {
                let mut append = append(&a, OWNER, expected, 1);
                append.events[0].schema_version = u32::try_from(writer).unwrap();
                match journal.append(append).await {
                    Ok(head) => {
                        assert_eq!(head.seq_nr, nr(expected + 1));
                        won.push(head.seq_nr.get());
                        expected += 1;
                    }
                    // Perhaps another's conflict: writers of one token that meet in one list share their failures.
                    Err(JournalError::Conflict { .. }) => {
                        expected = journal.head(&a).await.unwrap().seq_nr.get();
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            (writer, won)
        })
    });
    let mut winners = BTreeMap::new();
    for writer in join_all(writers).await {
        let (writer, won) = writer.unwrap();
        for number in won {
            assert_eq!(winners.insert(number, writer), None, "{number} was acknowledged twice");
        }
    }
    let stored = events(&journal, &a).await;
    let stored: BTreeMap<_, _> = stored
        .iter()
        .map(|event| (event.envelope.seq_nr.get(), u64::from(event.envelope.schema_version)))
        .collect();
    assert_eq!(stored, winners);
    assert_eq!(stored.keys().copied().collect::<Vec<_>>(), (1..=WRITERS * WINS).collect::<Vec<_>>());
}

/// Owners that take an id from each other, each with a newer token: the log has whole appends only, in the order
/// of their tokens, and every acknowledged one is there.
pub async fn owners_that_take_over_from_each_other_leave_one_history(h: &mut Harness) {
    const OWNERS: u64 = 6;
    const BATCH: u64 = 3;
    let (journal, a) = (h.journal(), id("a"));
    let (other, _) = h.another().await;
    let owners = (0..OWNERS).map(|owner| {
        let (journal, a) = (Arc::clone(if owner % 2 == 0 { &journal } else { &other }), a.clone());
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for round in 1..=8 {
                let token = token(round, owner);
                let Ok(mut head) = journal.claim(&a, token).await else { continue };
                for _ in 0..4 {
                    match journal.append(append(&a, token, head.seq_nr.get(), BATCH)).await {
                        Ok(newer) => {
                            head = newer;
                            acknowledged.push((head.seq_nr, token));
                        }
                        Err(JournalError::Fenced { .. } | JournalError::Superseded { .. }) => break,
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            acknowledged
        })
    });
    let acknowledged: Vec<_> = join_all(owners).await.into_iter().flat_map(Result::unwrap).collect();
    let stored = events(&journal, &a).await;
    let tokens: Vec<_> = stored.iter().map(|event| event.envelope.token).collect();
    assert!(tokens.is_sorted(), "an older owner's event stands behind a newer one's: {tokens:?}");
    for batch in tokens.chunks(usize::try_from(BATCH).unwrap()) {
        assert!(batch.iter().all(|token| *token == batch[0]), "a part of an append: {tokens:?}");
    }
    assert_eq!(stored.len(), acknowledged.len() * usize::try_from(BATCH).unwrap());
    for (last, token) in acknowledged {
        let event = &stored[usize::try_from(last.get() - 1).unwrap()];
        assert_eq!(event.envelope.token, token, "an acknowledged event is another's: {last:?}");
    }
}

/// Under load every entity's events stay in order and its own.
pub async fn each_entitys_events_stay_in_order_under_load(h: &mut Harness) {
    const ENTITIES: u64 = 24;
    const APPENDS: u64 = 20;
    let (journal, (other, _)) = (h.journal(), h.another().await);
    let entities = (0..ENTITIES).map(|n| {
        let journal = Arc::clone(if n % 2 == 0 { &journal } else { &other });
        tokio::spawn(async move {
            let (own, shared) = (id(&format!("e{n}")), id(&format!("s{n}")));
            let mut expected = 0;
            for round in 0..APPENDS {
                // Two ids in one list, one of them twice.
                let list = vec![
                    write(&own, OWNER, expected, 1 + round % 3),
                    write(&shared, OWNER, round, 1),
                    write(&own, OWNER, expected + 1 + round % 3, 1),
                ];
                let heads: Vec<_> = journal.write(list).await.into_iter().map(Result::unwrap).collect();
                expected = heads[2].seq_nr.get();
            }
            (own, expected)
        })
    });
    for entity in join_all(entities).await {
        let (own, count) = entity.unwrap();
        let stored = events(&journal, &own).await;
        assert_eq!(stored.len() as u64, count);
        for (number, event) in (1..).zip(stored) {
            assert_eq!(event.envelope, event_of(&own, number));
        }
    }
}

/// A reader sees an append whole or not at all, and never less than it saw before.
pub async fn readers_see_appends_whole(h: &mut Harness) {
    const BATCH: u64 = 5;
    const ROUNDS: u64 = 60;
    let (journal, a) = (h.journal(), id("a"));
    let (other, _) = h.another().await;
    let mut seen = 0;
    for round in 0..ROUNDS {
        let writer = tokio::spawn({
            let (journal, a) = (Arc::clone(&journal), a.clone());
            async move { journal.append(append(&a, OWNER, round * BATCH, BATCH)).await }
        });
        // At least one look that begins after the append was answered.
        loop {
            let answered = writer.is_finished();
            let head = other.head(&a).await.unwrap().seq_nr.get();
            let unread = ReplayRange::all(&a).from(nr(seen + 1));
            let count = seen + replay(&other, unread).await.len() as u64;
            assert!(
                head >= seen && count >= head,
                "head {head}, then {count} events, {seen} were seen before"
            );
            assert_eq!((head % BATCH, count % BATCH), (0, 0), "a part of an append was seen");
            seen = count;
            if answered {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert_eq!(writer.await.unwrap().unwrap().seq_nr, nr(seen));
    }
}

/// The head is linearizable: whoever asks after an answer sees at least what was answered, and it never goes back.
pub async fn the_head_never_goes_back(h: &mut Harness) {
    let (journal, a) = (h.journal(), id("a"));
    let (other, _) = h.another().await;
    let handles: [Arc<dyn Journal>; 2] = [journal, other];
    let writers = (0..4).map(|n| {
        let (handles, a) = (handles.clone(), a.clone());
        tokio::spawn(async move {
            for _ in 0..25 {
                let at = handles[n % 2].head(&a).await.unwrap();
                let answer = handles[n % 2].append(append(&a, OWNER, at.seq_nr.get(), 1)).await;
                let known = match answer {
                    Ok(Head { seq_nr, .. }) => seq_nr,
                    Err(JournalError::Conflict { head, .. }) => head,
                    Err(error) => panic!("{error}"),
                };
                assert!(known >= at.seq_nr, "the head is {known:?} after {:?} was read", at.seq_nr);
                let later = handles[(n + 1) % 2].head(&a).await.unwrap().seq_nr;
                assert!(later >= known, "the head is {later:?} after {known:?} was answered");
            }
        })
    });
    for writer in join_all(writers).await {
        writer.unwrap();
    }
}

/// Writers of different ids, claims, verifications, deletions and readers do not disturb each other.
pub async fn all_calls_run_beside_each_other(h: &mut Harness) {
    let (journal, (other, _)) = (h.journal(), h.another().await);
    let tasks = (0..8_u64).map(|n| {
        let journal = Arc::clone(if n % 2 == 0 { &journal } else { &other });
        tokio::spawn(async move {
            let a = id(&format!("e{n}"));
            for round in 0..15_u64 {
                let token = token(1, round + 1);
                let list: Vec<Write> =
                    vec![claim(&a, token), write(&a, token, round * 2, 2), verify(&a, token)];
                let answers = journal.write(list).await;
                assert!(answers.iter().all(Result::is_ok), "{answers:?}");
                journal.delete_to(&a, nr(round * 2)).await.unwrap();
                let shown = shown_range(&journal, ReplayRange::all(&a)).await;
                let alive = format!("{} {}", round * 2 + 1, round * 2 + 2);
                let expected = if round == 0 { alive } else { format!("[1-{}] {alive}", round * 2) };
                assert_eq!(shown, expected);
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
}

fn event_of(id: &crate::PersistenceId, number: u64) -> crate::Envelope {
    event(id, number, OWNER)
}
