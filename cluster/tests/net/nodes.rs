use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use annals_actors::plain::{
    Actor, ActorContext, ActorRef, ActorSystem, BoxError, Mailbox, Overflow, Props, ReplyTo,
};
use annals_cluster::discovery::{Discovery, DiscoveryError};
use annals_cluster::remote::{Exposure, RemoteMessage, RemoteQuestion};
use annals_cluster::transport::{Security, TransportSettings};
use annals_cluster::{Cluster, ClusterSettings, MemberStatus, NodeAddress};

/// Tests wait so long for what comes soon, on a machine that is busy with others.
pub(crate) const PATIENCE: Duration = Duration::from_secs(100);

/// Contact points that are known when all nodes listen.
#[derive(Clone, Default)]
pub(crate) struct Contacts(Arc<Mutex<Vec<NodeAddress>>>);

impl Contacts {
    pub(crate) fn set(&self, addresses: impl IntoIterator<Item = NodeAddress>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = addresses.into_iter().collect();
    }
}

#[async_trait::async_trait]
impl Discovery for Contacts {
    async fn contact_points(&self) -> Result<Vec<NodeAddress>, DiscoveryError> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// In a hurry, but for suspicion: nodes of one process that many others share may be slow.
pub(crate) fn settings(contacts: &Contacts, nodes: usize, security: Security) -> ClusterSettings {
    let mut transport = TransportSettings::new("127.0.0.1:0".parse().unwrap(), security);
    transport.backoff = (Duration::from_millis(20), Duration::from_millis(100));
    let mut settings = ClusterSettings::new(transport, contacts.clone());
    settings.discover_every = Duration::from_millis(20);
    let membership = &mut settings.membership;
    membership.tick = Duration::from_millis(20);
    membership.gossip_interval = Duration::from_millis(100);
    membership.detector.heartbeat_interval = Duration::from_millis(200);
    membership.forming.contact_points = Some(nodes);
    membership.forming.look_for = Duration::from_millis(100);
    membership.forming.ask_interval = Duration::from_millis(100);
    settings
}

/// Starts them and waits until all are up.
pub(crate) async fn form(
    contacts: &Contacts,
    all: impl IntoIterator<Item = ClusterSettings>,
) -> Vec<Cluster> {
    let mut nodes = Vec::new();
    for settings in all {
        nodes.push(Cluster::start(settings).await.unwrap());
    }
    contacts.set(nodes.iter().map(|node| node.address().clone()));
    for node in &nodes {
        let up = node.until(|view| view.count(MemberStatus::Up) == nodes.len());
        let formed = tokio::time::timeout(PATIENCE, up).await;
        assert!(
            matches!(formed, Ok(Ok(_))),
            "{:?}: {:?}, {:?}",
            node,
            node.view(),
            node.connection_failures()
        );
    }
    nodes
}

pub(crate) async fn formed(nodes: usize, security: Security) -> Vec<Cluster> {
    let contacts = Contacts::default();
    let all: Vec<_> = (0..nodes).map(|_| settings(&contacts, nodes, security.clone())).collect();
    form(&contacts, all).await
}

/// What is sent.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Add {
    #[prost(uint64, tag = "1")]
    pub(crate) cents: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) padding: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct GetTotal {}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Total {
    #[prost(uint64, tag = "1")]
    pub(crate) cents: u64,
}

/// Nobody answers it.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Forget {}

/// It is answered when the asker is gone.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Ponder {}

/// It is answered with so many bytes.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct GetBytes {
    #[prost(uint64, tag = "1")]
    pub(crate) bytes: u64,
}

/// Nothing exposes it.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Empty {}

impl RemoteMessage for Add {
    const MANIFEST: &'static str = "add";
}
impl RemoteMessage for GetTotal {
    const MANIFEST: &'static str = "get-total";
}
impl RemoteQuestion for GetTotal {
    type Answer = Total;
}
impl RemoteMessage for Forget {
    const MANIFEST: &'static str = "forget";
}
impl RemoteQuestion for Forget {
    type Answer = Total;
}
impl RemoteMessage for Ponder {
    const MANIFEST: &'static str = "ponder";
}
impl RemoteQuestion for Ponder {
    type Answer = Total;
}
impl RemoteMessage for GetBytes {
    const MANIFEST: &'static str = "get-bytes";
}
impl RemoteQuestion for GetBytes {
    type Answer = Add;
}
impl RemoteMessage for Empty {
    const MANIFEST: &'static str = "empty";
}
impl RemoteQuestion for Empty {
    type Answer = Total;
}

#[derive(Default)]
pub(crate) struct Till {
    cents: u64,
    pondered: Vec<ReplyTo<Total>>,
}

pub(crate) enum TillMessage {
    Add(u64),
    Total(ReplyTo<Total>),
    Forget(ReplyTo<Total>),
    Ponder(ReplyTo<Total>),
    Bytes(u64, ReplyTo<Add>),
    /// Only from this node: the handler waits for this.
    Wait(tokio::sync::oneshot::Receiver<()>),
}

impl Actor for Till {
    type Message = TillMessage;

    async fn receive(&mut self, message: TillMessage, _: &mut ActorContext<Self>) -> Result<(), BoxError> {
        match message {
            TillMessage::Add(cents) => self.cents += cents,
            TillMessage::Total(reply_to) => reply_to.send(Total { cents: self.cents }),
            TillMessage::Forget(reply_to) => drop(reply_to),
            TillMessage::Ponder(reply_to) => self.pondered.push(reply_to),
            TillMessage::Bytes(bytes, reply_to) => {
                let padding = vec![1; usize::try_from(bytes)?];
                reply_to.send(Add { cents: 0, padding });
            }
            TillMessage::Wait(until) => drop(until.await),
        }
        Ok(())
    }
}

pub(crate) fn exposed(till: &ActorRef<TillMessage>) -> Exposure<TillMessage> {
    Exposure::of(till)
        .tell(|add: Add| TillMessage::Add(add.cents))
        .ask(|_: GetTotal, reply_to| TillMessage::Total(reply_to))
        .ask(|_: Forget, reply_to| TillMessage::Forget(reply_to))
        .ask(|_: Ponder, reply_to| TillMessage::Ponder(reply_to))
        .ask(|get: GetBytes, reply_to| TillMessage::Bytes(get.bytes, reply_to))
}

/// A till with a mailbox for so many messages, exposed as `till`.
pub(crate) fn till(cluster: &Cluster, mailbox: usize) -> ActorRef<TillMessage> {
    let props = Props::new(Till::default).mailbox(Mailbox::bounded(mailbox).on_overflow(Overflow::Wait));
    let till = ActorSystem::new("shop").spawn("till", props).unwrap();
    cluster.expose("till", exposed(&till)).unwrap();
    till
}
