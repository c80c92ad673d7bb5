//! What is asked of plain actors, whoever made them: the same code for Annals, for bare tasks and for the peers, which
//! include this file in a program of their own.

use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::parent;

/// Makes actors that add numbers up.
pub(crate) trait Actors: Send + Sync + 'static {
    /// Reaches an actor, and keeps it alive where that is the custom.
    type Ref: Clone + Send + Sync + 'static;

    /// One actor that has a sum and is idle.
    fn start(&self) -> impl Future<Output = Result<Self::Ref>> + Send;

    /// Tells it a number, and waits where its mailbox is full.
    fn add(actor: &Self::Ref, number: u64) -> impl Future<Output = Result<()>> + Send;

    /// Asks it for the sum.
    fn total(actor: &Self::Ref) -> impl Future<Output = Result<u64>> + Send;

    /// Spawns so many, and returns when all of them run.
    fn spawn(&self, count: u32) -> impl Future<Output = Result<Vec<Self::Ref>>> + Send;
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// One sender tells one actor; done when the actor has handled all.
    Tell,
    /// So many callers ask one actor, each one question after the other.
    Ask { in_flight: u32 },
    /// Actors are spawned; done when all of them run.
    Spawn,
}

impl FromStr for Work {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "tell" => Ok(Self::Tell),
            "ask" => Ok(Self::Ask { in_flight: 1 }),
            "ask-100" => Ok(Self::Ask { in_flight: 100 }),
            "spawn" => Ok(Self::Spawn),
            other => bail!("there is no work {other:?}"),
        }
    }
}

/// Does the work once a little, then as often as asked, and says how many nanoseconds that took.
pub(crate) fn measure<A: Actors>(make: impl FnOnce() -> A, work: &str, count: &str) -> Result<()> {
    let (work, count) = (work.parse()?, count.parse::<u32>()?);
    let runtime = runtime()?;
    let actors = Arc::new(runtime.block_on(async { make() }));
    for count in [count / 10, count] {
        let actors = Arc::clone(&actors);
        // In a task, because the thread that blocks on the runtime is none of its workers.
        let took = runtime.block_on(runtime.spawn(async move { once(&*actors, work, count).await }))??;
        parent::say(took.as_secs_f64() * 1e9)?;
    }
    // Ends the process without taking the actors apart, which nobody measures.
    std::process::exit(0)
}

/// Starts so many actors, lets each answer once when `used`, and keeps them while the parent looks at the memory.
pub(crate) fn keep<A: Actors>(make: impl FnOnce() -> A, count: &str, used: bool) -> Result<()> {
    let count: u32 = count.parse()?;
    let runtime = runtime()?;
    let actors = Arc::new(runtime.block_on(async { make() }));
    let mut kept = Vec::with_capacity(count as usize + FIRST as usize);
    for count in [FIRST, count] {
        let actors = Arc::clone(&actors);
        let idle = async move {
            let refs = actors.spawn(count).await?;
            if used {
                for actor in &refs {
                    A::total(actor).await?;
                }
            }
            anyhow::Ok(refs)
        };
        kept.extend(runtime.block_on(runtime.spawn(idle))??);
        parent::say(f64::from(count))?;
        parent::wait()?;
    }
    std::process::exit(0)
}

async fn once<A: Actors>(actors: &A, work: Work, count: u32) -> Result<Duration> {
    match work {
        Work::Tell => {
            let actor = actors.start().await?;
            let began = Instant::now();
            for _ in 0..count {
                A::add(&actor, 1).await?;
            }
            let total = A::total(&actor).await?;
            let took = began.elapsed();
            ensure!(total == u64::from(count), "{total} of {count} messages were handled");
            Ok(took)
        }
        Work::Ask { in_flight } => {
            let actor = actors.start().await?;
            A::add(&actor, 7).await?;
            let began = Instant::now();
            let mut callers = JoinSet::new();
            for _ in 0..in_flight {
                let actor = actor.clone();
                callers.spawn(async move {
                    for _ in 0..count / in_flight {
                        ensure!(A::total(&actor).await? == 7, "another answer than was expected");
                    }
                    Ok(())
                });
            }
            while let Some(caller) = callers.join_next().await {
                caller??;
            }
            Ok(began.elapsed())
        }
        Work::Spawn => {
            let began = Instant::now();
            let refs = actors.spawn(count).await?;
            let took = began.elapsed();
            ensure!(refs.len() == count as usize, "{} of {count} actors were spawned", refs.len());
            Ok(took)
        }
    }
}

fn runtime() -> Result<Runtime> {
    Ok(Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?)
}

/// Of the runtime; the same on every machine, so that runs compare.
pub(crate) const WORKERS: usize = 2;
/// Actors that are there before the memory is looked at first.
const FIRST: u32 = 10_000;
