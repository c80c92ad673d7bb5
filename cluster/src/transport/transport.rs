use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tracing::{info, warn};

use super::context::{Context, NotSent, until};
use super::credentials::CredentialsError;
use super::inbound::listen;
use super::lane::Lane;
use super::outbound::{Outbound, Queued};
use super::parcel::Parcel;
use crate::{Incarnation, Message, NodeAddress, NodeId};

/// Connections of a node to its peers, and of them to it.
pub(crate) struct Transport {
    pub(crate) context: Arc<Context>,
    peers: Mutex<HashMap<NodeAddress, Peer>>,
    tasks: Mutex<JoinSet<()>>,
}

/// Lanes to a peer, as far as they were needed.
struct Peer {
    control: Option<Arc<Outbound>>,
    bulk: Option<Arc<Outbound>>,
    used: Instant,
}

impl Transport {
    pub(crate) fn start(context: Context, listener: TcpListener) -> Arc<Self> {
        let transport =
            Arc::new(Self { context: Arc::new(context), peers: Mutex::default(), tasks: Mutex::default() });
        {
            let mut tasks = transport.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            tasks.spawn(listen(Arc::clone(&transport), listener));
            tasks.spawn(keep_tidy(Arc::clone(&transport)));
            if transport.context.credentials.has_files() {
                tasks.spawn(keep_credentials(Arc::clone(&transport)));
            }
        }
        transport
    }

    /// A message of the cluster: dropped and counted when it cannot be sent.
    pub(crate) fn send_membership(&self, address: &NodeAddress, to: Option<Incarnation>, message: &Message) {
        let from = self.context.incarnation();
        // Whom it is for is seen there: an incarnation that has just begun anew has the same connection.
        self.post_to(address, None, Parcel::Membership { from, to, message: message.encode() });
    }

    /// What nobody waits for: dropped and counted when it cannot be sent.
    pub(crate) fn post(&self, to: &NodeId, parcel: Parcel) {
        self.post_to(&to.address, Some(to.incarnation), parcel);
    }

    fn post_to(&self, to: &NodeAddress, incarnation: Option<Incarnation>, parcel: Parcel) {
        let Some(outbound) = self.outbound(to, parcel.lane()) else {
            return self.context.undelivered(&parcel, &NotSent::Full);
        };
        if let Err((parcel, why)) = outbound.try_send(Queued { parcel, incarnation }) {
            self.context.undelivered(&parcel, &why);
        }
    }

    /// The queue of a lane; `None`: this node talks to as many peers as it may.
    pub(crate) fn outbound(&self, to: &NodeAddress, lane: Lane) -> Option<Arc<Outbound>> {
        let mut peers = self.peers();
        if !peers.contains_key(to) {
            if peers.len() >= self.context.settings.most_connections {
                return None;
            }
            peers.insert(to.clone(), Peer { control: None, bulk: None, used: Instant::now() });
        }
        let peer = peers.get_mut(to)?;
        peer.used = Instant::now();
        let lane_slot = match lane {
            Lane::Control => &mut peer.control,
            Lane::Bulk => &mut peer.bulk,
        };
        Some(Arc::clone(lane_slot.get_or_insert_with(|| Arc::new(Outbound::open(&self.context, to, lane)))))
    }

    /// Peers that could not be reached, and why.
    pub(crate) fn failures(&self) -> BTreeMap<NodeAddress, Arc<str>> {
        let failure =
            |peer: &Peer| [&peer.control, &peer.bulk].into_iter().flatten().find_map(|lane| lane.failure());
        self.peers().iter().filter_map(|(address, peer)| Some((address.clone(), failure(peer)?))).collect()
    }

    /// Sends what waits, as far as that can be done in time, and ends all connections.
    pub(crate) async fn close(&self, within: Duration) {
        let waiting = async {
            loop {
                let empty = |peer: &Peer| {
                    [&peer.control, &peer.bulk].into_iter().flatten().all(|outbound| outbound.is_empty())
                };
                if self.peers().values().all(empty) {
                    return;
                }
                sleep(POLL).await;
            }
        };
        let _ = timeout(within, waiting).await;
        self.context.closing.send_replace(true);
        self.peers().clear();
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        if timeout(within, async { while tasks.join_next().await.is_some() {} }).await.is_err() {
            tasks.shutdown().await;
        }
    }

    /// Reads certificates, keys, roots and secrets again; whether something has changed.
    pub(crate) async fn reload(&self) -> Result<bool, CredentialsError> {
        let context = Arc::clone(&self.context);
        let read = tokio::task::spawn_blocking(move || context.credentials.reload()).await;
        // Nothing in it panics; a runtime that ends needs no certificates.
        let changed = read.unwrap_or(Ok(false));
        match &changed {
            Ok(true) => {
                info!("certificates, keys, roots or secrets have changed: connections are made again")
            }
            Ok(false) => {}
            Err(error) => {
                self.context.metrics.failed_reloads.increment(1);
                warn!(%error, "certificates, keys, roots and secrets stay as they were");
            }
        }
        changed
    }

    /// Forgets peers that nothing was sent to for a while; their tasks end.
    fn tidy(&self) {
        let long = self.context.settings.idle_after * 2;
        self.peers().retain(|_, peer| peer.used.elapsed() < long);
    }

    fn peers(&self) -> MutexGuard<'_, HashMap<NodeAddress, Peer>> {
        // Whole at every point where its holder could panic.
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn keep_tidy(transport: Arc<Transport>) {
    let mut times = interval(transport.context.settings.idle_after);
    times.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut closing = transport.context.closing.subscribe();
    loop {
        tokio::select! {
            _ = times.tick() => transport.tidy(),
            () = until(&mut closing, |closing| *closing) => return,
        }
    }
}

async fn keep_credentials(transport: Arc<Transport>) {
    let mut closing = transport.context.closing.subscribe();
    loop {
        tokio::select! {
            () = sleep(transport.context.settings.reload_every) => {}
            () = until(&mut closing, |closing| *closing) => return,
        }
        // It has said what is wrong.
        let _ = transport.reload().await;
    }
}

/// Where to listen, once it is known to be allowed.
pub(crate) async fn bind(listen: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(listen).await
}

/// How often the end looks whether queues are empty.
const POLL: Duration = Duration::from_millis(5);
