//! Three nodes, each event on all of them, one killed with SIGKILL under load again and again: the two others go on, and nothing that was
//! acknowledged is lost (I1). Which one is left to chance when nodes write their commit logs before they answer (`batch`); with
//! `periodic` it is always the same one, because each that is killed loses its last moments.
//!
//! Three servers want 3 GiB and a minute, so that this runs when it is asked for:
//! `cargo test -p annals-journal --all-features --test cassandra_ring -- --ignored --nocapture --test-threads 1`
#![cfg(feature = "cassandra")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/cassandra.rs"]
mod cassandra;
mod children;
#[path = "support/killed.rs"]
mod killed;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use annals_services::cassandra::{Installation, Ring, Settings};

/// Kills the node that `which` names for each kill.
async fn survives(settings: Settings, which: impl Fn(usize) -> usize) {
    let installation = Installation::find().expect("`cargo xtask services start` fetches Cassandra");
    let target = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = annals_services::folder(target).join(cassandra::name());
    let ring = Ring::start(&installation, &folder, 3, settings).unwrap();
    let addresses: Vec<String> = ring.nodes().iter().map(|node| node.address().unwrap()).collect();
    let url = format!("cassandra://{}/annals", addresses.join(","));
    let options = cassandra::options("annals").replication_factor(3).request_timeout(Duration::from_secs(20));
    let backend = Arc::new(cassandra::open(&url, options).await);
    let kills = AtomicUsize::new(0);
    let restart = || {
        let place = which(kills.fetch_add(1, Ordering::SeqCst));
        println!("killing {}", addresses[place]);
        ring.nodes()[place].kill().unwrap();
        assert_eq!(
            ring.nodes()[place].start(settings).unwrap(),
            addresses[place],
            "it comes back where it was"
        );
    };
    let log = || ring.nodes().iter().map(|node| node.log()).collect::<Vec<_>>().join("\n");
    killed::survives_kills(backend.clone(), Duration::from_secs(20), restart, log).await;
    backend.keyspace().close().await;
}

#[ignore = "three servers want 3 GiB and a minute"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_one_of_three_nodes_can_be_killed_under_load() {
    let began = children::seed() as usize;
    survives(Settings { batch: true }, |kill| began.wrapping_add(kill) % 3).await;
}

#[ignore = "three servers want 3 GiB and a minute"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_nodes_can_be_killed_under_load_that_answer_before_they_write() {
    survives(Settings { batch: false }, |_| 1).await;
}
