//! A running node of a cluster.

mod cluster_settings;
pub use cluster_settings::{ClusterSettings, DowningLease};
mod cluster_view;
pub use cluster_view::ClusterView;
mod events;
pub use events::{Events, Heard};
mod start_error;
pub use start_error::StartError;
mod driver;
mod memory_file;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::{broadcast, mpsc, watch};

use self::driver::{Command, Driver};
use self::memory_file::MemoryFile;
use crate::downing::{Decision, Strategy};
use crate::remote::{Exposure, NameExposed, RemoteRef};
use crate::transport::{Context, Credentials, CredentialsError, Security, Transport, bind};
use crate::{Facts, FactsTooLarge, Identity, Incarnation, Input, Node, NodeAddress, NodeId, StopReason};

/// A running node: a member of its cluster, or about to become one. Cheap to clone; it runs until it is stopped.
///
/// ```no_run
/// use annals_cluster::{Cluster, ClusterSettings};
/// use annals_cluster::discovery::StaticList;
/// use annals_cluster::transport::{Security, TlsFiles, TransportSettings};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let files = TlsFiles::new("node.pem", "node.key", "roots.pem");
/// let transport = TransportSettings::new("node-1.internal:2552".parse()?, Security::Tls(files));
/// let contacts = ["node-1.internal:2552".parse()?, "node-2.internal:2552".parse()?, "node-3.internal:2552".parse()?];
/// let cluster = Cluster::start(ClusterSettings::new(transport, StaticList::new(contacts))).await?;
///
/// cluster.until_up().await?;
/// println!("{} members", cluster.view().members().len());
/// cluster.leave();
/// cluster.stopped().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Cluster {
    transport: Arc<Transport>,
    listens_at: SocketAddr,
    commands: mpsc::UnboundedSender<Command>,
    views: watch::Receiver<Arc<ClusterView>>,
    events: broadcast::Sender<crate::Event>,
    ended: watch::Receiver<bool>,
}

impl Cluster {
    /// Listens, and begins to look for its cluster. Returns before it is a member: see [`until_up`](Self::until_up).
    ///
    /// # Errors
    ///
    /// [`StartError`]: what is set does not fit together, files cannot be read, or the address cannot be listened on.
    pub async fn start(settings: ClusterSettings) -> Result<Self, StartError> {
        let ClusterSettings {
            mut membership,
            transport: mut talking,
            discovery,
            discover_every,
            roles,
            app_version,
            data_center,
            facts,
            memory_file,
            lease,
            hand_over,
        } = settings;
        if matches!(membership.downing.strategy, Strategy::LeaseMajority { .. }) && lease.is_none() {
            return Err(StartError::NoLease);
        }
        if membership.forming.contact_points.is_none() {
            membership.forming.contact_points = discovery.count();
        }
        let memory_file = memory_file.map(MemoryFile::at);
        let memory = memory_file.as_ref().map(MemoryFile::read).transpose()?.flatten();

        let listener = listen(&mut talking).await?;
        let address = talking.advertised.clone();
        let listens_at = listener
            .local_addr()
            .map_err(|source| StartError::Unresolved { address: address.clone(), source })?;
        let credentials = {
            let (security, secret_file, address) =
                (talking.security.clone(), talking.secret_file.clone(), address.clone());
            tokio::task::spawn_blocking(move || Credentials::load(security, secret_file, address))
                .await
                .map_err(|_| StartError::Interrupted)??
        };

        let mut identity = Identity::new(address, Incarnation(rand::random()));
        (identity.roles, identity.app_version, identity.data_center) = (roles, app_version, data_center);
        let me = identity.id.clone();
        let (inbox, received) = mpsc::channel(INBOX);
        let transport = Transport::start(Context::new(talking, me.clone(), credentials, inbox), listener);

        let tick = membership.tick;
        let driver =
            Driver::new(transport.clone(), discovery, discover_every, memory_file, lease, hand_over, tick);
        let now = driver.now();
        let node = Node::new(now, identity, membership, rand::random()).with_memory(memory).with_facts(facts);
        let (commands, orders) = mpsc::unbounded_channel();
        let (publisher, views) = watch::channel(Arc::new(ClusterView::of(&node)));
        let (events, _) = broadcast::channel(EVENTS);
        let (end, ended) = watch::channel(false);
        tokio::spawn(driver.run(node, received, orders, publisher, events.clone(), end));
        Ok(Self { transport, listens_at, commands, views, events, ended })
    }

    /// What this node knows now.
    pub fn view(&self) -> Arc<ClusterView> {
        Arc::clone(&self.views.borrow())
    }

    /// Waits until what this node knows is such.
    ///
    /// # Errors
    ///
    /// [`Ended`]: it never will be, the node has stopped.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn until(&self, such: impl Fn(&ClusterView) -> bool) -> Result<Arc<ClusterView>, Ended> {
        let mut views = self.views.clone();
        let view = views.wait_for(|view| such(view) || view.stopped().is_some()).await;
        // The last view stays when the driver ends.
        let view = view.map_or_else(|_| self.view(), |view| Arc::clone(&view));
        if such(&view) { Ok(view) } else { Err(Ended(view.stopped())) }
    }

    /// Waits until this node is up.
    ///
    /// # Errors
    ///
    /// [`Ended`]: it has stopped before.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn until_up(&self) -> Result<Arc<ClusterView>, Ended> {
        self.until(|view| view.my_status() == Some(crate::MemberStatus::Up)).await
    }

    /// What happens from now on.
    pub fn events(&self) -> Events {
        Events::new(self.events.subscribe())
    }

    /// Who this node is.
    pub fn id(&self) -> NodeId {
        self.view().id().clone()
    }

    /// Where it is reached.
    pub fn address(&self) -> &NodeAddress {
        &self.transport.context.advertised
    }

    /// Where it listens, which may be elsewhere than it is advertised.
    pub const fn listens_at(&self) -> SocketAddr {
        self.listens_at
    }

    /// The last decisions about unreachable members that this node took, with all that they rest on, oldest first.
    pub fn decisions(&self) -> Vec<Decision> {
        self.view().decisions().to_vec()
    }

    /// Has this node leave: others take over what it ran, and it stops. [`stopped`](Self::stopped) waits for the end.
    pub fn leave(&self) {
        self.command(Command::Node(Input::Leave));
    }

    /// An operator decides that a member is down. Make sure that its process has ended: nobody asks it.
    pub fn down(&self, member: Incarnation) {
        self.command(Command::Node(Input::Down(member)));
    }

    /// Announces these facts from now on, in place of those before.
    ///
    /// # Errors
    ///
    /// [`FactsTooLarge`].
    pub fn announce(&self, facts: BTreeMap<String, Vec<u8>>) -> Result<(), FactsTooLarge> {
        Facts::new(facts.clone())?;
        self.command(Command::Node(Input::Announce(facts)));
        Ok(())
    }

    /// Waits until this node is no member any more, and has ended its connections. `None`: it was [closed](Self::close).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn stopped(&self) -> Option<StopReason> {
        let mut ended = self.ended.clone();
        // An error means the same: the driver has ended.
        let _ = ended.wait_for(|ended| *ended).await;
        self.view().stopped()
    }

    /// Ends this node without leaving, as a crash would: the others find it unreachable. [`leave`](Self::leave) is the better way.
    pub async fn close(&self) {
        self.command(Command::Close);
        self.stopped().await;
    }

    /// Lets other nodes address an actor under a name, with the messages of the exposure.
    ///
    /// # Errors
    ///
    /// [`NameExposed`] when an actor that runs has the name.
    pub fn expose<M: Send + 'static>(&self, name: &str, exposure: Exposure<M>) -> Result<(), NameExposed> {
        self.transport.context.exposures.expose(name, exposure)
    }

    /// Has nobody address what this name exposes any more; `false`: it exposes nothing.
    pub fn conceal(&self, name: &str) -> bool {
        self.transport.context.exposures.conceal(name)
    }

    /// Reaches what a member exposes under a name.
    pub fn remote(&self, node: &NodeId, name: &str) -> RemoteRef {
        RemoteRef::new(Arc::clone(&self.transport), node.clone(), name)
    }

    /// Addresses that the last connection could not be made to, with a sentence each that says why: refused, a certificate, a secret, a
    /// clock, or nobody there.
    pub fn connection_failures(&self) -> BTreeMap<NodeAddress, Arc<str>> {
        self.transport.failures()
    }

    /// Reads certificates, keys, roots and secrets again, now; whether something has changed.
    ///
    /// # Errors
    ///
    /// [`CredentialsError`]: they stay as they were.
    pub async fn reload_credentials(&self) -> Result<bool, CredentialsError> {
        self.transport.reload().await
    }

    fn command(&self, command: Command) {
        // After its end a node does nothing.
        let _ = self.commands.send(command);
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Cluster({})", self.view().id())
    }
}

/// The node has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node has stopped{}", .0.map_or_else(String::new, |reason| format!(": {reason}")))]
pub struct Ended(pub Option<StopReason>);

/// Binds, if that is allowed, and completes the advertised address.
async fn listen(
    talking: &mut crate::transport::TransportSettings,
) -> Result<tokio::net::TcpListener, StartError> {
    let advertised = &talking.advertised;
    let address = match talking.listen {
        Some(address) => address,
        None => {
            let unknown = |source| StartError::Unresolved { address: advertised.clone(), source };
            let mut found = lookup_host((advertised.host(), advertised.port())).await.map_err(unknown)?;
            found.next().ok_or_else(|| unknown(std::io::ErrorKind::NotFound.into()))?
        }
    };
    if matches!(talking.security, Security::Plaintext { on_any_address: false }) && !is_loopback(address) {
        return Err(StartError::PlaintextBeyondLoopback { address });
    }
    let cannot = |source| StartError::Listen { address, source };
    let listener = bind(address).await.map_err(cannot)?;
    if talking.advertised.port() == 0 {
        let port = listener.local_addr().map_err(cannot)?.port();
        talking.advertised =
            NodeAddress::new(talking.advertised.host(), port).map_err(|_| StartError::Interrupted)?;
    }
    Ok(listener)
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Messages of the cluster that wait for the node.
const INBOX: usize = 4_096;

/// Events that wait for a subscriber.
const EVENTS: usize = 1_024;

/// For what waits to be sent when a node stops.
const LAST_WORDS: Duration = Duration::from_secs(1);
