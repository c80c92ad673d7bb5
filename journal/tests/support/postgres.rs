//! A PostgreSQL for tests: the one that `DATABASE_URL` names, as `cargo xtask test` gives it.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::io::Write as _;
use std::sync::Once;
use std::time::Duration;

use annals_journal::postgres::{Options, PostgresJournal};

/// The server; `None`, said aloud, where there is none. CI has one.
pub(crate) fn url() -> Option<String> {
    let url = std::env::var("DATABASE_URL").ok();
    if url.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI tests with PostgreSQL, and DATABASE_URL is not set");
        static SAID: Once = Once::new();
        // Not through `eprintln!`, which a passing test keeps to itself.
        SAID.call_once(|| {
            let _ = writeln!(std::io::stderr(), "!!! {MISSING}");
        });
    }
    url
}

/// What is said where there is no server.
pub(crate) const MISSING: &str = "NOT TESTED with PostgreSQL: run `cargo xtask test`, or `cargo xtask services start` and set DATABASE_URL";

/// Settings for a schema. Other tests have transactions open on the same server, so pages wait for them; and it may be slow.
pub(crate) fn options(schema: &str) -> Options {
    Options::default()
        .schema(schema)
        .patience(Duration::from_secs(60))
        .acquire_timeout(Duration::from_secs(60))
}

/// A schema that no other test has.
pub(crate) fn schema() -> String {
    format!("annals_{}", uuid::Uuid::new_v4().simple())
}

/// A journal in a schema.
pub(crate) async fn open(url: &str, schema: &str) -> PostgresJournal {
    PostgresJournal::open(url, options(schema)).await.unwrap_or_else(|error| panic!("{error}"))
}
