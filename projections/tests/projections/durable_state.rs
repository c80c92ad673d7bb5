//! A projection of a durable state.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use annals_actors::plain::BoxError;
use annals_actors::{Context, DurableState, Effect, Handle, Kind, NeverRejected, Node, StateChange, Stores};
use annals_journal::MemoryJournal;
use annals_migrations::Command;
use annals_projections::{Handler, Projected, Projection, Source};
use annals_snapshot::MemorySnapshotStore;
use serde::{Deserialize, Serialize};

#[derive(Clone, Default, Serialize, Deserialize)]
struct Light {
    on: bool,
}

#[derive(Serialize, Deserialize, Command)]
struct Switch;

#[derive(Serialize, Deserialize, Command)]
struct Remove;

impl DurableState for Light {
    const KIND: &'static str = "light";
    type Commands = (Switch, Remove);
}

impl Handle<Switch> for Light {
    type Reply = bool;
    type Rejection = NeverRejected;

    fn handle(&self, _: &Switch, ctx: &mut Context<Self, Switch>) -> Effect<Self, Switch> {
        ctx.update(Light { on: !self.on }).reply(|light| light.on)
    }
}

impl Handle<Remove> for Light {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, _: &Remove, ctx: &mut Context<Self, Remove>) -> Effect<Self, Remove> {
        ctx.delete().reply_with(())
    }
}

/// Which lights are on. Says nothing of events that are gone: that would be a failure.
#[derive(Clone, Default)]
struct Lights(Arc<Mutex<BTreeMap<String, bool>>>);

impl Handler for Lights {
    type Event = StateChange<Light>;

    async fn handle(&self, change: &Projected<StateChange<Light>>) -> Result<(), BoxError> {
        let id = change.persistence_id.entity_id().to_owned();
        match &change.event {
            StateChange::Updated(light) => self.0.lock().unwrap().insert(id, light.on),
            StateChange::Deleted => self.0.lock().unwrap().remove(&id),
        };
        Ok(())
    }
}

#[tokio::test]
async fn a_projection_that_comes_late_gets_the_newest_state_of_each_id() {
    let journal = Arc::new(MemoryJournal::new());
    let snapshots = Arc::new(MemorySnapshotStore::new());
    let stores = Stores { journal: journal.clone(), records: journal, snapshots };
    let start = async || {
        let node = Node::builder("n").kind(Kind::<Light>::new().keep_revisions(0));
        node.start(stores.clone()).await.unwrap()
    };
    let first = start().await;
    for (id, times) in [("hall", 3), ("cellar", 4), ("attic", 1)] {
        for _ in 0..times {
            first.entity::<Light>(id).ask(Switch).await.unwrap();
        }
    }
    first.entity::<Light>("attic").ask(Remove).await.unwrap();
    // What lies behind the newest is gone when it has stopped.
    first.shutdown().await;

    let second = start().await;
    let lights = Lights::default();
    let source = Source::of::<Light>(&second).unwrap();
    let projection =
        Projection::builder("lights", source).at_least_once(lights.clone()).start(second.system()).unwrap();
    let seen = |hall, cellar| BTreeMap::from([("hall".to_owned(), hall), ("cellar".to_owned(), cellar)]);
    projection.caught_up().await.unwrap();
    assert_eq!(*lights.0.lock().unwrap(), seen(true, false));
    second.entity::<Light>("cellar").ask(Switch).await.unwrap();
    projection.caught_up().await.unwrap();
    assert_eq!(*lights.0.lock().unwrap(), seen(true, true));
    projection.stop().await;
    second.shutdown().await;
}
