//! User code that panics wherever it can: nobody waits for ever, and the next command finds an entity.

use std::sync::Arc;
use std::time::Duration;

use annals_actors::{
    AskError, Context, Effect, Failure, Handle, Kind, NeverRejected, Node, PersistentActor, Stores,
};
use annals_journal::{MemoryJournal, Tag};
use annals_migrations::{Command, Event};
use annals_snapshot::{MemorySnapshotStore, SnapshotPolicy};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::time::timeout;

/// Where it panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
enum Place {
    #[default]
    Nowhere,
    EncodeEvent,
    Tags,
    Apply,
    Reply,
    DropReply,
    EncodeState,
    DropState,
    DropEvent,
    Policy,
    SideEffect,
    DropSideEffect,
    Work,
    DropWork,
}

#[derive(Default, Deserialize)]
struct Brittle {
    done: u32,
    breaks: Place,
}

impl Serialize for Brittle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        blow(self.breaks, Place::EncodeState);
        (self.done, self.breaks).serialize(serializer)
    }
}

impl Drop for Brittle {
    fn drop(&mut self) {
        blow(self.breaks, Place::DropState);
    }
}

#[derive(Serialize, Deserialize, Event)]
enum Done {
    Once { fragile: Fragile },
}

/// Panics when it is encoded, or dropped where it was made.
struct Fragile(Place);

impl Serialize for Fragile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        blow(self.0, Place::EncodeEvent);
        Place::Nowhere.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Fragile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Place::deserialize(deserializer).map(Self)
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        blow(self.0, Place::DropEvent);
    }
}

#[derive(Serialize, Deserialize)]
struct Glass(Place);

impl Drop for Glass {
    fn drop(&mut self) {
        blow(self.0, Place::DropReply);
        blow(self.0, Place::DropSideEffect);
        blow(self.0, Place::DropWork);
    }
}

#[derive(Serialize, Deserialize, Command)]
struct Break(Place);

#[derive(Serialize, Deserialize, Command)]
struct Count;

impl PersistentActor for Brittle {
    const KIND: &'static str = "brittle";
    type Event = Done;
    type Commands = (Break, Count);

    fn apply(&mut self, Done::Once { fragile }: &Done) {
        blow(fragile.0, Place::Apply);
        self.done += 1;
        // Not after a replay, where the event says nowhere.
        self.breaks = fragile.0;
    }

    fn tags(&self, Done::Once { fragile }: &Done) -> Vec<Tag> {
        blow(fragile.0, Place::Tags);
        Vec::new()
    }
}

impl Handle<Break> for Brittle {
    type Reply = Glass;
    type Rejection = NeverRejected;

    fn handle(&self, Break(place): &Break, ctx: &mut Context<Self, Break>) -> Effect<Self, Break> {
        let place = *place;
        let event = move || Done::Once { fragile: Fragile(place) };
        if matches!(place, Place::Work | Place::DropWork) {
            let glass = Glass(place);
            return ctx
                .run(async move {
                    blow(place, Place::Work);
                    let _glass = &glass;
                    std::future::pending::<()>().await;
                })
                .within(Duration::from_millis(10))
                .then(|_, _, (), ctx| ctx.stash());
        }
        let glass = Glass(if place == Place::DropSideEffect { place } else { Place::Nowhere });
        ctx.persist(event())
            .then_run(move |_| async move {
                let _glass = &glass;
                blow(place, Place::SideEffect);
            })
            .reply(move |_| {
                blow(place, Place::Reply);
                Glass(if place == Place::DropReply { place } else { Place::Nowhere })
            })
    }
}

impl Handle<Count> for Brittle {
    type Reply = u32;
    type Rejection = NeverRejected;

    fn handle(&self, _: &Count, ctx: &mut Context<Self, Count>) -> Effect<Self, Count> {
        ctx.reply(self.done)
    }
}

/// A panic without the hook that prints it; not while another one unwinds, which would abort.
fn blow(at: Place, here: Place) {
    if at == here && !std::thread::panicking() {
        std::panic::resume_unwind(Box::new("on purpose"));
    }
}

async fn node(stores: &Stores) -> Node {
    let policy = SnapshotPolicy::when(|state: &Brittle, _, _| {
        blow(state.breaks, Place::Policy);
        true
    });
    let kind = Kind::<Brittle>::new().snapshots(policy);
    Node::builder("brittle").kind(kind).start(stores.clone()).await.unwrap()
}

#[test]
fn whatever_panics_the_next_command_is_answered_and_no_gauge_goes_astray() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    metrics::with_local_recorder(&recorder, || runtime.block_on(break_everywhere()));
    let mut gauges = 0;
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        if let DebugValue::Gauge(value) = value
            && key.key().name().starts_with("annals_actor_")
        {
            assert_eq!(value.0, 0.0, "{}", key.key().name());
            gauges += 1;
        }
    }
    assert!(gauges >= 3);
}

async fn break_everywhere() {
    for place in [
        Place::EncodeEvent,
        Place::Tags,
        Place::Apply,
        Place::Reply,
        Place::DropReply,
        Place::EncodeState,
        Place::DropState,
        Place::DropEvent,
        Place::Policy,
        Place::SideEffect,
        Place::DropSideEffect,
        Place::Work,
        Place::DropWork,
    ] {
        let journal = Arc::new(MemoryJournal::new());
        let stores = Stores {
            journal: journal.clone(),
            records: journal,
            snapshots: Arc::new(MemorySnapshotStore::new()),
        };
        let node = node(&stores).await;
        let entity = node.entity::<Brittle>("b");
        let done = entity.ask(Break(Place::Nowhere)).await.is_ok();
        assert!(done);
        let waiting = tokio::spawn({
            let (entity, limit) = (entity.clone(), Duration::from_secs(5));
            async move { entity.ask(Break(place)).timeout(limit).await.map(std::mem::forget) }
        });
        let broken =
            waiting.await.unwrap_or(Err(AskError::Failed(Failure::NotRegistered { kind: "panicked" })));
        let stored = match &broken {
            Ok(()) => 1,
            Err(AskError::Failed(_)) => 0,
            Err(_) => u32::MAX,
        };
        let mut count = Err(());
        for _ in 0..3 {
            count = count.or(entity.ask(Count).timeout(Duration::from_secs(5)).await.map_err(|_| ()));
        }
        let count = count.unwrap_or_else(|()| panic!("{place:?}: nobody answers after {broken:?}"));
        assert!(stored == u32::MAX || count == 1 + stored, "{place:?}: {broken:?}, and then {count} events");
        println!("{place:?}: {broken:?}, {count}");
        timeout(Duration::from_secs(3_600), node.shutdown())
            .await
            .unwrap_or_else(|_| panic!("{place:?}: the node does not stop"));
    }
}
