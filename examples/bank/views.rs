//! What is asked of all accounts together: balances, the largest first, and the turnover of each day.
//!
//! Both are tables beside the journal, projected from the events, each event exactly once: the handler changes them in the transaction that
//! also moves the projection's progress.

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::collections::BTreeMap;
use std::time::Duration;

use annals::journal::OpenJournal;
use annals::prelude::*;
use annals::projections::{FailurePolicy, Phase, Projected, Projection, ProjectionError, Source};
use anyhow::Context as _;
use axum::extract::Query;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};

use crate::account::{Account, AccountEvent};
use crate::problem::Problem;

/// The views of a running bank.
#[derive(Clone)]
pub(crate) struct Views {
    projection: Projection,
    place: Place,
}

/// The database of the journal.
#[derive(Clone)]
enum Place {
    #[cfg(feature = "sqlite")]
    Sqlite(annals::journal::sqlite::Database),
    #[cfg(feature = "postgres")]
    Postgres(annals::journal::postgres::Database),
}

/// Takes account events into the tables.
struct AccountViews;

impl Views {
    /// Has them kept; a bank whose journal is neither in SQLite nor in PostgreSQL has none.
    pub(crate) fn start(node: &Node, journal: &OpenJournal) -> anyhow::Result<Option<Self>> {
        let views =
            Projection::builder("accounts", Source::of::<Account>(node)?).on_failure(FailurePolicy::stop());
        let (views, place) = match (views, journal) {
            #[cfg(feature = "sqlite")]
            (views, OpenJournal { database: Some(database), .. }) => {
                (views.in_sqlite(database, AccountViews), Place::Sqlite(database.clone()))
            }
            #[cfg(feature = "postgres")]
            (views, OpenJournal { postgres: Some(database), .. }) => {
                (views.in_postgres(database, AccountViews), Place::Postgres(database.clone()))
            }
            _ => return Ok(None),
        };
        let projection = views.start(node.system()).context("the views cannot be kept")?;
        Ok(Some(Self { projection, place }))
    }

    /// Waits until they have everything that was answered before.
    async fn catch_up(&self) -> Result<(), Problem> {
        match tokio::time::timeout(PATIENCE, self.projection.caught_up()).await {
            // Another bank on this journal keeps them, or an operator wants them to stand still.
            Ok(Ok(()) | Err(ProjectionError::NotRunning { phase: Phase::Fenced | Phase::Paused })) => Ok(()),
            Ok(Err(error)) => Err(Problem::try_later(error)),
            Err(_) => Err(Problem::try_later(format!("the views did not catch up within {PATIENCE:?}"))),
        }
    }

    async fn top(&self, most: u32) -> Result<Vec<Balance>, Problem> {
        match &self.place {
            #[cfg(feature = "sqlite")]
            Place::Sqlite(database) => sqlite::top(database, most).await.map_err(Problem::try_later),
            #[cfg(feature = "postgres")]
            Place::Postgres(database) => postgres::top(database, most).await.map_err(Problem::try_later),
        }
    }

    async fn turnover(&self, days: u32) -> Result<Vec<Day>, Problem> {
        match &self.place {
            #[cfg(feature = "sqlite")]
            Place::Sqlite(database) => sqlite::turnover(database, days).await.map_err(Problem::try_later),
            #[cfg(feature = "postgres")]
            Place::Postgres(database) => postgres::turnover(database, days).await.map_err(Problem::try_later),
        }
    }
}

/// What some events change, summed up: a row each.
#[derive(Debug, Default)]
struct Changes {
    /// By account: cents.
    balances: BTreeMap<String, i64>,
    /// By day since 1970: what came into accounts and went out of them, in cents.
    days: BTreeMap<i64, (i64, i64)>,
}

impl Changes {
    fn of(events: &[Projected<AccountEvent>]) -> Self {
        let mut changes = Self::default();
        for event in events {
            let change = change(&event.event);
            *changes.balances.entry(event.persistence_id.entity_id().to_owned()).or_default() += change;
            let day = i64::try_from(event.timestamp.as_micros() / MICROS_A_DAY).unwrap_or(i64::MAX);
            let (deposited, withdrawn) = changes.days.entry(day).or_default();
            *deposited += change.max(0);
            *withdrawn += (-change).max(0);
        }
        changes
    }
}

/// By how much an event changes the balance.
fn change(event: &AccountEvent) -> i64 {
    let cents = |cents: u64| i64::try_from(cents).unwrap_or(i64::MAX);
    match event {
        AccountEvent::Deposited { cents: c, .. }
        | AccountEvent::TransferTaken { cents: c, .. }
        | AccountEvent::TransferGivenBack { cents: c, .. } => cents(*c),
        AccountEvent::Withdrawn { cents: c, .. } | AccountEvent::TransferPaid { cents: c, .. } => -cents(*c),
        AccountEvent::TransferSettled { .. } => 0,
    }
}

/// A line of `GET /accounts?top=`.
#[derive(Debug, Serialize)]
pub(crate) struct Balance {
    id: String,
    cents: i64,
}

/// A line of `GET /turnover?days=`.
#[derive(Debug, Serialize)]
pub(crate) struct Day {
    day: String,
    deposited: i64,
    withdrawn: i64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Top {
    #[serde(default = "twenty")]
    top: u32,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Days {
    #[serde(default = "seven")]
    days: u32,
}

fn twenty() -> u32 {
    20
}

fn seven() -> u32 {
    7
}

/// All accounts, the largest balances first.
pub(crate) async fn top(
    Extension(views): Extension<Option<Views>>,
    Query(Top { top }): Query<Top>,
) -> Result<Json<Vec<Balance>>, Problem> {
    let views = views.ok_or_else(no_views)?;
    views.catch_up().await?;
    views.top(top.min(LONGEST_LIST)).await.map(Json)
}

/// What came in and went out on each day, the newest first.
pub(crate) async fn turnover(
    Extension(views): Extension<Option<Views>>,
    Query(Days { days }): Query<Days>,
) -> Result<Json<Vec<Day>>, Problem> {
    let views = views.ok_or_else(no_views)?;
    views.catch_up().await?;
    views.turnover(days.min(LONGEST_LIST)).await.map(Json)
}

fn no_views() -> Problem {
    Problem::not_found(
        "this bank keeps no views: its journal is neither in SQLite nor in PostgreSQL, or it is sealed and --clear-views was not said",
    )
}

const MICROS_A_DAY: u64 = 24 * 60 * 60 * 1_000_000;
const LONGEST_LIST: u32 = 10_000;
const PATIENCE: Duration = Duration::from_secs(10);
