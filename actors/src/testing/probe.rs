use std::collections::VecDeque;
use std::fmt;
use std::panic::Location;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::difference::text_difference;
use crate::plain::{
    Actor, ActorContext, ActorRef, ActorSystem, BoxError, Mailbox, Props, SpawnError, TerminationReason,
};
use crate::{EntityRef, PersistentActor};

/// A plain actor that only receives, and says what came.
///
/// It stands where the code under test expects an actor: as a service, as a recipient in a message, as an answer's place. Every
/// `expect_…` waits in tokio's time, so on a [paused clock](super::TestNode) in no time, at most
/// [`within`](Self::within), and panics with what came instead and with the caller's place.
///
/// ```
/// use std::time::Duration;
/// use annals_actors::plain::ActorSystem;
/// use annals_actors::testing::Probe;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let system = ActorSystem::new("test");
/// let mut probe = Probe::spawn(&system, "till")?;
/// let till = probe.actor_ref();
/// till.tell(250).await?;
/// till.tell(30).await?;
/// probe.expect_message(250).await;
/// probe.expect_message_matching("less than a hundred", |cents| *cents < 100).await;
/// probe.expect_no_message(Duration::from_millis(10)).await;
/// # Ok(())
/// # }
/// ```
pub struct Probe<M> {
    actor: ActorRef<M>,
    messages: mpsc::UnboundedReceiver<M>,
    limit: Duration,
    /// The newest that were received, shown.
    received: VecDeque<String>,
}

/// How long an expectation waits that says nothing else, as Akka's does.
pub(super) const WITHIN: Duration = Duration::from_secs(3);
/// As many messages are shown of those that came before.
const SHOWN: usize = 10;

impl<M: fmt::Debug + Send + 'static> Probe<M> {
    /// Spawns a probe with this name. Its mailbox has no bound.
    ///
    /// # Errors
    /// As of [`ActorSystem::spawn`].
    pub fn spawn(system: &ActorSystem, name: &str) -> Result<Self, SpawnError> {
        let (sender, messages) = mpsc::unbounded_channel();
        let props = Props::new(move || Forwarder { to: sender.clone() }).mailbox(Mailbox::unbounded());
        let actor = system.spawn(name, props)?;
        Ok(Self { actor, messages, limit: WITHIN, received: VecDeque::new() })
    }

    /// How long each expectation waits at most; default 3 s.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Reaches the probe, for whom it is to receive from.
    pub fn actor_ref(&self) -> ActorRef<M> {
        self.actor.clone()
    }

    /// The next message, whatever it is.
    ///
    /// # Panics
    /// When none comes.
    #[track_caller]
    pub fn receive(&mut self) -> impl Future<Output = M> + Send {
        let place = Location::caller();
        async move {
            match self.next().await {
                Some(message) => message,
                None => self.fail(place, format!("no message came within {:?}", self.limit)),
            }
        }
    }

    /// The next messages, so many, within the time of one expectation each.
    ///
    /// # Panics
    /// When fewer come.
    #[track_caller]
    pub fn receive_n(&mut self, count: usize) -> impl Future<Output = Vec<M>> + Send {
        let place = Location::caller();
        async move {
            let mut messages = Vec::new();
            while messages.len() < count {
                match self.next().await {
                    Some(message) => messages.push(message),
                    None => {
                        let came = messages.len();
                        let limit = self.limit;
                        self.fail(
                            place,
                            format!("expected {count} messages, {came} came; no more within {limit:?}"),
                        )
                    }
                }
            }
            messages
        }
    }

    /// The next message is this one.
    ///
    /// # Panics
    /// When none comes, or another one does, with the difference.
    #[track_caller]
    pub fn expect_message(&mut self, expected: M) -> impl Future<Output = M> + Send
    where
        M: PartialEq,
    {
        let place = Location::caller();
        async move {
            let shown = format!("{expected:#?}");
            match self.next().await {
                Some(message) if message == expected => message,
                Some(message) => {
                    let difference = text_difference(&shown, &format!("{message:#?}"))
                        .unwrap_or_else(|| format!("    they look alike and are not equal: {message:?}\n"));
                    self.received.pop_back();
                    self.fail(
                        place,
                        format!("the message is another than expected (- expected, + found):\n{difference}"),
                    )
                }
                None => {
                    self.fail(place, format!("no message came within {:?}, expected: {shown}", self.limit))
                }
            }
        }
    }

    /// The next message is like this; `what` says in the failure what was expected.
    ///
    /// # Panics
    /// When none comes, or another one does.
    #[track_caller]
    pub fn expect_message_matching(
        &mut self,
        what: &str,
        matches: impl FnOnce(&M) -> bool + Send,
    ) -> impl Future<Output = M> + Send {
        let place = Location::caller();
        async move {
            match self.next().await {
                Some(message) if matches(&message) => message,
                Some(message) => {
                    self.received.pop_back();
                    self.fail(place, format!("expected a message: {what}\nfound: {message:#?}"))
                }
                None => {
                    let limit = self.limit;
                    self.fail(place, format!("no message came within {limit:?}, expected: {what}"))
                }
            }
        }
    }

    /// A message like this comes, among others that are passed over.
    ///
    /// # Panics
    /// When none is like it, within the time of one expectation each.
    #[track_caller]
    pub fn fish_for_message(
        &mut self,
        what: &str,
        mut matches: impl FnMut(&M) -> bool + Send,
    ) -> impl Future<Output = M> + Send {
        let place = Location::caller();
        async move {
            loop {
                match self.next().await {
                    Some(message) if matches(&message) => return message,
                    Some(_) => {}
                    None => {
                        let limit = self.limit;
                        self.fail(
                            place,
                            format!("no more messages came within {limit:?}, fished for: {what}"),
                        )
                    }
                }
            }
        }
    }

    /// No message comes for so long, and none has come that was not received.
    ///
    /// # Panics
    /// When one comes.
    #[track_caller]
    pub fn expect_no_message(&mut self, time: Duration) -> impl Future<Output = ()> + Send {
        let place = Location::caller();
        async move {
            if let Ok(Some(message)) = timeout(time, self.messages.recv()).await {
                self.fail(place, format!("expected no message within {time:?}\nfound: {message:#?}"))
            }
        }
    }

    /// The actor terminates; says why it did.
    ///
    /// # Panics
    /// When it runs on.
    #[track_caller]
    pub fn expect_terminated<N: Send + 'static>(
        &self,
        actor: &ActorRef<N>,
    ) -> impl Future<Output = TerminationReason> + Send {
        let (place, limit, actor) = (Location::caller(), self.limit, actor.clone());
        async move {
            match timeout(limit, actor.terminated()).await {
                Ok(reason) => reason,
                Err(_) => {
                    panic!(
                        "expected that {} terminates within {limit:?}, it runs on\nat {place}",
                        actor.path()
                    )
                }
            }
        }
    }

    /// The entity leaves memory; says why it did.
    ///
    /// # Panics
    /// When it stays, or cannot be: its kind is not registered, say.
    #[track_caller]
    pub fn expect_entity_terminated<A: PersistentActor>(
        &self,
        entity: &EntityRef<A>,
    ) -> impl Future<Output = TerminationReason> + Send {
        let (place, limit, entity) = (Location::caller(), self.limit, entity.clone());
        async move {
            match timeout(limit, entity.terminated()).await {
                Ok(Ok(reason)) => reason,
                Ok(Err(failure)) => panic!("{failure}\nat {place}"),
                Err(_) => {
                    panic!("expected that {entity:?} leaves memory within {limit:?}, it stays\nat {place}")
                }
            }
        }
    }

    async fn next(&mut self) -> Option<M> {
        let message = timeout(self.limit, self.messages.recv()).await.ok().flatten()?;
        if self.received.len() == SHOWN {
            self.received.pop_front();
        }
        self.received.push_back(format!("{message:?}"));
        Some(message)
    }

    fn fail(&self, place: &Location<'_>, what: String) -> ! {
        let name = self.actor.path().name();
        let mut before = String::new();
        if !self.received.is_empty() {
            before.push_str("\nreceived before:");
            for message in &self.received {
                before.push_str(&format!("\n    {message}"));
            }
        }
        panic!("probe {name}: {}{before}\nat {place}", what.trim_end_matches('\n'))
    }
}

impl<M> fmt::Debug for Probe<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe").field("received", &self.received).finish_non_exhaustive()
    }
}

struct Forwarder<M> {
    to: mpsc::UnboundedSender<M>,
}

impl<M: Send + 'static> Actor for Forwarder<M> {
    type Message = M;

    async fn receive(&mut self, message: M, ctx: &mut ActorContext<Self>) -> Result<(), BoxError> {
        // The test has ended.
        if self.to.send(message).is_err() {
            ctx.stop();
        }
        Ok(())
    }
}
