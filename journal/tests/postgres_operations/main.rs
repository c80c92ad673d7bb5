//! What an operator does to a PostgreSQL server under a journal: partitions, roles, TLS, failover, a disk that fills.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod failover;
mod full_disk;
mod partitions;
mod roles;
mod sessions;
mod tls;

#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;

use annals_journal::postgres::sqlx::{self, AssertSqlSafe, Connection as _, PgConnection};
use annals_services::{Installation, Private, Settings};

/// Where a test keeps a server of its own.
fn folder() -> PathBuf {
    annals_services::folder(std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))).join(postgres::schema())
}

/// A server of its own; `None`, said aloud, where none can be had.
fn server(settings: &Settings) -> Option<(Private, String)> {
    postgres::url()?;
    let installation = Installation::find_or_install().unwrap_or_else(|error| panic!("{error:#}"));
    Some(Private::start(installation, &folder(), settings).unwrap_or_else(|error| panic!("{error:#}")))
}

/// Runs statements as the owner of the server.
async fn run(url: &str, statements: &str) {
    let mut admin = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut admin).await.unwrap();
    admin.close().await.unwrap();
}
