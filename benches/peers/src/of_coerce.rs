use anyhow::{Result, anyhow};
use async_trait::async_trait;
use coerce::actor::context::ActorContext;
use coerce::actor::message::{Handler, Message};
use coerce::actor::system::ActorSystem;
use coerce::actor::{Actor, ActorRefErr, LocalActorRef};

use crate::work::Actors;

/// coerce, with anonymous actors. Its mailboxes are unbounded.
pub(crate) struct CoerceActors {
    system: ActorSystem,
}

impl CoerceActors {
    pub(crate) fn new() -> Self {
        Self { system: ActorSystem::new() }
    }
}

impl Actors for CoerceActors {
    type Ref = LocalActorRef<Tally>;

    async fn start(&self) -> Result<Self::Ref> {
        self.system.new_anon_actor(Tally { sum: 0 }).await.map_err(failure)
    }

    async fn add(actor: &Self::Ref, number: u64) -> Result<()> {
        actor.notify(Add(number)).map_err(failure)
    }

    async fn total(actor: &Self::Ref) -> Result<u64> {
        actor.send(Total).await.map_err(failure)
    }

    async fn spawn(&self, count: u32) -> Result<Vec<Self::Ref>> {
        let mut actors = Vec::with_capacity(count as usize);
        for _ in 0..count {
            actors.push(self.start().await?);
        }
        Ok(actors)
    }
}

fn failure(error: ActorRefErr) -> anyhow::Error {
    anyhow!("{error}")
}

pub(crate) struct Tally {
    sum: u64,
}

impl Actor for Tally {}

struct Add(u64);

impl Message for Add {
    type Result = ();
}

struct Total;

impl Message for Total {
    type Result = u64;
}

#[async_trait]
impl Handler<Add> for Tally {
    async fn handle(&mut self, Add(number): Add, _: &mut ActorContext) {
        self.sum += number;
    }
}

#[async_trait]
impl Handler<Total> for Tally {
    async fn handle(&mut self, _: Total, _: &mut ActorContext) -> u64 {
        self.sum
    }
}
