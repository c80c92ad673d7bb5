//! Measures what events and snapshots cost here, and says how many events should lie between two snapshots.
//!
//! ```text
//! cargo run --release --example snapshot_interval -- --event-bytes 200 --state-bytes 5000 --recovery-ms 20
//! ```
//!
//! It writes events of that size into a SQLite file in the current folder (so that the disk is the one that is meant), replays
//! them, saves and loads snapshots of that size, and deletes the file. The formula is in `interval.rs` and in
//! docs/guide/tuning.md.

mod interval;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use annals::prelude::*;
use clap::Parser;
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use interval::{Costs, Interval, Wish};

/// Says how many events should lie between two snapshots.
#[derive(Debug, Parser)]
#[command(name = "snapshot_interval")]
struct Options {
    /// Size of an event as it is stored, in bytes.
    #[arg(long, default_value_t = 200)]
    event_bytes: usize,
    /// Size of the state as it is stored, in bytes.
    #[arg(long, default_value_t = 2_000)]
    state_bytes: usize,
    /// How long an entity that was asleep may take to its first answer, in milliseconds.
    #[arg(long, default_value_t = 50)]
    recovery_ms: u64,
    /// How many events an entity stores between two recoveries (its restarts and passivations).
    #[arg(long, default_value_t = 1_000)]
    events_per_recovery: u32,
    /// What snapshots may cost, in percent of what storing the events costs.
    #[arg(long, default_value_t = 5)]
    percent: u32,
    /// How many events to measure with.
    #[arg(long, default_value_t = 20_000)]
    events: u32,
    /// The folder of the file that is written.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    folder: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let folder = tempfile::tempdir_in(&options.folder)?;
    let costs = measure(&options, &folder.path().join("measured.db")).await?;
    let wish = Wish {
        recovery: Duration::from_millis(options.recovery_ms),
        share: f64::from(options.percent.max(1)) / 100.0,
        events_a_recovery: f64::from(options.events_per_recovery),
    };
    print(&costs, &Interval::of(&costs, &wish));
    Ok(())
}

fn print(costs: &Costs, interval: &Interval) {
    println!("to wake an entity without events   {:>12.1?}", costs.wake);
    println!("to replay an event                 {:>12.1?}", costs.replay);
    println!("to store an event, 256 under way   {:>12.1?}", costs.store);
    println!("to save a snapshot                 {:>12.1?}", costs.save);
    println!("to load a snapshot                 {:>12.1?}", costs.load);
    println!("at most, for the recovery          {:>12} events", interval.at_most);
    println!("at least, for the writes           {:>12} events", interval.at_least);
    println!("cheapest of all                    {:>12} events", interval.cheapest);
    if interval.at_most == 0 {
        println!("no interval gives such a recovery: waking and loading take longer");
    } else if interval.at_most < interval.at_least {
        println!("both is not to be had: a recovery that is so short makes the writes dearer than wanted");
    }
    println!("\nSnapshotPolicy::every_events({})", interval.advice());
}

async fn measure(options: &Options, file: &Path) -> anyhow::Result<Costs> {
    let add = Add { filler: "e".repeat(options.event_bytes.saturating_sub(EMPTY_EVENT)) };
    let resize = Resize { bytes: options.state_bytes };

    let node = open(file).await?;
    node.entity::<Measured>("long").ask(resize).await?;
    let began = Instant::now();
    stream::iter(0..options.events)
        .map(|_| Ok(node.entity::<Measured>("long").ask(add.clone()).into_future()))
        .try_buffer_unordered(256)
        .try_for_each(|()| async { Ok(()) })
        .await?;
    let store = began.elapsed() / options.events.max(1);
    node.shutdown().await;

    let node = open(file).await?;
    // The first one also opens what is opened once.
    node.entity::<Measured>("first").ask(Look).await?;
    let mut wake = Duration::MAX;
    for number in 0..TIMES {
        wake = wake.min(timed(node.entity::<Measured>(&format!("new-{number}")).ask(Look)).await?);
    }
    let long = timed(node.entity::<Measured>("long").ask(Look)).await?;
    let replay = long.saturating_sub(wake) / options.events.max(1);
    // Its policy takes a snapshot at the stop.
    node.shutdown().await;

    let node = open(file).await?;
    let id = PersistenceId::new(Measured::KIND, "long")?;
    let snapshots = node.snapshots();
    let (mut save, mut load) = (Duration::MAX, Duration::MAX);
    for _ in 0..TIMES {
        let began = Instant::now();
        let Some(snapshot) = snapshots.load(&id, SeqNr::MAX).await? else {
            anyhow::bail!("the snapshot at the stop is missing")
        };
        let state: Measured = serde_json::from_slice(&snapshot.payload)?;
        load = load.min(began.elapsed());
        let began = Instant::now();
        let payload = serde_json::to_vec(&state)?;
        snapshots.save(annals::snapshot::Snapshot { payload: payload.into(), ..snapshot }).await?;
        save = save.min(began.elapsed());
    }
    node.shutdown().await;
    Ok(Costs { wake, replay, store, save, load })
}

/// Each is the best of so many.
const TIMES: u32 = 10;
/// What an event without filler has in bytes: `{"filler":""}`.
const EMPTY_EVENT: usize = 13;

async fn open(file: &Path) -> anyhow::Result<Node> {
    let kind = Kind::<Measured>::new().snapshots(SnapshotPolicy::on_stop());
    let url = format!("sqlite://{}", file.display());
    Ok(Annals::builder("measured").journal(url).kind(kind).start().await?)
}

async fn timed<C: Command>(ask: annals::actors::Ask<Measured, C>) -> anyhow::Result<Duration>
where
    Measured: Handle<C, Rejection = NeverRejected>,
{
    let began = Instant::now();
    ask.await?;
    Ok(began.elapsed())
}

#[derive(Default, Serialize, Deserialize)]
struct Measured {
    events: u64,
    filler: String,
}

#[derive(Serialize, Deserialize, Event)]
enum MeasuredEvent {
    Added { filler: String },
    Resized { bytes: usize },
}

impl PersistentActor for Measured {
    const KIND: &'static str = "measured";
    type Event = MeasuredEvent;
    type Commands = (Add, Resize, Look);

    fn apply(&mut self, event: &MeasuredEvent) {
        match event {
            MeasuredEvent::Added { .. } => self.events += 1,
            MeasuredEvent::Resized { bytes } => self.filler = "s".repeat(*bytes),
        }
    }
}

#[derive(Clone, Serialize, Deserialize, Command)]
struct Add {
    filler: String,
}

#[derive(Serialize, Deserialize, Command)]
struct Resize {
    bytes: usize,
}

#[derive(Serialize, Deserialize, Command)]
struct Look;

impl Handle<Add> for Measured {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, add: &Add, ctx: &mut Context<Self, Add>) -> Effect<Self, Add> {
        ctx.persist(MeasuredEvent::Added { filler: add.filler.clone() }).reply_with(())
    }
}

impl Handle<Resize> for Measured {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, resize: &Resize, ctx: &mut Context<Self, Resize>) -> Effect<Self, Resize> {
        ctx.persist(MeasuredEvent::Resized { bytes: resize.bytes }).reply_with(())
    }
}

impl Handle<Look> for Measured {
    type Reply = u64;
    type Rejection = NeverRejected;

    fn handle(&self, _: &Look, ctx: &mut Context<Self, Look>) -> Effect<Self, Look> {
        ctx.reply(self.events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_costs_are_measured() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::parse_from(["snapshot_interval", "--events", "200"]);
        let costs = measure(&options, &folder.path().join("measured.db")).await.unwrap();
        for cost in [costs.wake, costs.store, costs.save, costs.load] {
            assert!(cost > Duration::ZERO && cost < Duration::MAX, "{costs:?}");
        }
    }

    #[test]
    fn an_event_has_the_size_that_is_asked_for() {
        let bytes = serde_json::to_vec(&serde_json::json!({ "filler": "" })).unwrap();
        assert_eq!(bytes.len(), EMPTY_EVENT);
    }
}
