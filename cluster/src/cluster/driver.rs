//! Performs what a [`Node`] says, and tells it what happens.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tracing::{debug, error, info, warn};

use super::cluster_settings::{DowningLease, HandOver};
use super::cluster_view::ClusterView;
use super::memory_file::MemoryFile;
use crate::discovery::Discovery;
use crate::transport::Transport;
use crate::transport::context::Who;
use crate::{Action, Event, Input, Memory, Message, Moment, Node, NodeId};

/// What its handles ask of the driver.
#[derive(Debug)]
pub(super) enum Command {
    Node(Input),
    Close,
}

/// Runs one node.
pub(super) struct Driver {
    transport: Arc<Transport>,
    discovery: Arc<dyn Discovery>,
    discover_every: Duration,
    memory_file: Option<MemoryFile>,
    lease: Option<Arc<dyn DowningLease>>,
    hand_over: HandOver,
    tick: Duration,
    began: Instant,
    /// Discovery, the lease, handing over, the memory's file: what it awaits beside the node.
    beside: JoinSet<()>,
    told: Option<mpsc::UnboundedSender<Input>>,
    last_waiting: Option<Event>,
}

impl Driver {
    pub(super) fn new(
        transport: Arc<Transport>,
        discovery: Arc<dyn Discovery>,
        discover_every: Duration,
        memory_file: Option<MemoryFile>,
        lease: Option<Arc<dyn DowningLease>>,
        hand_over: HandOver,
        tick: Duration,
    ) -> Self {
        Self {
            transport,
            discovery,
            discover_every,
            memory_file,
            lease,
            hand_over,
            tick,
            began: Instant::now(),
            beside: JoinSet::new(),
            told: None,
            last_waiting: None,
        }
    }

    pub(super) fn now(&self) -> Moment {
        Moment::from_millis(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) async fn run(
        mut self,
        mut node: Node,
        mut received: mpsc::Receiver<(NodeId, Message)>,
        mut commands: mpsc::UnboundedReceiver<Command>,
        views: watch::Sender<Arc<ClusterView>>,
        events: broadcast::Sender<Event>,
        end: watch::Sender<bool>,
    ) {
        let (told, mut heard) = mpsc::unbounded_channel();
        self.beside.spawn(discover(Arc::clone(&self.discovery), self.discover_every, told.clone()));
        self.told = Some(told);
        let (memories, memory) = watch::channel(None);
        let remembering = tokio::spawn(remember(self.memory_file.take(), memory));
        let mut ticks = interval(self.tick);
        // After a pause there is nothing to make up for: the node looks at its clock.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let input = tokio::select! {
                biased;
                _ = ticks.tick() => Input::Tick,
                Some((from, message)) = received.recv() => Input::Received { from, message },
                Some(input) = heard.recv() => input,
                // Without a handle a node runs on.
                Some(command) = commands.recv() => match command {
                    Command::Node(input) => input,
                    Command::Close => break,
                },
            };
            self.let_go_of_what_has_ended(&node);
            let actions = node.step(self.now(), input);
            if node.id().incarnation != self.transport.context.incarnation() {
                self.transport.context.is_now(node.id().incarnation);
            }
            let decided = actions.iter().any(|action| matches!(action, Action::Decided(_)));
            // Before events, so that who hears of one finds it in the view.
            if decided || !views.borrow().is_of(&node) {
                self.publish(&node, &views);
            }
            for action in actions {
                self.perform(&node, action, &events, &memories);
            }
            if node.stopped().is_some() {
                break;
            }
        }
        self.beside.shutdown().await;
        drop(memories);
        let _ = remembering.await;
        self.transport.close(super::LAST_WORDS).await;
        end.send_replace(true);
    }

    /// Otherwise each question for the lease would stay for as long as the node runs.
    fn let_go_of_what_has_ended(&mut self, node: &Node) {
        while let Some(ended) = self.beside.try_join_next() {
            if let Err(error) = ended {
                error!(node = %node.id(), %error, "a part of the cluster's driver ended; restart this node if it does not go on");
            }
        }
    }

    fn publish(&self, node: &Node, views: &watch::Sender<Arc<ClusterView>>) {
        let view = ClusterView::of(node);
        let metrics = &self.transport.context.metrics;
        metrics.members.set(view.state().map_or(0, |state| state.members().len()) as f64);
        metrics.unreachable_members.set(view.unreachable().len() as f64);
        self.transport.context.set_who(Who(view.state().cloned()));
        views.send_replace(Arc::new(view));
    }

    fn perform(
        &mut self,
        node: &Node,
        action: Action,
        events: &broadcast::Sender<Event>,
        memories: &watch::Sender<Option<Memory>>,
    ) {
        match action {
            Action::Send { to, incarnation, message } => {
                self.transport.send_membership(&to, incarnation, &message);
            }
            Action::Tell(event) => {
                self.log(node, &event);
                // Nobody may have subscribed.
                let _ = events.send(event);
            }
            Action::Decided(decision) => {
                self.transport.context.metrics.decisions.increment(1);
                warn!(node = %node.id(), %decision, "a decision about unreachable members");
            }
            Action::AcquireLease => self.ask_for_lease(node),
            Action::ReleaseLease => {
                if let (Some(lease), owner) = (self.lease.clone(), owner(node)) {
                    self.beside.spawn(async move { lease.release(&owner).await });
                }
            }
            Action::Remember(memory) => {
                memories.send_replace(Some(memory));
            }
            Action::HandOver => {
                let (hand_over, told) = ((self.hand_over)(), self.told.clone());
                self.beside.spawn(async move {
                    hand_over.await;
                    if let Some(told) = told {
                        // The node has ended.
                        let _ = told.send(Input::HandedOver);
                    }
                });
            }
            Action::Stop(reason) => warn!(node = %node.id(), %reason, "no member any more"),
        }
    }

    fn ask_for_lease(&mut self, node: &Node) {
        let (Some(lease), Some(told)) = (self.lease.clone(), self.told.clone()) else { return };
        let owner = owner(node);
        self.beside.spawn(async move {
            let acquired = timeout(LEASE_WITHIN, lease.acquire(&owner)).await.unwrap_or(false);
            let _ = told.send(Input::LeaseAnswered { acquired });
        });
    }

    fn log(&mut self, node: &Node, event: &Event) {
        match event {
            Event::Waiting { .. } | Event::CountUnknown { .. } => {
                if self.last_waiting.as_ref() != Some(event) {
                    warn!(node = %node.id(), "{event}");
                    self.last_waiting = Some(event.clone());
                }
            }
            Event::Unreachable(_)
            | Event::Suspended(_)
            | Event::Superseded { .. }
            | Event::TooManyMembers { .. }
            | Event::DataCenterUnreachable(_)
            | Event::Refused(..) => warn!(node = %node.id(), "{event}"),
            _ => info!(node = %node.id(), "{event}"),
        }
    }
}

/// Owners of the lease are told apart by cluster and incarnation.
fn owner(node: &Node) -> String {
    let cluster = node.state().map_or(0, |state| state.id().0);
    format!("{cluster:016x}-{:016x}", node.id().incarnation.0)
}

async fn discover(discovery: Arc<dyn Discovery>, every: Duration, told: mpsc::UnboundedSender<Input>) {
    let mut last = None;
    loop {
        let found = timeout(DISCOVER_WITHIN, discovery.contact_points()).await;
        let complaint = match found {
            Ok(Ok(contact_points)) => {
                if told.send(Input::Discovered(contact_points)).is_err() {
                    return;
                }
                None
            }
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("no answer in time".to_owned()),
        };
        if complaint != last {
            match &complaint {
                Some(why) => warn!(why, "contact points are not found: those found before count"),
                None => debug!("contact points are found again"),
            }
            last = complaint;
        }
        sleep(every).await;
    }
}

/// Writes the newest memory; what is newer when it has been written is written next.
async fn remember(file: Option<MemoryFile>, mut memories: watch::Receiver<Option<Memory>>) {
    let mut last = false;
    while !last {
        // The last one may have come just before the end.
        last = memories.changed().await.is_err();
        let memory = memories.borrow_and_update().clone();
        if let (Some(file), Some(memory)) = (file.clone(), memory) {
            let written = tokio::task::spawn_blocking(move || file.write(&memory)).await;
            if let Ok(Err(error)) = written {
                warn!(%error, "what is known of the cluster cannot be written down: a restart will not remember it");
            }
        }
    }
}

/// A discovery that takes longer has found nothing.
const DISCOVER_WITHIN: Duration = Duration::from_secs(10);

/// No answer in time counts as a refusal.
const LEASE_WITHIN: Duration = Duration::from_secs(10);
