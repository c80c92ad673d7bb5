//! One lane to one peer: a queue with bounds, and the task that empties it into connections.
//!
//! Connections go one way: what this node sends. The other direction carries nothing but its end, by which the peer asks for a new
//! connection, as when its certificates have changed: what is under way is read to the end first.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use metrics::{Counter, Gauge};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use super::backoff::Backoff;
use super::connection::{Connection, connect};
use super::context::{Context, NotSent, until};
use super::handshake::Agreed;
use super::lane::Lane;
use super::parcel::{Parcel, ParcelWriter};
use crate::{Incarnation, NodeAddress};

/// The queue of a lane to a peer. Its task ends when this is dropped and the queue is empty.
pub(crate) struct Outbound {
    queue: mpsc::UnboundedSender<Queued>,
    shared: Arc<Shared>,
}

/// What waits to be sent.
pub(crate) struct Queued {
    pub(crate) parcel: Parcel,
    /// For whom, if not for whoever is there.
    pub(crate) incarnation: Option<Incarnation>,
}

struct Shared {
    /// Bytes that may still be queued.
    room: Semaphore,
    most: usize,
    /// After a failure to connect: what is sent now would not arrive.
    rests: AtomicBool,
    why: Mutex<Arc<str>>,
    waiting: AtomicUsize,
}

impl Outbound {
    pub(crate) fn open(context: &Arc<Context>, to: &NodeAddress, lane: Lane) -> Self {
        let (queue, receiver) = mpsc::unbounded_channel();
        let most = context.settings.queue_bytes.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        let shared = Arc::new(Shared {
            room: Semaphore::new(most),
            most,
            rests: AtomicBool::new(false),
            why: Mutex::new("".into()),
            waiting: AtomicUsize::new(0),
        });
        let lane = LaneTask {
            metrics: LaneMetrics {
                bytes: context.metrics.sent_bytes(to, lane),
                messages: context.metrics.sent_messages(to, lane),
                queued: context.metrics.queued_messages(to, lane),
            },
            context: Arc::clone(context),
            to: to.clone(),
            lane,
            shared: Arc::clone(&shared),
            queue: receiver,
            backoff: Backoff::new(context.settings.backoff.0, context.settings.backoff.1),
            out: BytesMut::new(),
        };
        tokio::spawn(lane.run());
        Self { queue, shared }
    }

    /// Waits for room.
    ///
    /// # Cancel safety
    /// The parcel is not sent when the future is dropped before it is done.
    pub(crate) async fn send(&self, queued: Queued) -> Result<(), NotSent> {
        self.refuse_while_it_rests()?;
        // The semaphore is never closed.
        if let Ok(permit) = self.shared.room.acquire_many(self.shared.permits(&queued.parcel)).await {
            permit.forget();
        }
        self.put(queued);
        Ok(())
    }

    /// Gives the parcel back when there is no room.
    pub(crate) fn try_send(&self, queued: Queued) -> Result<(), (Parcel, NotSent)> {
        if let Err(rests) = self.refuse_while_it_rests() {
            return Err((queued.parcel, rests));
        }
        let Ok(permit) = self.shared.room.try_acquire_many(self.shared.permits(&queued.parcel)) else {
            return Err((queued.parcel, NotSent::Full));
        };
        permit.forget();
        self.put(queued);
        Ok(())
    }

    /// Why the last connection could not be made; `None`: it could, or none was tried yet.
    pub(crate) fn failure(&self) -> Option<Arc<str>> {
        let why = self.shared.why.lock().unwrap_or_else(PoisonError::into_inner);
        (!why.is_empty()).then(|| Arc::clone(&why))
    }

    /// Whether nothing waits to be sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.shared.waiting.load(Ordering::Acquire) == 0
    }

    fn put(&self, queued: Queued) {
        self.shared.waiting.fetch_add(1, Ordering::AcqRel);
        // The task ends after this.
        let _ = self.queue.send(queued);
    }

    fn refuse_while_it_rests(&self) -> Result<(), NotSent> {
        if self.shared.rests.load(Ordering::Acquire) {
            let why = self.shared.why.lock().unwrap_or_else(PoisonError::into_inner);
            return Err(NotSent::Unreachable(Arc::clone(&why)));
        }
        Ok(())
    }
}

impl Shared {
    fn permits(&self, parcel: &Parcel) -> u32 {
        u32::try_from(parcel.weight().min(self.most)).unwrap_or(u32::MAX)
    }

    /// The parcel waits no longer.
    fn release(&self, permits: u32, parcels: usize) {
        self.room.add_permits(permits as usize);
        self.waiting.fetch_sub(parcels, Ordering::AcqRel);
    }
}

struct LaneTask {
    context: Arc<Context>,
    to: NodeAddress,
    lane: Lane,
    shared: Arc<Shared>,
    queue: mpsc::UnboundedReceiver<Queued>,
    metrics: LaneMetrics,
    backoff: Backoff,
    /// What is written next.
    out: BytesMut,
}

struct LaneMetrics {
    bytes: Counter,
    messages: Counter,
    queued: Gauge,
}

/// Why a connection ended.
enum Ended {
    /// Nothing was sent for a while, or credentials have changed.
    InOrder,
    /// The peer asks for another one, or has gone.
    ByPeer,
    Broken(String),
    /// Nobody sends any more.
    Closed,
}

impl LaneTask {
    async fn run(mut self) {
        while let Some(first) = self.queue.recv().await {
            let mut closing = self.context.closing.subscribe();
            let connected = tokio::select! {
                connected = connect(&self.context, &self.to, self.lane) => connected,
                () = until(&mut closing, |closing| *closing) => return,
            };
            match connected {
                Ok(connection) => {
                    let began = Instant::now();
                    debug!(peer = %self.to, lane = %self.lane, wire = connection.agreed.wire, "connected");
                    self.log_return();
                    match self.pump(connection, first).await {
                        Ended::Closed => return,
                        // A peer that ends connections as soon as they are made is not asked again and again.
                        Ended::ByPeer if began.elapsed() < STABLE => self.pause().await,
                        Ended::ByPeer | Ended::InOrder => self.backoff.succeeded(),
                        Ended::Broken(why) if began.elapsed() > STABLE => {
                            self.backoff.succeeded();
                            debug!(peer = %self.to, lane = %self.lane, why, "connection lost");
                        }
                        Ended::Broken(why) => self.rest(&why).await,
                    }
                }
                Err(failed) => {
                    self.context.metrics.failed_connections(failed.label()).increment(1);
                    let why = failed.to_string();
                    self.give_up(&first.parcel, &NotSent::Unreachable(why.as_str().into()));
                    self.rest(&why).await;
                }
            }
        }
    }

    fn log_return(&self) {
        let mut why = self.shared.why.lock().unwrap_or_else(PoisonError::into_inner);
        if !why.is_empty() {
            *why = "".into();
            info!(peer = %self.to, lane = %self.lane, "connected again");
        }
    }

    /// Until it is worth trying again, what is sent is given back at once.
    async fn rest(&mut self, why: &str) {
        {
            let mut last = self.shared.why.lock().unwrap_or_else(PoisonError::into_inner);
            if **last != *why {
                warn!(peer = %self.to, lane = %self.lane, why, "no connection");
                *last = why.into();
            }
        }
        self.shared.rests.store(true, Ordering::Release);
        self.give_all_up(why);
        self.pause().await;
        // Of senders who had looked before it rested.
        self.give_all_up(why);
        self.shared.rests.store(false, Ordering::Release);
    }

    async fn pause(&mut self) {
        let pause = self.backoff.failed(rand::random_range(0..=1_000));
        let mut closing = self.context.closing.subscribe();
        tokio::select! {
            () = sleep(pause) => {}
            () = until(&mut closing, |closing| *closing) => {}
        }
    }

    fn give_all_up(&mut self, why: &str) {
        let why = NotSent::Unreachable(why.into());
        while let Ok(queued) = self.queue.try_recv() {
            self.give_up(&queued.parcel, &why);
        }
    }

    fn give_up(&self, parcel: &Parcel, why: &NotSent) {
        self.shared.release(self.shared.permits(parcel), 1);
        self.context.undelivered(parcel, why);
    }

    /// Sends until the connection ends.
    async fn pump(&mut self, connection: Connection, first: Queued) -> Ended {
        let Connection { agreed, stream, generation, .. } = connection;
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut parcels = ParcelWriter::new(agreed.wire);
        let mut generations = self.context.credentials.generations();
        let mut closing = self.context.closing.subscribe();
        let mut next = Some(first);
        let mut nothing = [0; 16];
        let ended = loop {
            let queued = match next.take() {
                Some(queued) => queued,
                None => tokio::select! {
                    biased;
                    _ = reader.read(&mut nothing) => break Ended::ByPeer,
                    () = until(&mut generations, |now| *now != generation) => break Ended::InOrder,
                    queued = self.queue.recv() => match queued {
                        Some(queued) => queued,
                        None => break Ended::Closed,
                    },
                    () = until(&mut closing, |closing| *closing) => break Ended::Closed,
                    () = sleep(self.context.settings.idle_after) => break Ended::InOrder,
                },
            };
            let (permits, count) = self.batch(queued, &mut parcels, &agreed);
            let written = async {
                writer.write_all(&self.out).await?;
                writer.flush().await
            };
            let written = timeout(self.context.settings.stalled_after, written).await;
            self.metrics.bytes.increment(self.out.len() as u64);
            self.metrics.messages.increment(count as u64);
            self.metrics.queued.set(self.queue.len() as f64);
            self.out.clear();
            self.shared.release(permits, count);
            match written {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Ended::Broken(error.to_string()),
                Err(_) => return Ended::Broken("the peer takes nothing".to_owned()),
            }
        };
        let _ = timeout(LAST_WORDS, writer.shutdown()).await;
        ended
    }

    /// Gathers what waits, up to the bytes of a batch and one parcel more. Gives the room that it took, and how many parcels.
    fn batch(&mut self, first: Queued, parcels: &mut ParcelWriter, agreed: &Agreed) -> (u32, usize) {
        let (mut permits, mut count) = (0_u32, 0);
        let mut next = Some(first);
        while let Some(Queued { parcel, incarnation }) = next.take() {
            let bytes = parcel.weight();
            if incarnation.is_some_and(|meant| meant != agreed.peer.incarnation) {
                self.give_up(&parcel, &NotSent::Unreachable("another incarnation runs there now".into()));
            } else if bytes > agreed.most_bytes {
                self.give_up(&parcel, &NotSent::TooLarge { bytes, most: agreed.most_bytes });
            } else {
                permits = permits.saturating_add(self.shared.permits(&parcel));
                count += 1;
                parcels.put(&mut self.out, parcel);
            }
            if self.out.len() < self.context.settings.batch_bytes {
                next = self.queue.try_recv().ok();
            }
        }
        (permits, count)
    }
}

/// A connection that ends sooner has not succeeded.
const STABLE: Duration = Duration::from_secs(1);

/// For the end of a connection.
const LAST_WORDS: Duration = Duration::from_secs(1);
