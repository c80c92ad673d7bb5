use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use annals_actors::plain::ActorRef;
use prost::Message as _;
use tokio::time::timeout;

use super::exposure::HOLD;
use super::{RemoteEnd, RemoteFailure, RemoteMessage, RemoteQuestion, RemoteWatch};
use crate::NodeId;
use crate::transport::Transport;
use crate::transport::context::NotSent;
use crate::transport::lane::Lane;
use crate::transport::outbound::Queued;
use crate::transport::parcel::{FailureKind, Label, Outcome, Parcel, Recipient};

/// Reaches an actor that a member of the cluster exposes. Cheap to clone; it costs nothing until it is used.
#[derive(Clone)]
pub struct RemoteRef {
    transport: Arc<Transport>,
    node: NodeId,
    name: Arc<str>,
}

impl RemoteRef {
    pub(crate) fn new(transport: Arc<Transport>, node: NodeId, name: &str) -> Self {
        Self { transport, node, name: name.into() }
    }

    /// Sends a message and does not wait for what becomes of it. `Ok`: it is on its way. Waits when much is on its way to this node,
    /// until there is room.
    ///
    /// What is lost with a connection, what nobody takes there, and what finds a full mailbox for too long, is counted in
    /// `annals_cluster_dropped` here and `annals_cluster_undelivered` there.
    ///
    /// # Errors
    ///
    /// [`RemoteFailure::Unreachable`] and [`RemoteFailure::TooLarge`].
    ///
    /// # Cancel safety
    ///
    /// The message is not sent when the future is dropped before it is done.
    pub async fn tell<T: RemoteMessage>(&self, message: &T) -> Result<(), RemoteFailure> {
        let parcel = Parcel::Tell { to: self.recipient(T::MANIFEST), message: self.encode(message)? };
        self.send(parcel).await
    }

    /// Sends a question and waits for the answer, all in all at most `limit`.
    ///
    /// # Errors
    ///
    /// [`RemoteFailure`] says whether the question may have been handled.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the question to its fate.
    pub async fn ask<Q: RemoteQuestion>(
        &self,
        question: &Q,
        limit: Duration,
    ) -> Result<Q::Answer, RemoteFailure> {
        let (to, message) = (self.recipient(Q::MANIFEST), self.encode(question)?);
        let outcome = self.question(limit, |question| Parcel::Ask { to, message, question, limit }).await?;
        match outcome {
            Outcome::Answered(answer) => Q::Answer::decode(answer)
                .map_err(|error| self.refused(format!("its answer is not what was expected: {error}"))),
            Outcome::Failed { kind, reason } => Err(self.failed(kind, reason, limit)),
            Outcome::Runs { .. } | Outcome::Ended => Err(self.refused("its answer is none".to_owned())),
        }
    }

    /// Waits until the actor has ended, or its node is no member any more.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn ended(&self) -> RemoteEnd {
        let mut actor = None;
        let mut pause = FIRST_PAUSE;
        loop {
            if !self.is_member() {
                return RemoteEnd::NodeRemoved;
            }
            let name = Arc::clone(&self.name);
            let answered = self.question(HOLD + GRACE, |question| Parcel::Watch { name, actor, question });
            // A node that does not answer is downed, and removed then.
            match answered.await {
                Ok(Outcome::Ended) => return RemoteEnd::Terminated,
                Ok(Outcome::Failed { kind: FailureKind::Unknown, .. }) => return RemoteEnd::Unknown,
                Ok(Outcome::Runs { actor: which }) => {
                    actor = Some(which);
                    pause = FIRST_PAUSE;
                }
                _ => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LAST_PAUSE);
                }
            }
        }
    }

    /// Has an actor of this node told when the actor there [has ended](Self::ended), as long as the [`RemoteWatch`] lives.
    pub fn watch<M: Send + 'static>(
        &self,
        watcher: &ActorRef<M>,
        message: impl FnOnce(RemoteEnd) -> M + Send + 'static,
    ) -> RemoteWatch {
        let (watched, watcher) = (self.clone(), watcher.clone());
        RemoteWatch::spawn(async move {
            let end = tokio::select! {
                end = watched.ended() => end,
                _ = watcher.terminated() => return,
            };
            // A watcher that is gone needs no notice.
            let _ = watcher.tell(message(end)).await;
        })
    }

    /// Where the actor runs.
    pub const fn node(&self) -> &NodeId {
        &self.node
    }

    /// What it is exposed as there.
    pub fn name(&self) -> &str {
        &self.name
    }

    async fn question(
        &self,
        limit: Duration,
        parcel: impl FnOnce(u64) -> Parcel,
    ) -> Result<Outcome, RemoteFailure> {
        let context = &self.transport.context;
        let mut question = context.questions.open(self.node.incarnation);
        let asking = async {
            self.send(parcel(question.number)).await?;
            match (&mut question.answer).await {
                Ok(Ok(outcome)) => Ok(outcome),
                Ok(Err(not_sent)) => Err(self.not_sent(&not_sent)),
                // The table of questions is gone with the node.
                Err(_) => Err(self.unreachable("this node has ended".into())),
            }
        };
        timeout(limit, asking).await.unwrap_or_else(|_| Err(self.timed_out(limit)))
    }

    async fn send(&self, parcel: Parcel) -> Result<(), RemoteFailure> {
        if self.node.address == self.transport.context.advertised {
            return self.send_to_myself(parcel).await;
        }
        if !self.is_member() {
            return Err(self.unreachable("it is no member of the cluster, or none any more".into()));
        }
        let outbound = self.transport.outbound(&self.node.address, Lane::Bulk);
        let outbound =
            outbound.ok_or_else(|| self.unreachable("this node has ended, or talks to too many".into()))?;
        let queued = Queued { parcel, incarnation: Some(self.node.incarnation) };
        outbound.send(queued).await.map_err(|not_sent| self.not_sent(&not_sent))
    }

    /// What is exposed on this node is reached the same way, without a connection.
    async fn send_to_myself(&self, parcel: Parcel) -> Result<(), RemoteFailure> {
        let context = &self.transport.context;
        if self.node.incarnation != context.incarnation() {
            return Err(self.unreachable("another incarnation runs there now".into()));
        }
        let (question, answering) = match parcel {
            Parcel::Tell { to, message } => {
                let told = context.exposures.tell(&to, message, context.settings.deliver_within).await;
                if let Err(misfit) = told {
                    context.metrics.undelivered(misfit.label()).increment(1);
                }
                return Ok(());
            }
            Parcel::Ask { to, message, question, limit } => {
                (question, context.exposures.ask(&to, message, limit))
            }
            Parcel::Watch { name, actor, question } => (question, context.exposures.watch(&name, actor)),
            Parcel::Membership { .. } | Parcel::Answer { .. } => return Ok(()),
        };
        let outcome = answering.await;
        context.questions.settle(question, None, Ok(outcome));
        Ok(())
    }

    fn is_member(&self) -> bool {
        self.transport.context.who().is_member(self.node.incarnation)
    }

    fn recipient(&self, manifest: &'static str) -> Recipient {
        Recipient { name: Arc::clone(&self.name), manifest: Label::Static(manifest) }
    }

    fn encode(&self, message: &impl prost::Message) -> Result<bytes::Bytes, RemoteFailure> {
        let (bytes, most) = (message.encoded_len(), self.transport.context.settings.most_message_bytes);
        if bytes > most {
            return Err(self.too_large(bytes, most));
        }
        Ok(message.encode_to_vec().into())
    }

    fn not_sent(&self, not_sent: &NotSent) -> RemoteFailure {
        match not_sent {
            NotSent::Unreachable(reason) => self.unreachable(Arc::clone(reason)),
            NotSent::Full => self.refused("as much as may be waits for this node".to_owned()),
            NotSent::TooLarge { bytes, most } => self.too_large(*bytes, *most),
        }
    }

    fn failed(&self, kind: FailureKind, reason: String, limit: Duration) -> RemoteFailure {
        let (node, name) = (self.node.clone(), Arc::clone(&self.name));
        match kind {
            FailureKind::Unknown => RemoteFailure::Unknown { node, name, reason },
            FailureKind::Refused => RemoteFailure::Refused { node, name, reason },
            FailureKind::NoReply => RemoteFailure::NoReply { node, name },
            FailureKind::TimedOut => RemoteFailure::TimedOut { node, name, limit },
            FailureKind::TooLarge => self.too_large(0, self.transport.context.settings.most_message_bytes),
        }
    }

    fn unreachable(&self, reason: Arc<str>) -> RemoteFailure {
        RemoteFailure::Unreachable { node: self.node.clone(), reason }
    }

    fn refused(&self, reason: String) -> RemoteFailure {
        RemoteFailure::Refused { node: self.node.clone(), name: Arc::clone(&self.name), reason }
    }

    fn timed_out(&self, limit: Duration) -> RemoteFailure {
        RemoteFailure::TimedOut { node: self.node.clone(), name: Arc::clone(&self.name), limit }
    }

    fn too_large(&self, bytes: usize, most: usize) -> RemoteFailure {
        RemoteFailure::TooLarge { node: self.node.clone(), name: Arc::clone(&self.name), bytes, most }
    }
}

impl fmt::Debug for RemoteRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RemoteRef({} on {})", self.name, self.node)
    }
}

/// For the way of a watch, there and back.
const GRACE: Duration = Duration::from_secs(10);

/// Between two tries to watch on a node that is not reached.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_secs(2);
