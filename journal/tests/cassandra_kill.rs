//! A node that is killed with SIGKILL under load, several times, loses nothing that it acknowledged (I1) when it writes its commit log
//! before it answers (`commitlog_sync: batch`), and everybody goes on by itself.
#![cfg(feature = "cassandra")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/cassandra.rs"]
mod cassandra;
mod children;
#[path = "support/killed.rs"]
mod killed;
mod support;

use std::sync::Arc;

use annals_services::cassandra::{Installation, Private, Settings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_under_load_loses_nothing_acknowledged() {
    let Some(installation) = Installation::find().filter(|_| cassandra::url().is_some()) else { return };
    let target = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = annals_services::folder(target).join(cassandra::name());
    let settings = Settings { batch: true };
    let (node, address) = Private::start(installation, &folder, settings).unwrap();
    let url = format!("cassandra://{address}/annals");
    // A node that is dead must not be waited for as long as one that is slow.
    let options = cassandra::options("annals").request_timeout(std::time::Duration::from_secs(20));
    let backend = Arc::new(cassandra::open(&url, options).await);
    let restart = || {
        node.kill().unwrap();
        assert_eq!(node.start(settings).unwrap(), address, "it comes back where it was");
    };
    killed::survives_kills(backend.clone(), children::budget() / 4, restart, || node.log()).await;
    backend.keyspace().close().await;
}
