//! `verify` of a sealed journal on a PostgreSQL server.

use std::time::SystemTime;

use annals_journal::postgres::sqlx::{self, AssertSqlSafe, Connection as _, PgConnection};

use crate::bank::sealed_bank;
use crate::program::{Run, annals};

/// The server that `cargo xtask test` gives; `None` where there is none.
fn server() -> Option<String> {
    let url = std::env::var("DATABASE_URL").ok();
    if url.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI tests with PostgreSQL, and DATABASE_URL is not set");
        eprintln!(
            "NOT TESTED with PostgreSQL: run `cargo xtask test`, or `cargo xtask services start` and set DATABASE_URL"
        );
    }
    url
}

#[test]
fn a_sealed_journal_on_postgresql_is_verified_and_what_is_changed_there_is_found() {
    let Some(server) = server() else { return };
    let home = sealed_bank();
    let here = home.path();
    let keys = ["--keys", "file:ring.json"];
    let export = ["export", "--journal", "sqlite://bank.db", "--output", "bank.jsonl"];
    annals(here, &[&export[..], &keys].concat()).exits(0);

    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    let schema = format!("verify_{}_{now}", std::process::id());
    let with = if server.contains('?') { '&' } else { '?' };
    let journal = format!("{server}{with}schema={schema}");
    annals(here, &[&["import", "bank.jsonl", "--journal", &journal][..], &keys].concat()).exits(0);
    let verify = |more: &[&str]| -> Run {
        annals(here, &[&["verify", "--journal", &journal], &keys[..], more].concat())
    };
    verify(&["--refuse-plaintext", "--write-anchor", "bank.anchor"]).exits(0).says(&["nothing is wrong"]);

    let change = |sql: &str| {
        let sql = sql.replace("bank.", &format!("{schema}."));
        let run = async {
            let mut conn = PgConnection::connect(&server).await.unwrap();
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await.unwrap();
            conn.close().await.unwrap();
        };
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run);
    };
    let findings = || {
        let mut lines = verify(&["--json"]).exits(1).json();
        lines.pop();
        let kind = |line: &serde_json::Value| {
            let finding = &line["finding"];
            format!("{} {} {}", finding["kind"], finding["persistence_id"], finding["seq_nr"])
                .replace('"', "")
        };
        lines.iter().map(kind).collect::<Vec<_>>()
    };
    // One event in the place of another; its checksum is right, its place is not.
    change(
        "UPDATE bank.events SET envelope = (SELECT envelope FROM bank.events WHERE persistence_id = 'account|alice' AND seq = 3) \
         WHERE persistence_id = 'account|alice' AND seq = 2",
    );
    let moved = findings();
    assert!(moved.iter().any(|finding| finding.contains("account|alice 2")), "{moved:?}");
    // The end is cut off, and the head lowered.
    change(
        "DELETE FROM bank.events WHERE persistence_id = 'account|bob' AND seq = (SELECT head FROM bank.streams WHERE persistence_id = 'account|bob'); \
         UPDATE bank.streams SET head = head - 1 WHERE persistence_id = 'account|bob'",
    );
    let cut = findings();
    assert!(cut.iter().any(|finding| finding.starts_with("cut-off account|bob")), "{cut:?}");
    change(&format!("DROP SCHEMA {schema} CASCADE"));
}
