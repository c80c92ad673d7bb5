use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use annals_journal::{
    AtomicWrite, Envelope, Epoch, Head, JournalExt, PersistenceId, ReplayRange, Replayed, SeqNr, Token,
    WriterId,
};
use annals_migrations::{EventAdapter, StateAdapter};
use annals_snapshot::Snapshot;
use futures::StreamExt;
use serde_json::Value;
use tokio::time::Instant;

use super::TestNode;
use crate::testing::difference::{difference, pretty};
use crate::testing::probe::WITHIN;
use crate::testing::shown;
use crate::{Kind, PersistentActor};

/// What a [`TestNode`] has stored of one entity; made by [`TestNode::stored`].
///
/// It looks past the ordered failures, at what is really there. A test takes note of events one after the other
/// ([`expect_next_persisted`](Self::expect_next_persisted)) or looks at all of them ([`expect_events`](Self::expect_events)); what it has
/// taken note of is remembered by the test node.
pub struct Stored<'a, A: PersistentActor> {
    kit: &'a TestNode,
    id: PersistenceId,
    adapter: Arc<dyn EventAdapter<A::Event>>,
    states: StateAdapter<A>,
    limit: Duration,
}

/// How often what is stored is looked at while a test waits for it.
const LOOK: Duration = Duration::from_millis(5);
/// How long nothing is stored, to say that nothing is.
const NOTHING: Duration = Duration::from_millis(100);

impl<'a, A: PersistentActor> Stored<'a, A> {
    #[track_caller]
    pub(super) fn new(kit: &'a TestNode, kind: Kind<A>, id: PersistenceId) -> Self {
        let adapter = kind.adapter().unwrap_or_else(|error| panic!("{error}"));
        let states = Kind::<A>::states().unwrap_or_else(|error| panic!("{error}"));
        Self { kit, id, adapter, states, limit: WITHIN }
    }

    /// How long each expectation of something waits at most; default 3 s.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Exactly these events are stored, oldest first. Takes note of all of them.
    ///
    /// # Panics
    /// When others are, with the difference, and what the journal was asked.
    #[track_caller]
    pub fn expect_events(&self, expected: impl IntoIterator<Item = A::Event>) -> impl Future<Output = ()> {
        let (place, expected) = (Location::caller(), self.encoded(expected));
        async move {
            let stored = self.envelopes().await;
            self.compare(place, "the stored events are others than expected", &expected, &stored);
            self.note(&stored);
        }
    }

    /// The next event that the test has not taken note of is this one, or becomes stored in time.
    ///
    /// # Panics
    /// When none is, or another one.
    #[track_caller]
    pub fn expect_next_persisted(&self, expected: A::Event) -> impl Future<Output = ()> {
        self.expect_next(Location::caller(), self.encoded([expected]))
    }

    /// The same of several events.
    ///
    /// # Panics
    /// When fewer are stored, or others.
    #[track_caller]
    pub fn expect_next_n_persisted(
        &self,
        expected: impl IntoIterator<Item = A::Event>,
    ) -> impl Future<Output = ()> {
        self.expect_next(Location::caller(), self.encoded(expected))
    }

    async fn expect_next(&self, place: &'static Location<'static>, expected: Value) {
        let count = expected.as_array().map_or(0, Vec::len);
        let stored = self.next(place, count).await;
        self.compare(place, "the next stored events are others than expected", &expected, &stored);
    }

    /// The next event that the test has not taken note of is like this; `what` says in the failure what was expected.
    ///
    /// # Panics
    /// When none becomes stored, or another one does.
    #[track_caller]
    pub fn expect_next_persisted_matching(
        &self,
        what: &str,
        matches: impl FnOnce(&A::Event) -> bool,
    ) -> impl Future<Output = ()> {
        let place = Location::caller();
        async move {
            let stored = self.next(place, 1).await;
            let mut events = self.decoded(&stored);
            if !matches!((events.pop(), events.pop()), (Some(event), None) if matches(&event)) {
                let found = pretty(&shown::envelopes(&stored));
                self.fail(place, format!("expected an event: {what}\nfound: {found}"));
            }
        }
    }

    /// The next events that the test has not taken note of, so many.
    ///
    /// # Panics
    /// When fewer become stored in time.
    #[track_caller]
    pub fn receive_persisted(&self, count: usize) -> impl Future<Output = Vec<A::Event>> {
        let place = Location::caller();
        async move { self.decoded(&self.next(place, count).await) }
    }

    /// Nothing is stored that the test has not taken note of, and nothing becomes so within 100 ms.
    ///
    /// # Panics
    /// When something is.
    #[track_caller]
    pub fn expect_nothing_persisted(&self) -> impl Future<Output = ()> {
        let place = Location::caller();
        async move {
            self.kit.advance(NOTHING).await;
            let stored = self.since_noted().await;
            if !stored.is_empty() {
                let found = pretty(&shown::envelopes(&stored));
                self.fail(place, format!("expected that nothing more is stored\nfound: {found}"));
            }
        }
    }

    /// The newest snapshot was taken right after the event with this number.
    ///
    /// # Panics
    /// When another one is the newest, or none is there.
    #[track_caller]
    pub fn expect_snapshot_at(&self, seq_nr: u64) -> impl Future<Output = A> {
        let place = Location::caller();
        async move {
            let until = Instant::now() + self.limit;
            loop {
                let newest = self.newest_snapshot().await;
                match &newest {
                    Some(found) if found.seq_nr.get() == seq_nr => return self.state_of(found),
                    _ if Instant::now() < until => self.kit.advance(LOOK).await,
                    Some(found) => {
                        let found = found.seq_nr;
                        self.fail(
                            place,
                            format!("expected a snapshot at #{seq_nr}, the newest is at {found:?}"),
                        )
                    }
                    None => self.fail(place, format!("expected a snapshot at #{seq_nr}, there is none")),
                }
            }
        }
    }

    /// No snapshot is there, and none comes within 100 ms.
    ///
    /// # Panics
    /// When one is.
    #[track_caller]
    pub fn expect_no_snapshot(&self) -> impl Future<Output = ()> {
        let place = Location::caller();
        async move {
            self.kit.advance(NOTHING).await;
            if let Some(found) = self.newest_snapshot().await {
                self.fail(place, format!("expected no snapshot, there is one at {:?}", found.seq_nr));
            }
        }
    }

    /// The state that the stored events give, from the newest snapshot where they were deleted.
    ///
    /// # Panics
    /// When they cannot be read.
    pub async fn state(&self) -> A {
        let mut state = A::default();
        if self.head().await.deleted_to > SeqNr::ZERO {
            let snapshot = self.newest_snapshot().await;
            let snapshot = snapshot.unwrap_or_else(|| {
                panic!("the first events of {} were deleted, and no snapshot is there", self.id)
            });
            state = self.state_of(&snapshot);
            for event in self.decoded(&self.read_from(snapshot.seq_nr.next()).await) {
                state.apply(&event);
            }
            return state;
        }
        for event in self.events().await {
            state.apply(&event);
        }
        state
    }

    /// All stored events, oldest first.
    ///
    /// # Panics
    /// When they cannot be read.
    pub async fn events(&self) -> Vec<A::Event> {
        self.decoded(&self.envelopes().await)
    }

    /// The same as they are stored: numbers, tokens, time stamps, tags.
    ///
    /// # Panics
    /// When they cannot be read.
    pub async fn envelopes(&self) -> Vec<Envelope> {
        self.read_from(SeqNr::FIRST).await
    }

    /// Highest number, newest token, and up to where events were deleted.
    ///
    /// # Panics
    /// When the journal below cannot be asked.
    pub async fn head(&self) -> Head {
        let head = self.kit.journal.inner().head(&self.id).await;
        head.unwrap_or_else(|error| panic!("the journal below fails: {error}"))
    }

    /// Stores events past the entity, and takes note of them: what has happened before, when the entity is not in memory.
    ///
    /// When it is, they are what another writer was faster with: the entity's next append is a conflict, and it catches up.
    ///
    /// # Panics
    /// When an event cannot be made into bytes, or the journal below does not take them.
    #[track_caller]
    pub fn persist(&self, events: impl IntoIterator<Item = A::Event>) -> impl Future<Output = ()> {
        let encode = |event| self.adapter.to_journal(&event);
        let encoded: Vec<_> = events
            .into_iter()
            .map(|event| encode(event).unwrap_or_else(|error| panic!("an event cannot be stored: {error}")))
            .collect();
        async move {
            let head = self.head().await;
            // Older than every node's, or the newest owner's own.
            let token = head.token.max(Token::new(Epoch(0), 1));
            let events = encoded.into_iter().zip(1..).map(|(encoded, number)| Envelope {
                persistence_id: self.id.clone(),
                seq_nr: head.seq_nr.plus(number),
                token,
                writer: WriterId::from_bytes([1; 16]),
                timestamp: self.kit.now(),
                manifest: encoded.manifest,
                schema_version: encoded.schema_version,
                codec: encoded.codec,
                tags: Vec::new(),
                trace_context: None,
                key_id: None,
                payload: encoded.payload,
            });
            let events: Vec<_> = events.collect();
            self.note(&events);
            let (persistence_id, expected) = (self.id.clone(), head.seq_nr);
            let append = AtomicWrite { persistence_id, expected, token, events, mark: None };
            if let Err(error) = self.kit.journal.inner().append(append).await {
                panic!("the journal below does not take the events: {error}");
            }
        }
    }

    /// The next events after those that were noted.
    async fn next(&self, place: &'static Location<'static>, count: usize) -> Vec<Envelope> {
        let until = Instant::now() + self.limit;
        loop {
            let mut stored = self.since_noted().await;
            if stored.len() >= count {
                stored.truncate(count);
                self.note(&stored);
                return stored;
            }
            if Instant::now() >= until {
                let (found, limit) = (stored.len(), self.limit);
                let more =
                    if count == 1 { "one more event".to_owned() } else { format!("{count} more events") };
                self.fail(place, format!("expected {more}, {found} became stored within {limit:?}"));
            }
            self.kit.advance(LOOK).await;
        }
    }

    async fn since_noted(&self) -> Vec<Envelope> {
        let noted = self.kit.noted().get(&self.id).copied().unwrap_or(SeqNr::ZERO);
        self.read_from(noted.next()).await
    }

    fn note(&self, events: &[Envelope]) {
        if let Some(last) = events.last() {
            self.kit.noted().insert(self.id.clone(), last.seq_nr);
        }
    }

    async fn read_from(&self, from: SeqNr) -> Vec<Envelope> {
        let mut items = self.kit.journal.inner().replay(ReplayRange::all(&self.id).from(from));
        let mut events = Vec::new();
        while let Some(item) = items.next().await {
            match item {
                Ok(Replayed::Event(event)) => events.push(event.envelope),
                Ok(_) => {}
                Err(error) => panic!("the journal below fails: {error}"),
            }
        }
        events
    }

    async fn newest_snapshot(&self) -> Option<Snapshot> {
        let newest = self.kit.snapshots.inner().load(&self.id, SeqNr::MAX).await;
        newest.unwrap_or_else(|error| panic!("the snapshot store below fails: {error}"))
    }

    fn state_of(&self, snapshot: &Snapshot) -> A {
        let (manifest, version) = (&snapshot.manifest, snapshot.schema_version);
        let state = self.states.decode(manifest, version, snapshot.codec, &snapshot.payload);
        state.unwrap_or_else(|error| panic!("the snapshot cannot be read: {error}"))
    }

    fn decoded(&self, stored: &[Envelope]) -> Vec<A::Event> {
        let mut events = Vec::new();
        for envelope in stored {
            if let Err(error) = self.adapter.from_journal(envelope, &mut |event| events.push(event)) {
                panic!("event {:?} of {} cannot be read: {error}", envelope.seq_nr, self.id);
            }
        }
        events
    }

    #[track_caller]
    fn encoded(&self, events: impl IntoIterator<Item = A::Event>) -> Value {
        let events: Vec<_> = events.into_iter().collect();
        shown::events(&events, &*self.adapter)
            .unwrap_or_else(|error| panic!("an expected event cannot be stored: {error}"))
    }

    fn compare(&self, place: &Location<'_>, what: &str, expected: &Value, stored: &[Envelope]) {
        if let Some(lines) = difference(expected, &shown::envelopes(stored)) {
            self.fail(place, format!("{what} (- expected, + found):\n{lines}"));
        }
    }

    fn fail(&self, place: &Location<'_>, what: String) -> ! {
        let (id, asked) = (&self.id, self.kit.asked(&self.id));
        panic!("{id}: {}\n{asked}\nat {place}", what.trim_end_matches('\n'))
    }
}

impl<A: PersistentActor> fmt::Debug for Stored<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stored({})", self.id)
    }
}
