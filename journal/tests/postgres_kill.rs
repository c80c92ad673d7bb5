//! A server that is killed with SIGKILL under load, several times, loses nothing that it acknowledged (I1), and everybody goes on by
//! itself.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod children;
#[path = "support/killed.rs"]
mod killed;
#[path = "support/postgres.rs"]
mod postgres;
mod support;

use std::sync::Arc;

use annals_services::{Installation, Private, Settings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_under_load_loses_nothing_acknowledged() {
    let Some(installation) = Installation::find().filter(|_| postgres::url().is_some()) else { return };
    let target = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = annals_services::folder(target).join(postgres::schema());
    let settings = Settings { fsync: true, ..Settings::default() };
    let (server, url) = Private::start(installation, &folder, &settings).unwrap();
    let backend = Arc::new(postgres::open(&url, "annals").await);
    let restart = || {
        server.kill().unwrap();
        assert_eq!(server.start(&settings).unwrap(), url, "it comes back where it was");
    };
    killed::survives_kills(backend.clone(), children::budget() / 4, restart, || server.log()).await;
    backend.database().close().await;
}
