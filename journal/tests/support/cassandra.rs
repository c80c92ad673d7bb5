//! A Cassandra for tests: the one that `CASSANDRA_NODES` names, as `cargo xtask test` gives it.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::io::Write as _;
use std::sync::Once;
use std::time::Duration;

use annals_journal::cassandra::{CassandraJournal, Options};

/// The keyspace; `None`, said aloud, where there is no server. CI has one.
pub(crate) fn url() -> Option<String> {
    let nodes = std::env::var("CASSANDRA_NODES").ok();
    if nodes.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI tests with Cassandra, and CASSANDRA_NODES is not set");
        static SAID: Once = Once::new();
        // Not through `eprintln!`, which a passing test keeps to itself.
        SAID.call_once(|| {
            let _ = writeln!(std::io::stderr(), "!!! {MISSING}");
        });
    }
    nodes.map(|nodes| format!("cassandra://{nodes}/annals_tests"))
}

/// What is said where there is no server.
pub(crate) const MISSING: &str = "NOT TESTED with Cassandra: run `cargo xtask test`, or `cargo xtask services start` and set CASSANDRA_NODES";

/// Settings for a journal of one test; they share a keyspace, because tables take long to make.
pub(crate) fn options(journal: &str) -> Options {
    Options::default().journal(journal).replication_factor(1).request_timeout(Duration::from_secs(60))
}

/// A journal that no other test has.
pub(crate) fn name() -> String {
    format!("annals_{}", uuid::Uuid::new_v4().simple())
}

/// A journal.
pub(crate) async fn open(url: &str, options: Options) -> CassandraJournal {
    CassandraJournal::open(url, options).await.unwrap_or_else(|error| panic!("{error}"))
}
