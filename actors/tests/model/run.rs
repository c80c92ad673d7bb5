//! A run: nodes that come and go on faulty stores, clients that ask them, and every answer against what is there at the end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals_actors::plain::{Mailbox, Overflow};
use annals_actors::{AskError, Failure, Kind, NeverRejected, Node, Stores};
use annals_journal::testing::FaultyJournal;
use annals_journal::{Journal, JournalError};
use annals_snapshot::testing::FaultySnapshots;
use annals_snapshot::{Retention, SnapshotPolicy, SnapshotStore};
use futures::future::BoxFuture;
use tokio::time::{sleep, timeout};

use crate::faulty::{self, Chance};
use crate::ledger::*;

const ENTITIES: u64 = 2;
/// Nothing takes so long, unless it never ends.
const FOR_EVER: Duration = Duration::from_secs(3_600);

/// Puts a journal around the node's group commit.
pub(crate) type Layer =
    Arc<dyn Fn(Arc<dyn Journal>) -> BoxFuture<'static, Result<Arc<dyn Journal>, JournalError>> + Send + Sync>;

/// Puts a store around the node's snapshots.
pub(crate) type SnapshotLayer = Arc<dyn Fn(Arc<dyn SnapshotStore>) -> Arc<dyn SnapshotStore> + Send + Sync>;

/// Where the nodes of a run store, beneath the faults.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) stores: Stores,
    /// What seals events and snapshots; `None`: they are in the clear.
    pub(crate) seal: Option<Seal>,
    /// Whether time is the machine's, which has other things to do.
    pub(crate) real_time: bool,
}

/// Both sides of encryption.
#[derive(Clone)]
pub(crate) struct Seal {
    pub(crate) events: Layer,
    pub(crate) snapshots: SnapshotLayer,
}

#[derive(Default)]
struct History {
    commands: u32,
    /// Per entity: how many entries somebody knows of.
    known: HashMap<u64, usize>,
    done: Vec<Done>,
}

/// A command that was answered.
struct Done {
    entity: u64,
    command: u32,
    times: u8,
    /// How many entries were known when it was sent.
    known: usize,
    answer: Answer,
}

#[derive(Debug, PartialEq)]
enum Answer {
    /// With the number of entries after it.
    Entered(usize),
    NotDone(Failure),
    Unknown,
}

pub(crate) struct Run {
    seed: u64,
    chance: Chance,
    place: Place,
    journal: FaultyJournal,
    snapshots: FaultySnapshots,
    history: Mutex<History>,
}

impl Run {
    /// `lies`: the journal says of an unknown outcome that it is certainly not stored.
    pub(crate) fn new(seed: u64, place: Place, lies: bool) -> Self {
        let chance = Chance::new(seed);
        let journal = faulty::journal(Arc::clone(&place.stores.journal), chance.clone(), lies);
        let snapshots = faulty::snapshots(Arc::clone(&place.stores.snapshots), chance.clone());
        Self { seed, chance, place, journal, snapshots, history: Mutex::default() }
    }

    /// No other run on the same stores has it.
    fn entity_id(&self, entity: u64) -> String {
        format!("{}-{entity}", self.seed)
    }

    async fn node(&self, name: &str) -> Node {
        let Place { stores, seal, real_time } = &self.place;
        let snapshots: Arc<dyn SnapshotStore> = Arc::new(self.snapshots.clone());
        let stores = Stores {
            journal: Arc::new(self.journal.clone()),
            records: Arc::clone(&stores.records),
            snapshots: seal.as_ref().map_or(Arc::clone(&snapshots), |seal| (seal.snapshots)(snapshots)),
        };
        // One alone may be torn when it is saved again, and then nothing is left.
        let retention = Retention::keep(2 + self.seed as usize / 2 % 2);
        let overflow = [Overflow::Wait, Overflow::Refuse, Overflow::Drop][self.chance.below(3) as usize];
        let kind = Kind::<Ledger>::new()
            .retention(if self.seed.is_multiple_of(2) { retention.delete_events() } else { retention })
            .snapshots(SnapshotPolicy::every_events(1 + self.chance.below(6)).or(SnapshotPolicy::on_stop()))
            .mailbox(Mailbox::bounded(1 + self.chance.below(16) as usize).on_overflow(overflow))
            .max_pending(1 + self.chance.below(6) as usize, 10_000)
            .journal_patience(Duration::from_millis(self.chance.below(2_000)))
            .passivate_after(Duration::from_millis(20 + self.chance.below(400)));
        let recovery = Duration::from_millis(500 + self.chance.below(2_000));
        let mut node = Node::builder(name)
            .kind(kind)
            .max_claims(1)
            .max_recoveries(1)
            .recovery_timeout(if *real_time { recovery * 20 } else { recovery });
        if let Some(seal) = seal {
            node = node.journal_layer({
                let events = Arc::clone(&seal.events);
                move |journal| events(journal)
            });
        }
        node.start(stores).await.unwrap()
    }

    /// Sends commands one after the other, mostly to the last of the nodes that there are.
    async fn client(&self, nodes: &Mutex<Vec<Node>>) {
        for _ in 0..12 {
            sleep(Duration::from_millis(self.chance.below(100))).await;
            let node = {
                let nodes = nodes.lock().unwrap();
                let any = self.chance.below(nodes.len() as u64) as usize;
                let at = if self.chance.below(3) > 0 { nodes.len() - 1 } else { any };
                nodes[at].clone()
            };
            let entity = self.chance.below(ENTITIES);
            if self.chance.below(3) == 0 {
                self.read(&node, entity, true).await;
            } else {
                self.enter(&node, entity).await;
            }
        }
    }

    async fn enter(&self, node: &Node, entity: u64) {
        let ledger = node.entity::<Ledger>(&self.entity_id(entity));
        let (command, known) = {
            let mut history = self.history.lock().unwrap();
            history.commands += 1;
            (history.commands, history.known.get(&entity).copied().unwrap_or_default())
        };
        let times = 1 + self.chance.below(3) as u8;
        let limit = Duration::from_millis(5 + self.chance.below(5_000));
        let (times, answer) = if self.chance.below(6) == 0 {
            let ask = ledger.ask(EnterLater { command, millis: self.chance.below(200) }).timeout(limit);
            (1, timeout(FOR_EVER, async { ask.await }).await)
        } else {
            let passivate = self.chance.below(12) == 0;
            let ask = ledger.ask(Enter { command, times, passivate }).timeout(limit);
            (times, timeout(FOR_EVER, async { ask.await }).await)
        };
        let answer = match answer.unwrap_or_else(|_| panic!("seed {}: an ask does not end", self.seed)) {
            Ok(entries) => Answer::Entered(entries),
            Err(AskError::Failed(failure)) => Answer::NotDone(failure),
            Err(AskError::Unknown(_)) => Answer::Unknown,
        };
        let mut history = self.history.lock().unwrap();
        if let Answer::Entered(entries) = answer {
            let known = history.known.entry(entity).or_default();
            *known = entries.max(*known);
        }
        history.done.push(Done { entity, command, times, known, answer });
    }

    /// A confirmed read sees all that was known when it was sent.
    async fn read(&self, node: &Node, entity: u64, confirmed: bool) -> Option<Vec<u32>> {
        let ledger = node.entity::<Ledger>(&self.entity_id(entity));
        let known = self.history.lock().unwrap().known.get(&entity).copied().unwrap_or_default();
        let ask = ledger.ask(Entries).timeout(Duration::from_millis(5 + self.chance.below(5_000)));
        let ask = if confirmed { ask.confirmed() } else { ask };
        let answer: Result<_, AskError<NeverRejected>> = timeout(FOR_EVER, async { ask.await })
            .await
            .unwrap_or_else(|_| panic!("seed {}: a read does not end", self.seed));
        let entries = match answer {
            Ok(entries) => entries,
            Err(AskError::Failed(failure @ Failure::RecoveryFailed { .. })) => {
                panic!("seed {}: {failure}", self.seed);
            }
            Err(_) => return None,
        };
        assert!(entries.len() >= known, "seed {}: {} entries were known, read {entries:?}", self.seed, known);
        let mut history = self.history.lock().unwrap();
        let known = history.known.entry(entity).or_default();
        *known = entries.len().max(*known);
        Some(entries)
    }

    /// Every answer against what is there at the end.
    fn check(&self, entity: u64, entries: &[u32]) {
        let seed = self.seed;
        let history = self.history.lock().unwrap();
        let mut at = 0;
        let mut seen = Vec::new();
        while let Some(command) = entries.get(at) {
            assert!(!seen.contains(command), "seed {seed}: command {command} is there twice: {entries:?}");
            seen.push(*command);
            at += entries[at..].iter().take_while(|other| *other == command).count();
        }
        for done in history.done.iter().filter(|done| done.entity == entity) {
            let Done { command, times, known, answer, .. } = done;
            let place = entries.iter().position(|entry| entry == command);
            let count = entries.iter().filter(|entry| *entry == command).count();
            let story = format!("seed {seed}: command {command} x{times} {answer:?} in {entries:?}");
            assert!(count == 0 || count == usize::from(*times), "not all or none, {story}");
            assert!(place.is_none_or(|place| place >= *known), "before what was known, {story}");
            match answer {
                Answer::Entered(end) => assert_eq!(place.map(|place| place + count), Some(*end), "{story}"),
                Answer::NotDone(failure) => {
                    assert_eq!(place, None, "{story}");
                    assert!(
                        !matches!(failure, Failure::RecoveryFailed { .. } | Failure::Panicked { .. }),
                        "{story}"
                    );
                }
                Answer::Unknown => {}
            }
        }
    }

    /// The whole run; how many commands were done, were not done, and are unknown.
    pub(crate) async fn all(self) -> [usize; 3] {
        let nodes = Mutex::new(vec![self.node("first").await]);
        let second = async {
            sleep(Duration::from_millis(self.chance.below(1_500))).await;
            let node = self.node("second").await;
            nodes.lock().unwrap().push(node);
            if self.chance.below(2) == 0 {
                sleep(Duration::from_millis(self.chance.below(1_000))).await;
                let first = nodes.lock().unwrap()[0].clone();
                self.stop(&first).await;
            }
        };
        let (a, b, c, d) =
            (self.client(&nodes), self.client(&nodes), self.client(&nodes), self.client(&nodes));
        tokio::join!(second, a, b, c, d);
        if self.chance.below(2) == 0 {
            self.chance.calm_down();
        }
        let running = nodes.into_inner().unwrap();
        for node in &running {
            self.stop(node).await;
        }
        self.chance.calm_down();
        self.journal.late_writes().await;
        let last = self.node("last").await;
        for entity in 0..ENTITIES {
            let mut entries = None;
            // A read may have too little time, or a small mailbox be full of one that had.
            for _ in 0..20 {
                sleep(Duration::from_millis(100)).await;
                entries = entries.or(self.read(&last, entity, false).await);
                if self.place.real_time && entries.is_some() {
                    break;
                }
            }
            let entries =
                entries.unwrap_or_else(|| panic!("seed {}: nothing can be read at the end", self.seed));
            self.check(entity, &entries);
        }
        self.stop(&last).await;
        let history = self.history.lock().unwrap();
        let count =
            |wanted: fn(&Answer) -> bool| history.done.iter().filter(|done| wanted(&done.answer)).count();
        [
            count(|answer| matches!(answer, Answer::Entered(_))),
            count(|answer| matches!(answer, Answer::NotDone(_))),
            count(|answer| *answer == Answer::Unknown),
        ]
    }

    async fn stop(&self, node: &Node) {
        timeout(FOR_EVER, node.shutdown())
            .await
            .unwrap_or_else(|_| panic!("seed {}: node {} does not stop", self.seed, node.name()));
    }
}
