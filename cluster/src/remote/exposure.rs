use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use annals_actors::plain::{ActorRef, NoAnswer, NotDelivered, ReplyTo, Undeliverable};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::{sleep, timeout};

use super::{RemoteMessage, RemoteQuestion};
use crate::transport::parcel::{FailureKind, Outcome, Recipient};

/// An actor that nodes of the cluster may address, with the messages that they may send it.
///
/// ```
/// # use annals_actors::plain::{ActorRef, ReplyTo};
/// # use annals_cluster::remote::{Exposure, RemoteMessage, RemoteQuestion};
/// #[derive(Clone, PartialEq, prost::Message)]
/// struct Add { #[prost(uint64, tag = "1")] cents: u64 }
/// #[derive(Clone, PartialEq, prost::Message)]
/// struct GetTotal {}
/// #[derive(Clone, PartialEq, prost::Message)]
/// struct Total { #[prost(uint64, tag = "1")] cents: u64 }
///
/// impl RemoteMessage for Add { const MANIFEST: &'static str = "add"; }
/// impl RemoteMessage for GetTotal { const MANIFEST: &'static str = "get-total"; }
/// impl RemoteQuestion for GetTotal { type Answer = Total; }
///
/// enum Till { Add(u64), Total(ReplyTo<Total>), Empty }
///
/// # fn example(till: &ActorRef<Till>) -> Exposure<Till> {
/// // Nobody on another node can empty it.
/// Exposure::of(till).tell(|add: Add| Till::Add(add.cents)).ask(|_: GetTotal, reply_to| Till::Total(reply_to))
/// # }
/// ```
pub struct Exposure<M> {
    actor: ActorRef<M>,
    handlers: HashMap<&'static str, Handler>,
}

impl<M: Send + 'static> Exposure<M> {
    /// The actor, and no message yet: it can only be watched.
    pub fn of(actor: &ActorRef<M>) -> Self {
        Self { actor: actor.clone(), handlers: HashMap::new() }
    }

    /// Takes messages of this type. One that finds a full mailbox is dropped and counted; if the mailbox has senders
    /// [wait](annals_actors::plain::Overflow::Wait), it waits first, and with it what comes after it from the same node: see
    /// [`TransportSettings::deliver_within`](crate::transport::TransportSettings::deliver_within).
    #[must_use]
    pub fn tell<T: RemoteMessage>(mut self, message: impl Fn(T) -> M + Send + Sync + 'static) -> Self {
        let actor = self.actor.clone();
        let handler = move |bytes: Bytes| {
            let told = decode::<T>(bytes)?;
            let told = guarded(|| message(told))?;
            match actor.try_tell(told) {
                Ok(()) => Ok(Told::Done),
                Err(NotDelivered { message, reason: Undeliverable::MailboxFull { .. } }) => {
                    let actor = actor.clone();
                    let waiting = async move {
                        actor.tell(message).await.map_err(|not| match not.reason {
                            Undeliverable::MailboxFull { .. } => Misfit::Full,
                            _ => Misfit::Stopped,
                        })
                    };
                    Ok(Told::Waits(waiting.boxed()))
                }
                Err(_) => Err(Misfit::Stopped),
            }
        };
        self.handlers.insert(T::MANIFEST, Handler::Tell(Box::new(handler)));
        self
    }

    /// Takes questions of this type.
    #[must_use]
    pub fn ask<Q: RemoteQuestion>(
        mut self,
        message: impl Fn(Q, ReplyTo<Q::Answer>) -> M + Send + Sync + 'static,
    ) -> Self {
        let (actor, message) = (self.actor.clone(), Arc::new(message));
        let handler = move |bytes: Bytes, limit| {
            let (actor, message) = (actor.clone(), Arc::clone(&message));
            let asking = async move {
                let question = match decode::<Q>(bytes) {
                    Ok(question) => question,
                    Err(misfit) => return misfit.into_outcome(),
                };
                let asked = AssertUnwindSafe(actor.ask(|reply_to| message(question, reply_to), limit));
                match asked.catch_unwind().await {
                    Ok(Ok(answer)) => Outcome::Answered(prost::Message::encode_to_vec(&answer).into()),
                    Ok(Err(no_answer)) => of_no_answer(&no_answer),
                    Err(_) => Misfit::Panicked.into_outcome(),
                }
            };
            asking.boxed()
        };
        self.handlers.insert(Q::MANIFEST, Handler::Ask(Box::new(handler)));
        self
    }
}

fn of_no_answer(no_answer: &NoAnswer) -> Outcome {
    let kind = match no_answer {
        NoAnswer::TimedOut { .. } => FailureKind::TimedOut,
        NoAnswer::NoReply { .. } => FailureKind::NoReply,
        _ => FailureKind::Refused,
    };
    Outcome::failed(kind, no_answer.to_string())
}

fn decode<T: prost::Message + Default>(bytes: Bytes) -> Result<T, Misfit> {
    T::decode(bytes).map_err(|error| Misfit::Undecodable(error.to_string()))
}

/// A panic of the user's closure is not the connection's.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Misfit> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| Misfit::Panicked)
}

type TellHandler = dyn Fn(Bytes) -> Result<Told, Misfit> + Send + Sync;
type AskHandler = dyn Fn(Bytes, Duration) -> BoxFuture<'static, Outcome> + Send + Sync;

enum Handler {
    Tell(Box<TellHandler>),
    Ask(Box<AskHandler>),
}

enum Told {
    Done,
    /// Until there is room, if the mailbox has senders wait.
    Waits(BoxFuture<'static, Result<(), Misfit>>),
}

/// Why a message reaches nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misfit {
    #[error("nothing of this name is exposed: expose it there, under the same name")]
    UnknownName,
    #[error("what is exposed under this name takes no {0:?}: add it to the exposure there")]
    UnknownManifest(String),
    #[error("it is asked for an answer, but takes this message without one, or the other way round")]
    NotSo,
    #[error("it is not what its manifest says: {0}")]
    Undecodable(String),
    #[error("the actor has stopped")]
    Stopped,
    #[error("its mailbox is full")]
    Full,
    #[error("making a message of it panicked")]
    Panicked,
}

impl Misfit {
    pub(crate) const fn label(&self) -> &'static str {
        match self {
            Self::UnknownName | Self::UnknownManifest(_) | Self::NotSo => "unknown",
            Self::Undecodable(_) => "undecodable",
            Self::Stopped => "stopped",
            Self::Full => "mailbox full",
            Self::Panicked => "panicked",
        }
    }

    fn into_outcome(self) -> Outcome {
        let kind = match self {
            Self::UnknownName | Self::UnknownManifest(_) | Self::NotSo => FailureKind::Unknown,
            _ => FailureKind::Refused,
        };
        Outcome::failed(kind, self.to_string())
    }
}

/// All that can be addressed from outside.
#[derive(Default)]
pub(crate) struct Exposures(RwLock<HashMap<Arc<str>, Arc<Exposed>>>);

struct Exposed {
    /// Tells it from others that have had its name, here or in an earlier life of the process.
    actor: u64,
    handlers: HashMap<&'static str, Handler>,
    is_stopped: Box<dyn Fn() -> bool + Send + Sync>,
    terminated: Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>,
}

impl Exposures {
    pub(crate) fn expose<M: Send + 'static>(
        &self,
        name: &str,
        exposure: Exposure<M>,
    ) -> Result<(), NameExposed> {
        let (looked_at, awaited) = (exposure.actor.clone(), exposure.actor);
        let exposed = Exposed {
            actor: rand::random(),
            handlers: exposure.handlers,
            is_stopped: Box::new(move || looked_at.is_stopped()),
            terminated: Box::new(move || {
                let actor = awaited.clone();
                async move { drop(actor.terminated().await) }.boxed()
            }),
        };
        let mut by_name = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if by_name.get(name).is_some_and(|there| !(there.is_stopped)()) {
            return Err(NameExposed { name: name.to_owned() });
        }
        by_name.insert(name.into(), Arc::new(exposed));
        Ok(())
    }

    /// Whether there was something of this name.
    pub(crate) fn conceal(&self, name: &str) -> bool {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(name).is_some()
    }

    fn find(&self, name: &str) -> Option<Arc<Exposed>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Waits for room in the mailbox, at most so long.
    pub(crate) async fn tell(&self, to: &Recipient, message: Bytes, within: Duration) -> Result<(), Misfit> {
        let told = {
            let exposed = self.find(&to.name).ok_or(Misfit::UnknownName)?;
            match exposed.handlers.get(&*to.manifest) {
                Some(Handler::Tell(handler)) => handler(message)?,
                Some(Handler::Ask(_)) => return Err(Misfit::NotSo),
                None => return Err(Misfit::UnknownManifest((*to.manifest).to_owned())),
            }
        };
        match told {
            Told::Done => Ok(()),
            Told::Waits(delivered) => timeout(within, delivered).await.unwrap_or(Err(Misfit::Full)),
        }
    }

    pub(crate) fn ask(&self, to: &Recipient, message: Bytes, limit: Duration) -> BoxFuture<'static, Outcome> {
        let failed = |misfit: Misfit| std::future::ready(misfit.into_outcome()).boxed();
        let Some(exposed) = self.find(&to.name) else { return failed(Misfit::UnknownName) };
        match exposed.handlers.get(&*to.manifest) {
            Some(Handler::Ask(handler)) => handler(message, limit.min(LONGEST_ASK)),
            Some(Handler::Tell(_)) => failed(Misfit::NotSo),
            None => failed(Misfit::UnknownManifest((*to.manifest).to_owned())),
        }
    }

    /// Done when the actor of this name, or the one that had it, has ended, or after a while.
    pub(crate) fn watch(&self, name: &str, actor: Option<u64>) -> BoxFuture<'static, Outcome> {
        let Some(exposed) = self.find(name) else {
            let known = actor.is_some();
            let outcome = if known { Outcome::Ended } else { Misfit::UnknownName.into_outcome() };
            return std::future::ready(outcome).boxed();
        };
        if actor.is_some_and(|actor| actor != exposed.actor) {
            return std::future::ready(Outcome::Ended).boxed();
        }
        let runs = Outcome::Runs { actor: exposed.actor };
        // Who has just begun to watch learns at once which actor it is.
        let hold = if actor.is_some() { HOLD } else { Duration::ZERO };
        let terminated = (exposed.terminated)();
        async move {
            tokio::select! {
                biased;
                () = terminated => Outcome::Ended,
                () = sleep(hold) => runs,
            }
        }
        .boxed()
    }
}

/// How long a watch stays with who is watched before it is asked for again.
pub(crate) const HOLD: Duration = Duration::from_secs(20);

/// Whatever limit a peer names: no question is kept longer.
const LONGEST_ASK: Duration = Duration::from_hours(1);

/// An actor that runs is exposed under this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an actor that runs is exposed as {name:?}: take another name, or conceal that one first")]
pub struct NameExposed {
    /// The name.
    pub name: String,
}
