//! Replays in pages: sizes that change suddenly, and many at a time, which share statements.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "support/postgres.rs"]
mod postgres;
mod support;

use annals_journal::{Journal, JournalExt, PersistenceId, ReplayRange, Replayed, SeqNr};
use futures::future::join_all;
use futures::{StreamExt as _, TryStreamExt as _};

use support::{append, id, nr, token};

/// What a replay gives, in short: ranges that were deleted, and numbers with the bytes of their payloads.
async fn replayed(journal: &dyn Journal, range: ReplayRange) -> Vec<(u64, usize)> {
    let items = journal.replay(range).map(|item| {
        item.map(|item| match item {
            Replayed::Event(event) => (event.envelope.seq_nr.get(), event.envelope.payload.len()),
            Replayed::Deleted { to, .. } => (to.get(), 0),
            other => panic!("{other:?}"),
        })
    });
    items.try_collect().await.unwrap()
}

fn whole(id: &PersistenceId) -> ReplayRange {
    ReplayRange::all(id)
}

#[tokio::test]
async fn events_that_become_large_suddenly_are_all_given() {
    let Some(url) = postgres::url() else { return };
    let journal = postgres::open(&url, &postgres::schema()).await;
    let a = id("a");
    let mut sizes = Vec::new();
    // Small ones, so that a page asks for many; then some of which two fill a page; then small ones again.
    for (count, size) in [(1_500, 10), (40, 700 * 1024), (300, 10), (3, 4 * 1024 * 1024), (1_100, 1)] {
        let mut left: u64 = count;
        while left > 0 {
            let most: u64 = if size > 1_000 { 4 } else { 500 };
            let now = left.min(most);
            let mut list = append(&a, token(1, 1), sizes.len() as u64, now);
            for event in &mut list.events {
                event.payload = vec![7; size].into();
                sizes.push((event.seq_nr.get(), size));
            }
            journal.append(list).await.unwrap();
            left -= now;
        }
    }
    assert_eq!(replayed(&journal, whole(&a)).await, sizes);
    // Others on the same connections go on.
    assert_eq!(journal.head(&a).await.unwrap().seq_nr.get(), sizes.len() as u64);
    let some = ReplayRange { limit: 1_600, ..whole(&a) };
    assert_eq!(replayed(&journal, some).await, sizes[..1_600]);
    // Whoever stops in the midst leaves no trace.
    let mut began = journal.replay(whole(&a));
    began.next().await.unwrap().unwrap();
    drop(began);
    assert_eq!(replayed(&journal, whole(&a)).await, sizes);
}

#[tokio::test]
async fn many_at_a_time_get_each_their_own() {
    let Some(url) = postgres::url() else { return };
    let journal = postgres::open(&url, &postgres::schema()).await;
    let ids: Vec<PersistenceId> = (0..150).map(|n| id(&format!("a-{n}"))).collect();
    for (n, id) in ids.iter().enumerate() {
        let events = n as u64 % 7;
        if events > 0 {
            journal.append(append(id, token(1, 1), 0, events)).await.unwrap();
        }
        if events > 3 {
            journal.delete_to(id, nr(2)).await.unwrap();
        }
    }
    let wanted = |n: usize| match n as u64 % 7 {
        0 => Vec::new(),
        events @ 1..=3 => (1..=events).collect(),
        events => (2..=events).collect::<Vec<_>>(),
    };
    let read = ids.iter().map(async |id| {
        let items = replayed(&journal, whole(id)).await;
        items.into_iter().map(|(number, _)| number).collect::<Vec<_>>()
    });
    for (n, numbers) in join_all(read).await.into_iter().enumerate() {
        assert_eq!(numbers, wanted(n), "{}", ids[n]);
    }
    // Each with its own bounds.
    let from = |n: usize| SeqNr::new(1 + n as u64 % 3).unwrap();
    let read = ids.iter().enumerate().map(async |(n, id)| {
        let range = ReplayRange { from: from(n), to: from(n), ..whole(id) };
        replayed(&journal, range).await.into_iter().map(|(number, _)| number).collect::<Vec<_>>()
    });
    for (n, numbers) in join_all(read).await.into_iter().enumerate() {
        let here = wanted(n).last().is_some_and(|last| *last >= from(n).get());
        assert_eq!(numbers, if here { vec![from(n).get()] } else { Vec::new() }, "{}", ids[n]);
    }
}
