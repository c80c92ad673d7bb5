//! A snapshot of any version with the events behind it is what all events are: as stored, rewritten, and copied.

use std::sync::Arc;

use annals_journal::{
    Codec, EventDigest, Journal, MemoryJournal, PersistenceId, ReplayRange, Replayed, SeqNr, Timestamp,
};
use annals_migrations::copy::{Copy, Side};
use annals_migrations::rewrite::{Sweep, Target};
use annals_migrations::{EventAdapter, Form, ListAdapter, Versions};
use annals_snapshot::{MemorySnapshotStore, Snapshot, SnapshotStore};
use futures::TryStreamExt;
use proptest::prelude::*;

use crate::history::{Account, History, Stored, events, histories, id, rewriter, states};

/// The state behind some of the events.
async fn folded(journal: &MemoryJournal, mut state: Account, range: ReplayRange) -> Account {
    let adapter = ListAdapter::new(events());
    let items: Vec<Replayed> = journal.replay(range).try_collect().await.unwrap();
    for item in items {
        let Replayed::Event(event) = item else { panic!("nothing was deleted") };
        adapter.from_journal(&event.envelope, &mut |change| state.changes.push(change)).unwrap();
    }
    state
}

fn fresh() -> Account {
    Account { open: true, ..Account::default() }
}

/// What a build recovers from the newest snapshot, and from all events.
async fn recovered(stored: &Stored, id: &PersistenceId) -> (Account, Account) {
    let whole = folded(&stored.journal, fresh(), ReplayRange::all(id)).await;
    let from_snapshot = match stored.snapshots.load(id, SeqNr::MAX).await.unwrap() {
        None => whole.clone(),
        Some(snapshot) => {
            let Snapshot { manifest, schema_version, codec, payload, seq_nr, .. } = snapshot;
            let state = states().decode(&manifest, schema_version, codec, &payload).unwrap();
            folded(&stored.journal, state, ReplayRange::all(id).from(seq_nr.next())).await
        }
    };
    (from_snapshot, whole)
}

/// A journal of which nothing was deleted, with a snapshot of each id in some version, at some number.
async fn with_snapshots(mut history: History, at: &[(u64, u32)]) -> Stored {
    history.ends = vec![(0, None); history.ends.len()];
    let stored = Stored::of(&history).await;
    for (number, events) in history.ids.iter().enumerate() {
        let (part, version) = at[number];
        let seq_nr = SeqNr::new(events.len() as u64 * part / 4).unwrap();
        if seq_nr < SeqNr::FIRST {
            continue;
        }
        let id = id(number);
        let state = folded(&stored.journal, fresh(), ReplayRange::all(&id).to(seq_nr)).await;
        let encoded = states().encode_as(&state, &Form::new(states().manifest().clone(), version)).unwrap();
        let snapshot = Snapshot {
            token: stored.journal.head(&id).await.unwrap().token,
            persistence_id: id,
            seq_nr,
            last_event: EventDigest([0; 32]),
            timestamp: Timestamp::from_micros(7),
            manifest: encoded.manifest,
            schema_version: encoded.schema_version,
            codec: Codec::Json,
            key_id: None,
            payload: encoded.payload,
        };
        stored.snapshots.save(snapshot).await.unwrap();
    }
    stored
}

fn side(name: &str, stored: &Stored) -> Side {
    let (journal, snapshots): (Arc<MemoryJournal>, Arc<MemorySnapshotStore>) =
        (stored.journal.clone(), stored.snapshots.clone());
    Side { name: name.to_owned(), journal: journal.clone(), records: journal, snapshots }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_snapshot_of_any_version_and_the_events_behind_it_are_all_events(
        history in histories(), at in prop::collection::vec((0..=4_u64, 1..=2_u32), 5), up_first: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let ids: Vec<_> = (0..history.ids.len()).map(id).collect();
            let stored = with_snapshots(history, &at).await;
            let mut wanted = Vec::new();
            for id in &ids {
                let (from_snapshot, whole) = recovered(&stored, id).await;
                assert_eq!(from_snapshot, whole, "{id} as it is stored");
                wanted.push(whole);
            }
            let first = ["account.moved", "account.noted", "account.both", "account.pinged", "account.state"];
            let first = first.map(|name| Versions::only(annals_journal::Manifest::new(name).unwrap(), 1));
            let mut targets = [Target::Newest, Target::readable_by(first)];
            if !up_first {
                targets.reverse();
            }
            for target in targets {
                let described = format!("{target:?}");
                let sweep = Sweep::new(stored.journal.clone(), stored.snapshots.clone(), rewriter(), target);
                sweep.apply(&|_| {}).await.unwrap();
                for (id, wanted) in ids.iter().zip(&wanted) {
                    let (from_snapshot, whole) = recovered(&stored, id).await;
                    assert_eq!((&from_snapshot, &whole), (wanted, wanted), "{id} after {described}");
                }
            }
            let copied = Stored::empty();
            Copy::new(side("from", &stored), side("to", &copied)).cut_over(&|_| {}).await.unwrap();
            for (id, wanted) in ids.iter().zip(&wanted) {
                let (from_snapshot, whole) = recovered(&copied, id).await;
                assert_eq!((&from_snapshot, &whole), (wanted, wanted), "{id} in the copy");
            }
        });
    }
}
