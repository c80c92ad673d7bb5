use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cqrs_es::event_sink::EventSink;
use cqrs_es::persist::PersistedEventStore;
use cqrs_es::{Aggregate, AggregateContext as _, DomainEvent, EventStore as _};
use postgres_es::{PostgresEventRepository, default_postgress_pool, postgres_cqrs};
use serde::{Deserialize, Serialize};
use tokio::runtime::Builder;
use tokio::task::JoinSet;

use crate::event;
use crate::parent;

/// The aggregate of `benches/engine/account.rs`, as cqrs-es has it: loaded from its events for each command.
#[derive(Default, Serialize, Deserialize)]
struct Account {
    cents: i64,
    events: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Deposited {
    account: String,
    amount_cents: i64,
    memo: String,
}

/// Persists so many events at once.
struct Deposit(u32);

impl DomainEvent for Deposited {
    fn event_type(&self) -> String {
        "Deposited".into()
    }

    fn event_version(&self) -> String {
        "1".into()
    }
}

impl Aggregate for Account {
    const TYPE: &'static str = "account";
    type Command = Deposit;
    type Event = Deposited;
    type Error = Infallible;
    type Services = ();

    async fn handle(&mut self, deposit: Deposit, (): &(), sink: &EventSink<Self>) -> Result<(), Infallible> {
        for _ in 0..deposit.0 {
            let event::Event { account, amount_cents, memo } = event::Event::example();
            sink.write(Deposited { account, amount_cents, memo }, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: Deposited) {
        self.cents += event.amount_cents;
        self.events += 1;
    }
}

/// Does the work on a schema that is there, whose tables are made here, and says how many events a second that were.
pub(crate) fn measure(
    work: &str,
    url: &str,
    entities: &str,
    events_each: &str,
    in_flight: &str,
) -> Result<()> {
    let (entities, events_each, in_flight) = (entities.parse()?, events_each.parse()?, in_flight.parse()?);
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (events, took) = runtime.block_on(async {
        let pool = default_postgress_pool(url).await;
        sqlx::raw_sql(TABLES).execute(&pool).await.context("making the tables of cqrs-es")?;
        match work {
            "persist" => persist(pool, entities, events_each, in_flight).await,
            "recover" => recover(pool, events_each).await,
            other => bail!("there is no work {other:?}"),
        }
    })?;
    parent::say(f64::from(events) / took.as_secs_f64())?;
    std::process::exit(0)
}

async fn persist(
    pool: sqlx::PgPool,
    entities: u32,
    events_each: u32,
    in_flight: u32,
) -> Result<(u32, Duration)> {
    let cqrs = Arc::new(postgres_cqrs::<Account>(pool, Vec::new(), ()));
    let (next, events) = (Arc::new(AtomicU32::new(0)), entities * events_each);
    let mut senders = JoinSet::new();
    let began = Instant::now();
    for _ in 0..in_flight {
        let (cqrs, next) = (Arc::clone(&cqrs), Arc::clone(&next));
        senders.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= events {
                    return anyhow::Ok(());
                }
                cqrs.execute(&format!("a-{:04}", number % entities), Deposit(1)).await?;
            }
        });
    }
    while let Some(sender) = senders.join_next().await {
        sender??;
    }
    Ok((events, began.elapsed()))
}

async fn recover(pool: sqlx::PgPool, events: u32) -> Result<(u32, Duration)> {
    let cqrs = postgres_cqrs::<Account>(pool.clone(), Vec::new(), ());
    for _ in 0..10 {
        cqrs.execute("a", Deposit(events / 10)).await?;
    }
    let store = PersistedEventStore::<_, Account>::new_event_store(PostgresEventRepository::new(pool));
    // Once for the caches.
    store.load_aggregate("a").await?;
    let began = Instant::now();
    let mut context = store.load_aggregate("a").await?;
    let took = began.elapsed();
    let found = context.aggregate().events;
    ensure!(found == events / 10 * 10, "{found} events came back, {events} were stored");
    Ok((found, took))
}

/// As `db/init.sql` of postgres-es 0.5 has it.
const TABLES: &str = "
    CREATE TABLE events (
        aggregate_type text NOT NULL, aggregate_id text NOT NULL, sequence bigint CHECK (sequence >= 0) NOT NULL,
        event_type text NOT NULL, event_version text NOT NULL, payload json NOT NULL, metadata json NOT NULL,
        PRIMARY KEY (aggregate_type, aggregate_id, sequence)
    )";
