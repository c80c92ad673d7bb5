use std::collections::BTreeMap;
use std::sync::Arc;

use annals_journal::{
    AtomicWrite, Codec, Envelope, Epoch, Head, Journal, JournalExt, Manifest, MemoryJournal, Offset,
    PageItem, PersistenceId, ReplayRange, Replayed, SeqNr, SliceRange, Tag, Timestamp, Token, WriterId,
};
use annals_migrations::rewrite::Rewriter;
use annals_migrations::{Event, EventAdapter, KindAdapter, ListAdapter, Migrations, StateAdapter, Step};
use annals_snapshot::{MemorySnapshotStore, Snapshot, SnapshotStore};
use futures::StreamExt;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Deserialize)]
pub(crate) struct Both {
    amount: i64,
    text: String,
}

/// Today's events of a kind that has had three versions, a split and a retirement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
#[event(retired("account.pinged"))]
pub(crate) enum Change {
    #[event(
        version = 3,
        from(
            1 => Step::rename_field("amount", "cents"),
            2 => Step::default_value("currency", "EUR"),
        ),
        to(
            2 => Step::remove_field("currency"),
            1 => Step::rename_field("cents", "amount"),
        ),
    )]
    Moved { cents: i64, currency: String },
    #[event(from(("account.both", 1) => Step::events(|old: Both| vec![
        Change::Moved { cents: old.amount, currency: "EUR".into() },
        Change::Noted { text: old.text },
    ])))]
    Noted { text: String },
}

/// The state: everything that has happened.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) changes: Vec<Change>,
    pub(crate) open: bool,
}

pub(crate) fn states() -> StateAdapter<Account> {
    let steps = Migrations::new().up("state", 1, Step::default_value("open", true)).down(
        "state",
        1,
        Step::remove_field("open"),
    );
    StateAdapter::with("account", 2, steps).unwrap()
}

pub(crate) fn events() -> KindAdapter<Change> {
    KindAdapter::new("account").unwrap()
}

pub(crate) fn rewriter() -> Rewriter {
    Rewriter::new().kind("account", events(), states())
}

/// An event as some build has stored it.
#[derive(Debug, Clone)]
pub(crate) struct Old {
    pub(crate) manifest: &'static str,
    pub(crate) version: u32,
    pub(crate) payload: String,
}

pub(crate) fn moved(version: u32, cents: i64, currency: &str) -> Old {
    let payload = match version {
        1 => json!({"amount": cents}),
        2 => json!({"cents": cents}),
        _ => json!({"cents": cents, "currency": currency}),
    };
    Old { manifest: "account.moved", version, payload: payload.to_string() }
}

pub(crate) fn old() -> impl Strategy<Value = Old> {
    let of =
        |manifest, payload: serde_json::Value| Old { manifest, version: 1, payload: payload.to_string() };
    prop_oneof![
        3 => (1..=3_u32, any::<i32>()).prop_map(|(version, cents)| moved(version, cents.into(), "EUR")),
        1 => any::<i32>().prop_map(|cents| moved(3, cents.into(), "SEK")),
        1 => "[a-z ]{0,9}".prop_map(move |text| of("account.noted", json!({"text": text}))),
        1 => (any::<i32>(), "[a-z]{0,9}")
            .prop_map(move |(amount, text)| of("account.both", json!({"amount": amount, "text": text}))),
        1 => Just(of("account.pinged", json!(null))),
    ]
}

/// What an id goes through: an event of some version, under a newer token now and then, deleted up to some part in the end.
#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(crate) ids: Vec<Vec<(Old, bool)>>,
    /// A part of each id's numbers, of 4, and whether it has a snapshot of version 1 or 2.
    pub(crate) ends: Vec<(u64, Option<u32>)>,
}

pub(crate) fn histories() -> impl Strategy<Value = History> {
    let id = prop::collection::vec((old(), prop::bool::weighted(0.2)), 1..12);
    let end = (prop_oneof![3 => Just(0_u64), 1 => 1..4_u64], prop::option::of(1..=2_u32));
    (prop::collection::vec(id, 1..5), prop::collection::vec(end, 5))
        .prop_map(|(ids, ends)| History { ids, ends })
}

pub(crate) fn id(number: usize) -> PersistenceId {
    PersistenceId::new("account", &format!("a{number}")).unwrap()
}

pub(crate) fn envelope(id: &PersistenceId, seq_nr: SeqNr, token: Token, old: &Old) -> Envelope {
    Envelope {
        persistence_id: id.clone(),
        seq_nr,
        token,
        writer: WriterId::from_bytes([7; 16]),
        timestamp: Timestamp::from_micros(1_000 + seq_nr.get()),
        manifest: Manifest::new(old.manifest).unwrap(),
        schema_version: old.version,
        codec: Codec::Json,
        tags: seq_nr.get().is_multiple_of(3).then(|| Tag::new("third").unwrap()).into_iter().collect(),
        trace_context: None,
        key_id: None,
        payload: old.payload.clone().into(),
    }
}

/// Of each id what its events mean today, and the state of its newest snapshot.
pub(crate) type Seen = BTreeMap<PersistenceId, (Vec<(SeqNr, Vec<Change>)>, Option<Account>)>;

/// What each event that is left means today.
pub(crate) async fn changes(journal: &dyn Journal, id: &PersistenceId) -> Vec<(SeqNr, Vec<Change>)> {
    let adapter = ListAdapter::new(events());
    let mut items = journal.replay(ReplayRange::all(id));
    let mut changes = Vec::new();
    while let Some(item) = items.next().await {
        if let Replayed::Event(event) = item.unwrap() {
            let mut of = Vec::new();
            adapter.from_journal(&event.envelope, &mut |change| of.push(change)).unwrap();
            changes.push((event.envelope.seq_nr, of));
        }
    }
    changes
}

/// A snapshot as some build has stored it.
pub(crate) fn snapshot(id: &PersistenceId, head: Head, version: u32, changes: &[Change]) -> Snapshot {
    let mut payload = json!({"changes": changes});
    if version == 2 {
        payload["open"] = true.into();
    }
    Snapshot {
        persistence_id: id.clone(),
        seq_nr: head.seq_nr,
        token: head.token,
        last_event: annals_journal::EventDigest([0; 32]),
        timestamp: Timestamp::from_micros(7),
        manifest: states().manifest().clone(),
        schema_version: version,
        codec: Codec::Json,
        key_id: None,
        payload: payload.to_string().into(),
    }
}

/// A store with a history in it; the ids' events lie between each other.
pub(crate) struct Stored {
    pub(crate) journal: Arc<MemoryJournal>,
    pub(crate) snapshots: Arc<MemorySnapshotStore>,
}

impl Stored {
    pub(crate) fn empty() -> Self {
        Self { journal: Arc::new(MemoryJournal::new()), snapshots: Arc::new(MemorySnapshotStore::new()) }
    }

    pub(crate) async fn of(history: &History) -> Self {
        let stored = Self::empty();
        let mut tokens = vec![Token::new(Epoch(1), 1); history.ids.len()];
        let longest = history.ids.iter().map(Vec::len).max().unwrap();
        for at in 0..longest {
            for (number, events) in history.ids.iter().enumerate() {
                let Some((old, taken_over)) = events.get(at) else { continue };
                if *taken_over {
                    tokens[number].activation += 1;
                }
                stored.append(&id(number), tokens[number], old).await;
            }
        }
        for (number, (part, snapshot)) in history.ends.iter().enumerate().take(history.ids.len()) {
            stored.end(&id(number), *part, *snapshot).await;
        }
        stored
    }

    pub(crate) async fn append(&self, id: &PersistenceId, token: Token, old: &Old) {
        let expected = self.journal.head(id).await.unwrap().seq_nr;
        let events = vec![envelope(id, expected.next(), token, old)];
        let append = AtomicWrite { persistence_id: id.clone(), expected, token, events, mark: None };
        self.journal.append(append).await.unwrap();
    }

    async fn end(&self, id: &PersistenceId, part: u64, version: Option<u32>) {
        let head = self.journal.head(id).await.unwrap();
        if let Some(version) = version {
            let changes: Vec<Change> =
                self.changes(id).await.into_iter().flat_map(|(_, changes)| changes).collect();
            self.snapshots.save(snapshot(id, head, version, &changes)).await.unwrap();
        }
        let to = SeqNr::new(head.seq_nr.get() * part / 4).unwrap();
        if to >= SeqNr::FIRST {
            self.journal.delete_to(id, to).await.unwrap();
        }
    }

    /// What each event that is left means today.
    pub(crate) async fn changes(&self, id: &PersistenceId) -> Vec<(SeqNr, Vec<Change>)> {
        changes(&*self.journal, id).await
    }

    pub(crate) async fn state(&self, id: &PersistenceId) -> Option<Account> {
        let snapshot = self.snapshots.load(id, SeqNr::MAX).await.unwrap()?;
        let Snapshot { manifest, schema_version, codec, payload, .. } = snapshot;
        Some(states().decode(&manifest, schema_version, codec, &payload).unwrap())
    }

    /// All that an application sees of the journal: the states that it replays.
    pub(crate) async fn seen(&self) -> Seen {
        let mut seen = BTreeMap::new();
        for id in self.journal.persistence_ids(None, 100).await.unwrap() {
            seen.insert(id.clone(), (self.changes(&id).await, self.state(&id).await));
        }
        seen
    }

    /// Everything that no rewriting changes, in the order of offsets.
    pub(crate) async fn frame(&self) -> Vec<String> {
        let page = self.journal.events_by_slice(SliceRange::ALL, Offset::BEGINNING, 10_000).await.unwrap();
        let frame = page.items.into_iter().map(|item| match item {
            PageItem::Event(event) => {
                let Envelope { persistence_id, seq_nr, token, writer, timestamp, tags, .. } = event.envelope;
                format!(
                    "{} {persistence_id} {seq_nr:?} {token} {writer} {timestamp:?} {tags:?}",
                    event.offset
                )
            }
            other => format!("{other:?}"),
        });
        frame.collect()
    }

    pub(crate) async fn forms(&self) -> BTreeMap<(String, u32), usize> {
        let page = self.journal.events_by_slice(SliceRange::ALL, Offset::BEGINNING, 10_000).await.unwrap();
        let mut forms = BTreeMap::new();
        for item in page.items {
            if let PageItem::Event(event) = item {
                let form = (event.envelope.manifest.to_string(), event.envelope.schema_version);
                *forms.entry(form).or_default() += 1;
            }
        }
        forms
    }
}
