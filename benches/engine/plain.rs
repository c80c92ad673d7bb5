//! Plain actors of Annals, and what tokio does when nothing but a task and a channel is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use annals::actors::plain::{
    Actor, ActorContext, ActorRef, ActorSystem, BoxError, Mailbox, Overflow, Props, ReplyTo, Signal,
};
use anyhow::Result;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::work::Actors;

/// Plain actors as a user has them: named, supervised, with a bounded mailbox that has senders wait.
pub(crate) struct PlainActors {
    system: ActorSystem,
    names: AtomicU32,
}

impl PlainActors {
    pub(crate) fn new() -> Self {
        Self { system: ActorSystem::new("bench"), names: AtomicU32::new(0) }
    }

    fn launch(&self, props: &Props<Tally>) -> Result<ActorRef<Message>> {
        let name = self.names.fetch_add(1, Ordering::Relaxed);
        Ok(self.system.spawn(&format!("tally-{name}"), props.clone())?)
    }
}

impl Actors for PlainActors {
    type Ref = ActorRef<Message>;

    async fn start(&self) -> Result<Self::Ref> {
        let actors = self.spawn(1).await?;
        Ok(actors[0].clone())
    }

    async fn add(actor: &Self::Ref, number: u64) -> Result<()> {
        Ok(actor.tell(Message::Add(number)).await.map_err(|not| not.reason)?)
    }

    async fn total(actor: &Self::Ref) -> Result<u64> {
        Ok(actor.ask(|reply_to| Message::Total { reply_to }, PATIENCE).await?)
    }

    async fn spawn(&self, count: u32) -> Result<Vec<Self::Ref>> {
        let missing = Arc::new(Missing { actors: AtomicU32::new(count), none: Notify::new() });
        let of_these = Arc::clone(&missing);
        let props = Props::new(move || Tally { sum: 0, missing: Some(Arc::clone(&of_these)) })
            .mailbox(Mailbox::bounded(CAPACITY).on_overflow(Overflow::Wait));
        let actors = (0..count).map(|_| self.launch(&props)).collect::<Result<_>>()?;
        missing.none.notified().await;
        Ok(actors)
    }
}

/// Adds numbers up.
struct Tally {
    sum: u64,
    missing: Option<Arc<Missing>>,
}

/// How many actors do not run yet.
struct Missing {
    actors: AtomicU32,
    none: Notify,
}

pub(crate) enum Message {
    Add(u64),
    Total { reply_to: ReplyTo<u64> },
}

impl Actor for Tally {
    type Message = Message;

    async fn receive(&mut self, message: Message, _: &mut ActorContext<Self>) -> Result<(), BoxError> {
        match message {
            Message::Add(number) => self.sum += number,
            Message::Total { reply_to } => reply_to.send(self.sum),
        }
        Ok(())
    }

    async fn signal(&mut self, signal: Signal, _: &mut ActorContext<Self>) -> Result<(), BoxError> {
        if let (Signal::Started, Some(missing)) = (signal, self.missing.take())
            && missing.actors.fetch_sub(1, Ordering::AcqRel) == 1
        {
            missing.none.notify_one();
        }
        Ok(())
    }
}

/// The limit: a task that receives from a bounded channel, and answers through a one-shot channel.
pub(crate) struct BareTasks;

impl Actors for BareTasks {
    type Ref = mpsc::Sender<Question>;

    async fn start(&self) -> Result<Self::Ref> {
        let (sender, mut receiver) = mpsc::channel(CAPACITY);
        tokio::spawn(async move {
            let mut sum = 0;
            while let Some(question) = receiver.recv().await {
                match question {
                    Question::Add(number) => sum += number,
                    Question::Total(reply_to) => {
                        // An asker that went away needs no answer.
                        let _ = reply_to.send(sum);
                    }
                }
            }
        });
        Ok(sender)
    }

    async fn add(actor: &Self::Ref, number: u64) -> Result<()> {
        Ok(actor.send(Question::Add(number)).await?)
    }

    async fn total(actor: &Self::Ref) -> Result<u64> {
        let (reply_to, answer) = oneshot::channel();
        actor.send(Question::Total(reply_to)).await?;
        Ok(answer.await?)
    }

    /// Spawn and join: nothing is left of these.
    async fn spawn(&self, count: u32) -> Result<Vec<Self::Ref>> {
        let sender = self.start().await?;
        let tasks: Vec<_> = (0..count).map(|_| tokio::spawn(std::future::ready(()))).collect();
        for task in tasks {
            task.await?;
        }
        Ok(vec![sender; count as usize])
    }
}

pub(crate) enum Question {
    Add(u64),
    Total(oneshot::Sender<u64>),
}

/// Of a mailbox.
const CAPACITY: usize = 1024;
const PATIENCE: Duration = Duration::from_secs(60);
