use anyhow::{Result, anyhow};
use ractor::rpc::CallResult;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};

use crate::work::Actors;

/// ractor, as its examples use it. Its mailboxes are unbounded.
pub(crate) struct RactorActors;

impl Actors for RactorActors {
    type Ref = ActorRef<Message>;

    async fn start(&self) -> Result<Self::Ref> {
        let (actor, _task) = Actor::spawn(None, Tally, ()).await?;
        Ok(actor)
    }

    async fn add(actor: &Self::Ref, number: u64) -> Result<()> {
        Ok(actor.cast(Message::Add(number))?)
    }

    async fn total(actor: &Self::Ref) -> Result<u64> {
        match actor.call(Message::Total, None).await? {
            CallResult::Success(total) => Ok(total),
            _ => Err(anyhow!("no answer")),
        }
    }

    async fn spawn(&self, count: u32) -> Result<Vec<Self::Ref>> {
        let mut actors = Vec::with_capacity(count as usize);
        for _ in 0..count {
            actors.push(self.start().await?);
        }
        Ok(actors)
    }
}

struct Tally;

pub(crate) enum Message {
    Add(u64),
    Total(RpcReplyPort<u64>),
}

impl Actor for Tally {
    type Msg = Message;
    type State = u64;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Message>, (): ()) -> Result<u64, ActorProcessingErr> {
        Ok(0)
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        sum: &mut u64,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Add(number) => *sum += number,
            Message::Total(reply_to) => reply_to.send(*sum)?,
        }
        Ok(())
    }
}
