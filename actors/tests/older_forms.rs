//! Entities whose events and snapshots were written by an older build, or are written for one.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::sync::Arc;

use annals_actors::testing::TestNode;
use annals_actors::{
    AskError, Context, Effect, Failure, Handle, Kind, NeverRejected, Node, PersistentActor, StartError,
    Stores,
};
use annals_derive::{Command, Event};
use annals_journal::{Manifest, MemoryJournal};
use annals_migrations::{Form, Migrations, Step, Written, WrittenForms};
use annals_snapshot::{MemorySnapshotStore, SnapshotPolicy};
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

async fn node<A: PersistentActor>(stores: &Stores, forms: &Arc<WrittenForms>) -> Node {
    let kind = Kind::<A>::new().snapshots(SnapshotPolicy::every_events(3));
    Node::builder("forest").kind(kind).written_forms(Arc::clone(forms)).start(stores.clone()).await.unwrap()
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

#[tokio::test]
async fn builds_take_turns_over_one_history_as_long_as_the_older_form_is_written() {
    let (stores, today) = (stores(), Arc::new(WrittenForms::new()));
    assert_eq!(grown::<first::Tree>(node::<first::Tree>(&stores, &today).await, &[1]).await, ["1 mm"]);

    // The new build writes what the old one reads; its live state is what reading that back gives (I6).
    let older = Arc::new(WrittenForms::new());
    for name in ["tree.grown", "tree.state"] {
        let manifest = Manifest::new(name).unwrap();
        older.set(manifest.clone(), Written::As(Form::new(manifest, 1)));
    }
    let live = grown::<second::Tree>(node::<second::Tree>(&stores, &older).await, &[2, 3]).await;
    assert_eq!(live, ["1 mm in spring", "2 mm in spring", "3 mm in spring"]);
    let replayed = grown::<second::Tree>(node::<second::Tree>(&stores, &older).await, &[]).await;
    assert_eq!(replayed, live);

    // Going back just works.
    let back = grown::<first::Tree>(node::<first::Tree>(&stores, &today).await, &[4]).await;
    assert_eq!(back, ["1 mm", "2 mm", "3 mm", "4 mm"]);

    // From the first event in today's form on it does not, and says what this build reads.
    let forward = grown::<second::Tree>(node::<second::Tree>(&stores, &today).await, &[5]).await;
    assert_eq!(forward.last().unwrap(), "5 mm in autumn");
    let old = node::<first::Tree>(&stores, &today).await;
    let refused = old.entity::<first::Tree>("oak").ask(Read).await;
    let Err(AskError::Failed(failure @ Failure::RecoveryFailed { .. })) = refused else {
        panic!("{refused:?}")
    };
    let sentence = failure.to_string();
    for part in ["tree|oak", "tree.grown", "version 2", "version 1"] {
        assert!(sentence.contains(part), "{part:?} in {sentence}");
    }
    old.shutdown().await;
}

#[tokio::test]
async fn the_written_form_changes_while_the_node_runs_and_can_be_refused() {
    let forms = Arc::new(WrittenForms::new());
    let running = Arc::clone(&forms);
    let kit = TestNode::builder()
        .entity::<second::Tree>()
        .node(move |node| node.written_forms(Arc::clone(&running)))
        .start()
        .await;
    let tree = kit.entity::<second::Tree>("oak");
    tree.ask(Grow(1)).await.unwrap();
    let manifest = Manifest::new("tree.grown").unwrap();
    forms.set(manifest.clone(), Written::As(Form::new(manifest.clone(), 1)));
    assert_eq!(tree.ask(Grow(2)).await.unwrap(), ["1 mm in autumn", "2 mm in spring"]);
    forms.set(manifest.clone(), Written::Refused("node b reads version 0 only".into()));
    let refused = tree.ask(Grow(3)).await;
    let Err(AskError::Failed(failure @ Failure::NotStorable { .. })) = refused else { panic!("{refused:?}") };
    assert!(failure.to_string().contains("node b reads version 0 only"), "{failure}");
    forms.set(manifest, Written::Today);
    tree.ask(Grow(4)).await.unwrap();
    let versions: Vec<_> = kit
        .stored::<second::Tree>("oak")
        .envelopes()
        .await
        .iter()
        .map(|stored| stored.schema_version)
        .collect();
    assert_eq!(versions, [2, 1, 2]);
    assert!(kit.crash::<second::Tree>("oak").await);
    assert_eq!(tree.ask(Read).await.unwrap(), ["1 mm in autumn", "2 mm in spring", "4 mm in autumn"]);
}

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
