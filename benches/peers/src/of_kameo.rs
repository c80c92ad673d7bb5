use anyhow::Result;
use kameo::Actor;
use kameo::actor::{ActorRef, Spawn};
use kameo::mailbox;
use kameo::message::{Context, Message};

use crate::work::Actors;

/// kameo, with a bounded mailbox as it recommends; as large as those of the others, which is faster than its default of 64.
pub(crate) struct KameoActors;

impl Actors for KameoActors {
    type Ref = ActorRef<Tally>;

    async fn start(&self) -> Result<Self::Ref> {
        let actor = launch();
        actor.wait_for_startup().await;
        Ok(actor)
    }

    async fn add(actor: &Self::Ref, number: u64) -> Result<()> {
        Ok(actor.tell(Add(number)).await?)
    }

    async fn total(actor: &Self::Ref) -> Result<u64> {
        Ok(actor.ask(Total).await?)
    }

    async fn spawn(&self, count: u32) -> Result<Vec<Self::Ref>> {
        let actors: Vec<_> = (0..count).map(|_| launch()).collect();
        for actor in &actors {
            actor.wait_for_startup().await;
        }
        Ok(actors)
    }
}

fn launch() -> ActorRef<Tally> {
    Tally::spawn_with_mailbox(Tally { sum: 0 }, mailbox::bounded(1024))
}

#[derive(Actor)]
pub(crate) struct Tally {
    sum: u64,
}

struct Add(u64);

struct Total;

impl Message<Add> for Tally {
    type Reply = ();

    async fn handle(&mut self, Add(number): Add, _: &mut Context<Self, ()>) {
        self.sum += number;
    }
}

impl Message<Total> for Tally {
    type Reply = u64;

    async fn handle(&mut self, _: Total, _: &mut Context<Self, u64>) -> u64 {
        self.sum
    }
}
