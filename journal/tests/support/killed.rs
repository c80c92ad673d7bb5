//! What a journal on a server owes when the server is killed under load.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use annals_journal::{
    GroupCommit, GroupCommitSettings, Head, Journal, JournalError, JournalExt, Offset, PageItem,
    PersistenceId, ReplayRange, Replayed, SliceRange, Token,
};
use futures::TryStreamExt as _;

use crate::children::{Dice, seed};
use crate::support::{append, id, token};

const WRITERS: u64 = 6;

/// What the writers know.
#[derive(Default)]
struct Told {
    stop: AtomicBool,
    /// Events that were acknowledged, over all ids.
    acknowledged: AtomicU64,
    unknown: AtomicU64,
    unavailable: AtomicU64,
}

/// An owner as entities are: appends; after an error it takes the id over under a newer activation, reads where it is, and goes on.
async fn own(journal: GroupCommit, n: u64, told: Arc<Told>) -> (PersistenceId, u64) {
    let id = id(&format!("w{n}"));
    let (mut activation, mut acknowledged) = (0, 0);
    while !told.stop.load(Ordering::SeqCst) {
        activation += 1;
        let token = token(1, activation);
        let Some(claimed) = answered(&told, journal.claim(&id, token).await) else { continue };
        let mut head = claimed.seq_nr.get();
        assert!(head >= acknowledged, "{id} is at {head}, {acknowledged} was acknowledged");
        acknowledged = go_on(&journal, &id, token, &mut head, &told).await.max(acknowledged);
    }
    (id, acknowledged)
}

/// Appends until something fails; the last number that was acknowledged.
async fn go_on(journal: &GroupCommit, id: &PersistenceId, token: Token, head: &mut u64, told: &Told) -> u64 {
    let mut acknowledged = 0;
    while !told.stop.load(Ordering::SeqCst) {
        let count = 1 + *head % 3;
        let Some(stored) = answered(told, journal.append(append(id, token, *head, count)).await) else {
            break;
        };
        *head += count;
        assert_eq!(stored.seq_nr.get(), *head);
        acknowledged = *head;
        told.acknowledged.fetch_add(count, Ordering::SeqCst);
    }
    acknowledged
}

fn answered(told: &Told, answer: Result<Head, JournalError>) -> Option<Head> {
    match answer {
        Ok(head) => return Some(head),
        Err(JournalError::Unknown { .. }) => told.unknown.fetch_add(1, Ordering::SeqCst),
        Err(JournalError::Unavailable { .. }) => told.unavailable.fetch_add(1, Ordering::SeqCst),
        // An append of ours whose outcome was unknown cannot be in the way: a newer activation claims before it reads.
        Err(error) => panic!("{error}"),
    };
    None
}

/// A reader by slice that goes on behind its mark, whatever happens to the server.
async fn read_on(journal: &dyn Journal, mark: &mut Offset, heads: &mut HashMap<PersistenceId, u64>) {
    loop {
        let page = match journal.events_by_slice(SliceRange::ALL, *mark, 500).await {
            Ok(page) => page,
            // The connection was the dead server's.
            Err(JournalError::Unavailable { .. }) => {
                tokio::task::yield_now().await;
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        for item in &page.items {
            let PageItem::Event(event) = item else { panic!("nothing was deleted: {item:?}") };
            let head = heads.entry(event.envelope.persistence_id.clone()).or_default();
            assert_eq!(
                event.envelope.seq_nr.get(),
                *head + 1,
                "{}: read after {head}",
                event.envelope.persistence_id
            );
            *head += 1;
        }
        *mark = page.complete_to;
        if page.items.len() < 500 {
            return;
        }
    }
}

/// Owners append and a reader reads while a server is killed again and again; nothing that was acknowledged may be missing, or read
/// twice or out of order.
///
/// `restart` kills the server and starts it where it was; `log` is what the server says. It takes so long, and three kills at least.
pub(crate) async fn survives_kills(
    backend: Arc<dyn Journal>,
    time: Duration,
    restart: impl Fn(),
    log: impl Fn() -> String,
) {
    let (seed, ends) = (seed(), Instant::now() + time);
    println!("seed {seed}");
    let mut dice = Dice::new(seed);
    let journal = GroupCommit::new(backend.clone(), GroupCommitSettings::default());
    let told = Arc::new(Told::default());
    let owners: Vec<_> = (0..WRITERS).map(|n| tokio::spawn(own(journal.clone(), n, told.clone()))).collect();
    let (mut mark, mut heads, mut kills) = (Offset::BEGINNING, HashMap::new(), 0);
    while kills < 3 || Instant::now() < ends {
        // All owners came back, and there is load.
        let before = told.acknowledged.load(Ordering::SeqCst);
        let more = 20 + dice.below(200);
        let began = Instant::now();
        while told.acknowledged.load(Ordering::SeqCst) < before + more {
            assert!(began.elapsed() < Duration::from_secs(120), "nobody comes back: {}", log());
            assert!(!owners.iter().any(tokio::task::JoinHandle::is_finished), "an owner ended");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::task::block_in_place(&restart);
        kills += 1;
        read_on(&*backend, &mut mark, &mut heads).await;
    }
    told.stop.store(true, Ordering::SeqCst);
    for owner in owners {
        let (id, acknowledged) = owner.await.unwrap();
        let events: Vec<_> = backend.replay(ReplayRange::all(&id)).try_collect().await.unwrap();
        let numbers = events.iter().map(|item| match item {
            Replayed::Event(event) => event.envelope.seq_nr.get(),
            other => panic!("{other:?}"),
        });
        assert!(numbers.eq(1..=events.len() as u64), "{id}: a gap");
        assert!(
            events.len() as u64 >= acknowledged,
            "{id}: {} events, {acknowledged} acknowledged",
            events.len()
        );
        read_on(&*backend, &mut mark, &mut heads).await;
        assert_eq!(heads[&id], events.len() as u64, "{id}: a reader by slice missed something");
    }
    let count = |number: &AtomicU64| number.load(Ordering::SeqCst);
    println!(
        "{kills} kills, {} events acknowledged, {} outcomes unknown, {} times unavailable",
        count(&told.acknowledged),
        count(&told.unknown),
        count(&told.unavailable)
    );
    assert!(count(&told.unknown) + count(&told.unavailable) > 0, "the kills were noticed");
    journal.shutdown().await;
}
