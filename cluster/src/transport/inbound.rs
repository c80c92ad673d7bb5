//! Takes connections of others, and what comes over them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use metrics::Counter;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::connection::{Connection, Stream, accept};
use super::context::until;
use super::frame::{FrameReader, InvalidFrame};
use super::handshake::Agreed;
use super::lane::Lane;
use super::parcel::{FailureKind, InvalidParcel, Outcome, Parcel, ParcelReader};
use super::transport::Transport;
use crate::wire::InvalidMessage;
use crate::{Message, NodeId};

/// Takes connections until the transport closes.
pub(crate) async fn listen(transport: Arc<Transport>, listener: TcpListener) {
    let context = &transport.context;
    let connections = Arc::new(Semaphore::new(context.settings.most_connections));
    let handshakes = Arc::new(Semaphore::new(context.settings.most_handshakes));
    let mut closing = context.closing.subscribe();
    let mut serving = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = serving.join_next() => continue,
            () = until(&mut closing, |closing| *closing) => return,
        };
        let tcp = match accepted {
            Ok((tcp, _)) => tcp,
            Err(error) => {
                // Of the connection, or of the process, which has too many files open: that may pass.
                warn!(%error, "no connection can be taken");
                sleep(AFTER_FAILED_ACCEPT).await;
                continue;
            }
        };
        let places =
            (Arc::clone(&connections).try_acquire_owned(), Arc::clone(&handshakes).try_acquire_owned());
        let (Ok(connection), Ok(handshake)) = places else {
            context.metrics.refused_connections("full").increment(1);
            continue;
        };
        serving.spawn(serve(Arc::clone(&transport), tcp, connection, handshake));
    }
}

async fn serve(
    transport: Arc<Transport>,
    tcp: TcpStream,
    _connection: OwnedSemaphorePermit,
    handshake: OwnedSemaphorePermit,
) {
    let peer = tcp.peer_addr();
    let accepted = accept(&transport.context, tcp).await;
    drop(handshake);
    let connection = match accepted {
        Ok(connection) => connection,
        Err(refused) => {
            transport.context.metrics.refused_connections(refused.label()).increment(1);
            debug!(?peer, why = %refused, "a connection was not taken");
            return;
        }
    };
    let from = connection.agreed.peer.clone();
    if let Err(ended) = Inbound::new(transport, &connection.agreed).run(connection).await {
        warn!(%from, why = %ended, "a connection was ended");
    }
}

/// What ends a connection of a peer that has said who it is.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Frame(#[from] InvalidFrame),
    #[error(transparent)]
    Parcel(#[from] InvalidParcel),
    #[error(transparent)]
    Message(#[from] InvalidMessage),
}

struct Inbound {
    transport: Arc<Transport>,
    peer: NodeId,
    frames: FrameReader,
    parcels: ParcelReader,
    bytes: Counter,
    messages: Counter,
}

impl Inbound {
    fn new(transport: Arc<Transport>, agreed: &Agreed) -> Self {
        let metrics = &transport.context.metrics;
        let most = transport.context.most_frame_bytes()[usize::from(agreed.lane == Lane::Bulk)];
        Self {
            peer: agreed.peer.clone(),
            frames: FrameReader { most },
            parcels: ParcelReader::new(agreed.lane),
            bytes: metrics.received_bytes(&agreed.peer.address, agreed.lane),
            messages: metrics.received_messages(&agreed.peer.address, agreed.lane),
            transport,
        }
    }

    async fn run(mut self, connection: Connection) -> Result<(), Broken> {
        let Connection { mut stream, mut received, generation, .. } = connection;
        let transport = Arc::clone(&self.transport);
        let context = &transport.context;
        let mut generations = context.credentials.generations();
        let mut closing = context.closing.subscribe();
        let mut renewing = false;
        loop {
            self.take(&mut received).await?;
            let limit = if renewing || !received.is_empty() {
                context.settings.stalled_after
            } else {
                context.settings.idle_after * 3
            };
            tokio::select! {
                read = timeout(limit, read(&mut stream, &mut received)) => match read {
                    Ok(Ok(1..)) => {}
                    // A peer that ends without a word is nothing to report: heartbeats tell.
                    Ok(Ok(0) | Err(_)) | Err(_) => return Ok(()),
                },
                () = until(&mut generations, |now| *now != generation), if !renewing => {
                    renewing = true;
                    let _ = stream.shutdown().await;
                }
                () = until(&mut closing, |closing| *closing) => return Ok(()),
            }
        }
    }

    async fn take(&mut self, received: &mut BytesMut) -> Result<(), Broken> {
        let before = received.len();
        let mut count = 0;
        while let Some(frame) = self.frames.next(received)? {
            count += 1;
            if let Some(parcel) = self.parcels.read(frame)? {
                self.deliver(parcel).await?;
            }
        }
        self.messages.increment(count);
        self.bytes.increment((before - received.len()) as u64);
        Ok(())
    }

    async fn deliver(&self, parcel: Parcel) -> Result<(), Broken> {
        let context = &self.transport.context;
        match parcel {
            Parcel::Membership { from, to, message } => {
                if to.is_some_and(|to| to != context.incarnation()) {
                    return Ok(());
                }
                let message = match Message::decode(&message) {
                    // A newer build says more than this one knows.
                    Err(InvalidMessage::Unknown) => return Ok(()),
                    decoded => decoded?,
                };
                let from = NodeId { address: self.peer.address.clone(), incarnation: from };
                // The node has ended: nobody listens.
                let _ = context.inbox.send((from, message)).await;
            }
            Parcel::Answer { question, outcome } => {
                context.questions.settle(question, Some(self.peer.incarnation), Ok(outcome));
            }
            _ if context.who().is_gone(self.peer.incarnation) => self.refuse(&parcel),
            Parcel::Tell { to, message } => {
                if let Err(why) = context.exposures.tell(&to, message, context.settings.deliver_within).await
                {
                    context.metrics.undelivered(why.label()).increment(1);
                    debug!(from = %self.peer, to = &*to.name, manifest = &*to.manifest, %why, "a message reached nobody");
                }
            }
            Parcel::Ask { to, message, question, limit } => {
                let answering = context.exposures.ask(&to, message, limit);
                self.answer(question, answering);
            }
            Parcel::Watch { name, actor, question } => {
                let answering = context.exposures.watch(&name, actor);
                self.answer(question, answering);
            }
        }
        Ok(())
    }

    fn refuse(&self, parcel: &Parcel) {
        if let Parcel::Ask { question, .. } | Parcel::Watch { question, .. } = parcel {
            let outcome = Outcome::failed(
                FailureKind::Refused,
                "the asking node was removed from the cluster, or is down",
            );
            self.transport.post(&self.peer, Parcel::Answer { question: *question, outcome });
        }
    }

    /// Beside what else comes; not more at once than may be.
    fn answer(&self, question: u64, answering: impl Future<Output = Outcome> + Send + 'static) {
        let Ok(place) = Arc::clone(&self.transport.context.asked).try_acquire_owned() else {
            let reason = "as many questions of others as may be are under way: ask again later";
            let outcome = Outcome::failed(FailureKind::Refused, reason);
            return self.transport.post(&self.peer, Parcel::Answer { question, outcome });
        };
        let (transport, peer) = (Arc::clone(&self.transport), self.peer.clone());
        let mut closing = transport.context.closing.subscribe();
        tokio::spawn(async move {
            let outcome = tokio::select! {
                outcome = answering => outcome,
                () = until(&mut closing, |closing| *closing) => return,
            };
            drop(place);
            let most = transport.context.settings.most_message_bytes;
            let outcome = match outcome {
                Outcome::Answered(answer) if answer.len() > most => {
                    let reason = format!("the answer has {} bytes", answer.len());
                    Outcome::failed(FailureKind::TooLarge, reason)
                }
                outcome => outcome,
            };
            transport.post(&peer, Parcel::Answer { question, outcome });
        });
    }
}

async fn read(stream: &mut Stream, received: &mut BytesMut) -> io::Result<usize> {
    if received.capacity() - received.len() < READ_AHEAD / 4 {
        received.reserve(READ_AHEAD);
    }
    stream.read_buf(received).await
}

/// Room for what comes next.
const READ_AHEAD: usize = 16 * 1024;

/// For the process to have files again.
const AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(100);
