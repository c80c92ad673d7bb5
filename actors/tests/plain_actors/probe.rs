//! An actor that does what its messages say.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals_actors::plain::{Actor, ActorContext, ActorRef, ActorSystem, BoxError, Props, ReplyTo, Signal};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::mpsc;

pub(crate) const SEC: Duration = Duration::from_secs(1);

pub(crate) type Act = Box<
    dyn for<'a> FnOnce(&'a mut Probe, &'a mut ActorContext<Probe>) -> BoxFuture<'a, Result<(), BoxError>>
        + Send,
>;

pub(crate) enum Message {
    /// Notes a word.
    Note(&'static str),
    /// Says what was noted by this instance.
    Notes {
        reply_to: ReplyTo<Vec<&'static str>>,
    },
    /// Runs a piece of the test within the actor.
    Do(Act),
    Panic,
    Fail,
    /// Waits for the gate.
    Wait(Arc<tokio::sync::Semaphore>),
}

/// Runs something synchronous within the actor.
pub(crate) fn act(f: impl FnOnce(&mut Probe, &mut ActorContext<Probe>) + Send + 'static) -> Message {
    Message::Do(Box::new(move |probe, ctx| {
        f(probe, ctx);
        async { Ok(()) }.boxed()
    }))
}

/// What probes did, in order.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn push(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

type OnStart = Arc<dyn Fn(&mut ActorContext<Probe>) + Send + Sync>;

pub(crate) struct Probe {
    pub(crate) log: Log,
    pub(crate) notes: Vec<&'static str>,
    on_start: Option<OnStart>,
}

impl Actor for Probe {
    type Message = Message;

    async fn receive(&mut self, message: Message, ctx: &mut ActorContext<Self>) -> Result<(), BoxError> {
        match message {
            Message::Note(note) => {
                self.log.push(format!("{} {note}", ctx.path().name()));
                self.notes.push(note);
            }
            Message::Notes { reply_to } => reply_to.send(self.notes.clone()),
            Message::Do(act) => act(self, ctx).await?,
            Message::Panic => panic!("told to"),
            Message::Fail => return Err("told to fail".into()),
            Message::Wait(gate) => gate.acquire().await?.forget(),
        }
        Ok(())
    }

    async fn signal(&mut self, signal: Signal, ctx: &mut ActorContext<Self>) -> Result<(), BoxError> {
        let name = ctx.path().name().to_owned();
        match signal {
            Signal::Terminated(gone) => {
                self.log.push(format!("{name}: {} gone, {:?}", gone.path.name(), gone.reason));
            }
            Signal::Started => {
                self.log.push(format!("{name}: Started"));
                if let Some(start) = self.on_start.clone() {
                    start(ctx);
                }
            }
            other => self.log.push(format!("{name}: {other:?}")),
        }
        Ok(())
    }
}

pub(crate) fn props(log: &Log) -> Props<Probe> {
    let log = log.clone();
    Props::new(move || Probe { log: log.clone(), notes: Vec::new(), on_start: None })
}

/// A probe that does something whenever an instance starts.
pub(crate) fn starting(
    log: &Log,
    start: impl Fn(&mut ActorContext<Probe>) + Send + Sync + 'static,
) -> Props<Probe> {
    let (log, start) = (log.clone(), Arc::new(start));
    Props::new(move || Probe { log: log.clone(), notes: Vec::new(), on_start: Some(start.clone()) })
}

/// A system with one probe that is called `probe`.
pub(crate) fn one(log: &Log) -> (ActorSystem, ActorRef<Message>) {
    let system = ActorSystem::new("test");
    let probe = system.spawn("probe", props(log)).unwrap();
    (system, probe)
}

pub(crate) async fn notes(probe: &ActorRef<Message>) -> Vec<&'static str> {
    probe.ask(|reply_to| Message::Notes { reply_to }, 100 * SEC).await.unwrap()
}

/// Spawns a child from within a probe.
pub(crate) async fn child(
    parent: &ActorRef<Message>,
    name: &'static str,
    props: Props<Probe>,
) -> ActorRef<Message> {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let spawn = act(move |_, ctx| sender.send(ctx.spawn(name, props).unwrap()).unwrap());
    parent.tell(spawn).await.unwrap();
    receiver.recv().await.unwrap()
}

/// Runs something within the actor, and is back when it is done.
pub(crate) async fn within(
    probe: &ActorRef<Message>,
    f: impl FnOnce(&mut Probe, &mut ActorContext<Probe>) + Send + 'static,
) {
    let question = |reply_to: ReplyTo<()>| {
        act(move |probe, ctx| {
            f(probe, ctx);
            reply_to.send(());
        })
    };
    probe.ask(question, 100 * SEC).await.unwrap();
}

/// Has one probe watch another, and is back when it does.
pub(crate) async fn watch(watcher: &ActorRef<Message>, watched: &ActorRef<Message>) {
    let watched = watched.clone();
    within(watcher, move |_, ctx| ctx.watch(&watched)).await;
}
