//! Histories that are opened in several runs, some of them ahead and in tasks of their own, read as those that are opened one event after
//! the other.
#![cfg(feature = "encryption")]
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "support/sealed.rs"]
mod behind_keys;
mod support;

use std::sync::Arc;

use annals_journal::encryption::SealedJournal;
use annals_journal::{
    Envelope, Journal, JournalError, JournalExt, MemoryJournal, PersistenceId, ReplayRange, Replayed,
    StoredEvent,
};
use behind_keys::sealed;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use support::{append, event, id, nr, token};

/// Some runs of 128, and something behind them.
const EVENTS: u64 = 1_000;
/// Beginnings, ends and middles of runs.
const PLACES: [u64; 13] = [1, 2, 127, 128, 129, 130, 255, 256, 257, 513, 640, 999, 1_000];

async fn long() -> (Arc<MemoryJournal>, SealedJournal, PersistenceId) {
    let memory = Arc::new(MemoryJournal::new());
    let journal = sealed(memory.clone(), memory.clone()).await;
    let alice = id("alice");
    for expected in (0..EVENTS).step_by(100) {
        journal.append(append(&alice, token(1, 1), expected, 100)).await.unwrap();
    }
    (memory, journal, alice)
}

/// What is given before the end or the error.
async fn read(journal: &impl Journal, range: ReplayRange) -> (Vec<StoredEvent>, Option<JournalError>) {
    let mut items = journal.replay(range);
    let mut events = Vec::new();
    while let Some(item) = items.next().await {
        match item {
            Ok(Replayed::Event(event)) => events.push(event),
            Ok(other) => panic!("{other:?}"),
            Err(error) => return (events, Some(error)),
        }
    }
    (events, None)
}

async fn one(journal: &impl Journal, id: &PersistenceId, number: u64) -> StoredEvent {
    let (mut events, error) = read(journal, ReplayRange::all(id).from(nr(number)).limit(1)).await;
    assert!(error.is_none(), "{error:?}");
    events.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_part_of_a_long_history_is_read() {
    let (_, journal, alice) = long().await;
    let expected: Vec<_> = (1..=EVENTS).map(|number| event(&alice, number, token(1, 1)).payload).collect();
    for from in PLACES {
        for limit in [1, 2, 128, 129, 300, u64::MAX] {
            let range = ReplayRange::all(&alice).from(nr(from)).limit(limit);
            let (events, error) = read(&journal, range).await;
            assert!(error.is_none(), "from {from}, {limit}: {error:?}");
            let payloads: Vec<_> = events.iter().map(|event| event.envelope.payload.clone()).collect();
            let first = from as usize - 1;
            let last = first.saturating_add(limit.try_into().unwrap_or(usize::MAX)).min(expected.len());
            assert_eq!(payloads, expected[first..last], "from {from}, {limit}");
            assert!(events.iter().all(|event| event.envelope.key_id.is_none()));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_changed_is_found_behind_all_that_is_right_before_it() {
    let (memory, journal, alice) = long().await;
    for place in PLACES {
        let stored = one(&*memory, &alice, place).await;
        let mut payload = stored.envelope.payload.to_vec();
        *payload.last_mut().unwrap() ^= 1;
        let changed = Envelope { payload: payload.into(), ..stored.envelope.clone() };
        assert!(memory.replace(&stored, changed).await.unwrap());
        let (events, error) = read(&journal, ReplayRange::all(&alice)).await;
        let Some(JournalError::Corrupt { persistence_id, seq_nr, .. }) = &error else { panic!("{error:?}") };
        assert_eq!((persistence_id.as_ref(), *seq_nr), (Some(&alice), Some(nr(place))), "{error:?}");
        assert_eq!(events.len() as u64, place - 1);
        let changed = one(&*memory, &alice, place).await;
        assert!(memory.replace(&changed, stored.envelope).await.unwrap());
    }
    assert_eq!(read(&journal, ReplayRange::all(&alice)).await.0.len() as u64, EVENTS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_were_sealed_anew_are_read_between_the_others() {
    let (_, journal, alice) = long().await;
    // One after the other, with what is known, and at last by somebody who knows nothing.
    for place in PLACES {
        let old = one(&journal, &alice, place).await;
        let new = Envelope { payload: Bytes::from(format!("new {place}")), ..old.envelope.clone() };
        assert!(journal.replace(&old, new).await.unwrap());
        assert_eq!(read(&journal, ReplayRange::all(&alice)).await.0.len() as u64, EVENTS, "{place}");
    }
    let (events, error) = read(&journal, ReplayRange::all(&alice)).await;
    assert!(error.is_none(), "{error:?}");
    for place in PLACES {
        assert_eq!(events[place as usize - 1].envelope.payload, format!("new {place}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_goes_on_while_events_before_and_behind_it_are_sealed_anew() {
    let (_, journal, alice) = long().await;
    for place in PLACES {
        let mut items = journal.replay(ReplayRange::all(&alice));
        let mut count = 0;
        while count < place.min(300) {
            items.try_next().await.unwrap().unwrap();
            count += 1;
        }
        for number in [place, (place + 1).min(EVENTS), EVENTS] {
            let old = one(&journal, &alice, number).await;
            let new = Envelope { payload: Bytes::from(format!("{place}")), ..old.envelope.clone() };
            assert!(journal.replace(&old, new).await.unwrap());
        }
        while items.try_next().await.unwrap().is_some() {
            count += 1;
        }
        assert_eq!(count, EVENTS);
    }
}
