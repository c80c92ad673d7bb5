//! Entities whose events and snapshots were written by an older build, or are written for one.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use annals_actors::{
    AskError, Clock, Context, Effect, Failure, Handle, Kind, NeverRejected, Node, NodeBuilder,
    PersistentActor, RecoveryError, StartError, Stores,
};
use annals_derive::{Command, Event};
use annals_journal::{
    AtomicWrite, Codec, Envelope, Epoch, Journal, JournalError, JournalExt, Manifest, MemoryJournal,
    PersistenceId, Record, RecordChange, RecordKey, Records, ReplayRange, Replayed, SeqNr, Timestamp, Token,
    Verdict, WriterId,
};
use annals_migrations::{Migrations, Step, VersionRecords};
use annals_snapshot::{MemorySnapshotStore, SnapshotPolicy};
use async_trait::async_trait;
use futures::StreamExt;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize, Command)]
struct Grow(u64);
#[derive(Clone, Debug, Serialize, Deserialize, Command)]
struct Read;

/// A kind as one build has it: its event, and what of it is in the state.
macro_rules! tree {
    ($name:ident, $event:item, $apply:expr, $grown:expr, $state:expr, $version:expr) => {
        mod $name {
            use super::*;

            #[derive(Default, Serialize, Deserialize)]
            pub(super) struct Tree {
                pub(super) rings: Vec<String>,
            }

            $event

            impl PersistentActor for Tree {
                const KIND: &'static str = "tree";
                const STATE_VERSION: u32 = $version;
                type Event = TreeEvent;
                type Commands = (Grow, Read);

                fn apply(&mut self, event: &TreeEvent) {
                    let apply: fn(&TreeEvent) -> String = $apply;
                    self.rings.push(apply(event));
                }

                fn state_migrations() -> Migrations<Self> {
                    $state
                }
            }

            impl Handle<Grow> for Tree {
                type Reply = Vec<String>;
                type Rejection = NeverRejected;

                fn handle(&self, grow: &Grow, ctx: &mut Context<Self, Grow>) -> Effect<Self, Grow> {
                    let grown: fn(u64) -> TreeEvent = $grown;
                    ctx.persist(grown(grow.0)).reply(|tree| tree.rings.clone())
                }
            }

            impl Handle<Read> for Tree {
                type Reply = Vec<String>;
                type Rejection = NeverRejected;

                fn handle(&self, _: &Read, ctx: &mut Context<Self, Read>) -> Effect<Self, Read> {
                    ctx.reply(self.rings.clone())
                }
            }
        }
    };
}

tree!(
    first,
    #[derive(Serialize, Deserialize, Event)]
    pub(super) enum TreeEvent {
        Grown { mm: u64 },
    },
    |event| {
        let TreeEvent::Grown { mm } = event;
        format!("{mm} mm")
    },
    |mm| TreeEvent::Grown { mm },
    Migrations::new(),
    1
);

tree!(
    second,
    #[derive(Serialize, Deserialize, Event)]
    pub(super) enum TreeEvent {
        #[event(
            version = 2,
            from(1 => Step::default_value("season", "spring")),
            to(1 => Step::remove_field("season")),
        )]
        Grown { mm: u64, season: String },
    },
    |event| {
        let TreeEvent::Grown { mm, season } = event;
        format!("{mm} mm in {season}")
    },
    |mm| TreeEvent::Grown { mm, season: "autumn".into() },
    Migrations::new()
        .up(
            "state",
            1,
            Step::convert_field("rings", |rings: Vec<String>| {
                Ok::<_, String>(rings.into_iter().map(|ring| format!("{ring} in spring")).collect::<Vec<_>>())
            })
        )
        .down("state", 1, Step::fields(|_| Ok::<_, String>(()))),
    2
);

fn stores() -> Stores {
    let journal = Arc::new(MemoryJournal::new());
    Stores { journal: journal.clone(), records: journal, snapshots: Arc::new(MemorySnapshotStore::new()) }
}

fn builder<A: PersistentActor>(hold: Option<u32>) -> NodeBuilder {
    let kind = Kind::<A>::new().snapshots(SnapshotPolicy::every_events(3));
    let builder = Node::builder("forest").kind(kind);
    match hold {
        Some(version) => builder.hold("tree.grown", version).hold("tree.state", version),
        None => builder,
    }
}

async fn node<A: PersistentActor>(stores: &Stores, hold: Option<u32>) -> Node {
    builder::<A>(hold).start(stores.clone()).await.unwrap()
}

/// What an entity has after these commands, and what a node that begins anew reads.
async fn grown<A>(node: Node, millimetres: &[u64]) -> Vec<String>
where
    A: PersistentActor<Commands = (Grow, Read)>
        + Handle<Grow, Reply = Vec<String>, Rejection = NeverRejected>
        + Handle<Read, Reply = Vec<String>, Rejection = NeverRejected>,
{
    let tree = node.entity::<A>("oak");
    for mm in millimetres {
        tree.ask(Grow(*mm)).await.unwrap();
    }
    let rings = tree.ask(Read).await.unwrap();
    node.shutdown().await;
    rings
}

/// The versions of the events that an entity has.
async fn versions(stores: &Stores, id: &str) -> Vec<u32> {
    let id = PersistenceId::new("tree", id).unwrap();
    let mut replay = stores.journal.replay(ReplayRange::all(&id));
    let mut versions = Vec::new();
    while let Some(replayed) = replay.next().await {
        if let Replayed::Event(stored) = replayed.unwrap() {
            versions.push(stored.envelope.schema_version);
        }
    }
    versions
}

#[tokio::test]
async fn builds_take_turns_over_one_history_as_long_as_the_older_form_is_held() {
    let stores = stores();
    assert_eq!(grown::<first::Tree>(node::<first::Tree>(&stores, None).await, &[1]).await, ["1 mm"]);

    // The new build writes what the old one reads; its live state is what reading that back gives (I6).
    let live = grown::<second::Tree>(node::<second::Tree>(&stores, Some(1)).await, &[2, 3]).await;
    assert_eq!(live, ["1 mm in spring", "2 mm in spring", "3 mm in spring"]);
    let replayed = grown::<second::Tree>(node::<second::Tree>(&stores, Some(1)).await, &[]).await;
    assert_eq!(replayed, live);

    // Going back just works.
    let back = grown::<first::Tree>(node::<first::Tree>(&stores, None).await, &[4]).await;
    assert_eq!(back, ["1 mm", "2 mm", "3 mm", "4 mm"]);
    assert_eq!(versions(&stores, "oak").await, [1, 1, 1, 1]);

    // From the first event in today's form on it does not, and says what this build reads, and what to do.
    let forward = grown::<second::Tree>(node::<second::Tree>(&stores, None).await, &[5]).await;
    assert_eq!(forward.last().unwrap(), "5 mm in autumn");
    assert_eq!(versions(&stores, "oak").await, [1, 1, 1, 1, 2]);
    let refused = builder::<first::Tree>(None).start(stores.clone()).await.unwrap_err();
    assert!(matches!(refused, StartError::Unreadable(_)), "{refused:?}");
    let sentence = refused.to_string();
    for part in ["tree.grown", "version 2", "version 1", "annals migrate rewrite --to", "--allow-unreadable"]
    {
        assert!(sentence.contains(part), "{part:?} in {sentence}");
    }
}

/// Manifest, version and what this build reads, of an event that ended a recovery; the sentence names all of it, and the entity.
fn unreadable<T: std::fmt::Debug>(
    asked: Result<T, AskError<NeverRejected>>,
    id: &str,
) -> (String, u32, Option<(u32, u32)>) {
    let Err(AskError::Failed(failure)) = asked else { panic!("{asked:?}") };
    let sentence = failure.to_string();
    let Failure::RecoveryFailed { persistence_id, reason, .. } = failure else { panic!("{sentence}") };
    assert_eq!(persistence_id.to_string(), id);
    let RecoveryError::Event { manifest, version, reads, .. } = reason else { panic!("{sentence}") };
    for part in [id, manifest.as_str(), &format!("version {version}")] {
        assert!(sentence.contains(part), "{part:?} in {sentence}");
    }
    if let Some((oldest, newest)) = reads {
        assert!(
            sentence.contains(&oldest.to_string()) && sentence.contains(&newest.to_string()),
            "{sentence}"
        );
    }
    (manifest.to_string(), version, reads)
}

#[tokio::test]
async fn a_manifest_that_this_build_does_not_know_ends_the_recovery_of_its_entity_alone() {
    let stores = stores();
    let id = PersistenceId::new("tree", "oak").unwrap();
    let token = Token::new(Epoch(0), 1);
    let event = Envelope {
        persistence_id: id.clone(),
        seq_nr: SeqNr::FIRST,
        token,
        writer: WriterId::from_bytes([7; 16]),
        timestamp: Timestamp::from_micros(1),
        manifest: Manifest::new("tree.felled").unwrap(),
        schema_version: 3,
        codec: Codec::Json,
        tags: Vec::new(),
        trace_context: None,
        key_id: None,
        payload: "{}".into(),
    };
    let append =
        AtomicWrite { persistence_id: id, expected: SeqNr::ZERO, token, events: vec![event], mark: None };
    stores.journal.append(append).await.unwrap();
    let node = node::<first::Tree>(&stores, None).await;
    let unknown = unreadable(node.entity::<first::Tree>("oak").ask(Read).await, "tree|oak");
    assert_eq!(unknown, ("tree.felled".to_owned(), 3, None));
    assert_eq!(node.entity::<first::Tree>("elm").ask(Grow(7)).await.unwrap(), ["7 mm"]);
    node.shutdown().await;
}

#[tokio::test]
async fn who_starts_all_the_same_serves_the_entities_that_hold_nothing_unreadable() {
    let stores = stores();
    let newer = node::<second::Tree>(&stores, None).await;
    newer.entity::<second::Tree>("oak").ask(Grow(1)).await.unwrap();
    newer.shutdown().await;
    let old = builder::<first::Tree>(None).allow_unreadable("tree.grown").allow_unreadable("tree.state");
    let old = old.start(stores.clone()).await.unwrap();
    let from_the_future = unreadable(old.entity::<first::Tree>("oak").ask(Read).await, "tree|oak");
    assert_eq!(from_the_future, ("tree.grown".to_owned(), 2, Some((1, 1))));
    assert_eq!(old.entity::<first::Tree>("elm").ask(Grow(7)).await.unwrap(), ["7 mm"]);
    old.shutdown().await;
}

#[tokio::test]
async fn while_an_older_build_runs_its_form_is_written_and_today_s_when_it_is_gone() {
    let stores = stores();
    let older = node::<first::Tree>(&stores, None).await;
    older.entity::<first::Tree>("elm").ask(Grow(1)).await.unwrap();
    let newer = builder::<second::Tree>(None).lease(SHORT).start(stores.clone()).await.unwrap();
    let oak = newer.entity::<second::Tree>("oak");
    oak.ask(Grow(1)).await.unwrap();
    assert_eq!(versions(&stores, "oak").await, [1]);
    older.shutdown().await;
    until(async || {
        oak.ask(Grow(2)).await.unwrap();
        versions(&stores, "oak").await.contains(&2)
    })
    .await;
    let live = oak.ask(Read).await.unwrap();
    newer.shutdown().await;
    let again = node::<second::Tree>(&stores, None).await;
    assert_eq!(again.entity::<second::Tree>("oak").ask(Read).await.unwrap(), live);
    again.shutdown().await;
}

#[tokio::test]
async fn a_hold_of_an_operator_s_is_followed_while_the_node_runs() {
    let stores = stores();
    let holds = VersionRecords::new(Arc::clone(&stores.records));
    let grown = Manifest::new("tree.grown").unwrap();
    holds.hold(&grown, 1).await.unwrap();
    let node = builder::<second::Tree>(None).lease(SHORT).start(stores.clone()).await.unwrap();
    let oak = node.entity::<second::Tree>("oak");
    assert_eq!(oak.ask(Grow(1)).await.unwrap(), ["1 mm in spring"]);
    holds.release(&grown).await.unwrap();
    until(async || oak.ask(Grow(2)).await.unwrap().last().unwrap() == "2 mm in autumn").await;
    holds.hold(&grown, 1).await.unwrap();
    until(async || oak.ask(Grow(3)).await.unwrap().last().unwrap() == "3 mm in spring").await;
    holds.hold(&grown, 0).await.unwrap();
    until(async || match oak.ask(Grow(4)).await {
        Err(AskError::Failed(failure @ Failure::NotStorable { .. })) => {
            assert!(failure.to_string().contains("annals schema release tree.grown"), "{failure}");
            true
        }
        other => other.is_err(),
    })
    .await;
    let live = oak.ask(Read).await.unwrap();
    node.shutdown().await;
    let again = builder::<second::Tree>(None).start(stores.clone()).await.unwrap();
    assert_eq!(again.entity::<second::Tree>("oak").ask(Read).await.unwrap(), live);
}

tree!(
    third,
    #[derive(Serialize, Deserialize, Event)]
    pub(super) enum TreeEvent {
        #[event(version = 2, from(1 => Step::default_value("season", "spring")))]
        Grown { mm: u64, season: String },
    },
    |event| {
        let TreeEvent::Grown { mm, season } = event;
        format!("{mm} mm in {season}")
    },
    |mm| TreeEvent::Grown { mm, season: "autumn".into() },
    Migrations::new(),
    1
);

#[tokio::test]
async fn what_no_downcaster_reaches_is_refused_while_an_older_build_runs() {
    let stores = stores();
    let older = node::<first::Tree>(&stores, None).await;
    let newer = builder::<third::Tree>(None).start(stores.clone()).await.unwrap();
    let refused = newer.entity::<third::Tree>("oak").ask(Grow(1)).await;
    let Err(AskError::Failed(failure @ Failure::NotStorable { .. })) = refused else { panic!("{refused:?}") };
    let sentence = failure.to_string();
    for part in
        ["tree.grown version 2 is not written", "process \"forest\"", "reads version 1", "to(1 => ..)"]
    {
        assert!(sentence.contains(part), "{part:?} in {sentence}");
    }
    assert_eq!(newer.entity::<third::Tree>("oak").ask(Read).await.unwrap(), [""; 0]);
    older.shutdown().await;
    newer.shutdown().await;
}

/// A clock that a test sets forward: a node's, or the store's.
#[derive(Debug, Default)]
struct Forward(AtomicU64);

impl Forward {
    fn pass(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for Forward {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// Records with that clock.
#[derive(Debug)]
struct Clocked(MemoryJournal, Arc<Forward>);

#[async_trait]
impl Records for Clocked {
    async fn get(&self, key: &RecordKey) -> Result<Option<Record>, JournalError> {
        self.0.get(key).await
    }

    async fn change(&self, changes: Vec<RecordChange>) -> Vec<Result<Verdict, JournalError>> {
        self.0.change(changes).await
    }

    async fn now(&self) -> Result<Timestamp, JournalError> {
        Ok(self.1.now())
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&RecordKey>,
        limit: usize,
    ) -> Result<Vec<(RecordKey, Record)>, JournalError> {
        self.0.list(prefix, after, limit).await
    }
}

#[tokio::test]
async fn a_node_that_was_away_for_longer_than_its_lease_asks_before_it_writes_and_stops_when_it_must() {
    let (clock, journal) = (Arc::new(Forward::default()), Arc::new(MemoryJournal::new()));
    let records = Arc::new(Clocked(MemoryJournal::new(), Arc::clone(&clock)));
    let stores = Stores { journal, records, snapshots: Arc::new(MemorySnapshotStore::new()) };
    let day = Duration::from_secs(24 * 60 * 60);
    // Nobody renews by itself while the test runs.
    let older = builder::<first::Tree>(None).clock(clock.clone()).lease(day);
    let older = older.start(stores.clone()).await.unwrap();
    older.entity::<first::Tree>("elm").ask(Grow(1)).await.unwrap();
    clock.pass(2 * day);
    older.entity::<first::Tree>("elm").ask(Grow(2)).await.unwrap();
    clock.pass(2 * day);
    let newer = builder::<second::Tree>(None).clock(clock.clone()).lease(day);
    let newer = newer.start(stores.clone()).await.unwrap();
    assert_eq!(newer.entity::<second::Tree>("oak").ask(Grow(3)).await.unwrap(), ["3 mm in autumn"]);
    // The older one comes back.
    let refused = older.entity::<first::Tree>("elm").ask(Grow(4)).await;
    assert!(matches!(refused, Err(AskError::Failed(_))), "{refused:?}");
    let unreadable = older.stopped().await.unwrap_err();
    assert!(unreadable.to_string().contains("version 2 of tree.grown"), "{unreadable}");
    let elm = newer.entity::<second::Tree>("elm").ask(Read).await.unwrap();
    assert_eq!(elm, ["1 mm in spring", "2 mm in spring"]);
    newer.shutdown().await;
    newer.stopped().await.unwrap();
}

/// Waits for what a renewal brings.
async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(60);
    while !holds().await {
        assert!(Instant::now() < limit, "it did not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A lease that is renewed every 0.1 s: under load it ends now and then, and the node goes on.
const SHORT: Duration = Duration::from_millis(300);

#[derive(Default, Serialize, Deserialize)]
struct Gap;

#[derive(Serialize, Deserialize, Event)]
enum GapEvent {
    #[event(version = 4, from(1 => Step::default_value("a", 1), 3 => Step::default_value("b", 1)))]
    Happened { a: u64, b: u64 },
}

impl PersistentActor for Gap {
    const KIND: &'static str = "gap";
    type Event = GapEvent;
    type Commands = (Read,);

    fn apply(&mut self, _: &GapEvent) {}
}

impl Handle<Read> for Gap {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, _: &Read, ctx: &mut Context<Self, Read>) -> Effect<Self, Read> {
        ctx.reply(())
    }
}

#[tokio::test]
async fn a_missing_step_is_an_error_when_the_node_starts() {
    let error = Node::builder("n").entity::<Gap>().start(stores()).await.unwrap_err();
    assert!(matches!(error, StartError::Schema(_)), "{error:?}");
    let sentence = error.to_string();
    assert!(sentence.contains("gap.happened version 2") && sentence.contains("from(2 =>"), "{sentence}");
}

/// Kinds whose steps cannot be put in order.
macro_rules! wrong {
    ($name:ident, $version:literal, $(#[$command:meta])* [$($migrations:tt)*]) => {
        mod $name {
            use super::*;

            #[derive(Default, Serialize, Deserialize)]
            pub(super) struct Wrong;

            #[derive(Serialize, Deserialize, Event)]
            pub(super) enum WrongEvent {
                Happened,
            }

            #[derive(Serialize, Deserialize, Command)]
            $(#[$command])*
            pub(super) struct Look {
                a: u64,
            }

            impl PersistentActor for Wrong {
                const KIND: &'static str = "wrong";
                const STATE_VERSION: u32 = $version;
                type Event = WrongEvent;
                type Commands = (Look,);

                fn apply(&mut self, _: &WrongEvent) {}

                fn state_migrations() -> Migrations<Self> {
                    $($migrations)*
                }
            }

            impl Handle<Look> for Wrong {
                type Reply = ();
                type Rejection = NeverRejected;

                fn handle(&self, _: &Look, ctx: &mut Context<Self, Look>) -> Effect<Self, Look> {
                    ctx.reply(())
                }
            }
        }
    };
}

wrong!(doubled, 2, [Migrations::new().up("state", 1, keep()).up("state", 1, keep())]);
wrong!(
    circular,
    1,
    [Migrations::new().up_to("old", 1, ("older", 1), keep()).up_to("older", 1, ("old", 1), keep())]
);
wrong!(gapped, 4, [Migrations::new().up("state", 1, keep()).up("state", 3, keep())]);
wrong!(
    sent,
    1,
    #[command(version = 3, from(1 => Step::default_value("a", 1)))]
    [Migrations::new()]
);

fn keep() -> Step {
    Step::fields(|_| Ok::<_, String>(()))
}

#[tokio::test]
async fn steps_of_states_and_commands_are_checked_when_the_node_starts_too() {
    async fn says<A: PersistentActor>(parts: &[&str]) {
        let error = Node::builder("n").entity::<A>().start(stores()).await.unwrap_err();
        assert!(matches!(error, StartError::Schema(_)), "{error:?}");
        let sentence = error.to_string();
        for part in parts {
            assert!(sentence.contains(part), "{part:?} in {sentence}");
        }
    }
    says::<doubled::Wrong>(&["two steps begin at wrong.state version 1"]).await;
    says::<circular::Wrong>(&["circle", "wrong.old version 1", "wrong.older version 1"]).await;
    says::<gapped::Wrong>(&["wrong.state version 2"]).await;
    says::<sent::Wrong>(&["wrong.look version 2"]).await;
}
