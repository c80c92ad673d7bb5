//! The bank on a PostgreSQL server, which `DATABASE_URL` names, as `cargo xtask test` gives it.

use std::io::Write as _;

use serde_json::json;
use uuid::Uuid;

use crate::example::Bank;
use crate::http_client::{Answer, Client};

#[test]
fn a_bank_on_a_server_goes_on_after_kill_9_and_fences_the_one_before() {
    let Ok(server) = std::env::var("DATABASE_URL") else {
        assert!(std::env::var_os("CI").is_none(), "CI tests with PostgreSQL, and DATABASE_URL is not set");
        // Not through `eprintln!`, which a passing test keeps to itself.
        let _ = writeln!(std::io::stderr(), "!!! NOT TESTED with PostgreSQL: DATABASE_URL is not set");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let url = format!("{server}?schema=annals_{}&acquire_timeout_ms=60000", Uuid::new_v4().simple());
    let start = |log: &str| Bank::spawn_with(&folder.path().join(log), &["--journal", &url]).listening();

    let first = start("first");
    let mut client = Client::new(first.address);
    // More than one snapshot, so that the store beside the journal is used too.
    for n in 1..=250 {
        assert_eq!(deposit(&mut client, &format!("a-{n}")), Some(balance(n)), "{n}");
    }
    first.kill();

    let second = start("second");
    let mut client = Client::new(second.address);
    assert_eq!(client.get("/accounts/alice").unwrap().answer(), balance(250));
    assert_eq!(deposit(&mut client, "a-250"), Some(balance(250)), "a repeated request counts once");
    assert_eq!(deposit(&mut client, "a-251"), Some(balance(251)));

    let third = start("third");
    let mut newer = Client::new(third.address);
    assert_eq!(deposit(&mut newer, "a-252"), Some(balance(252)));
    assert_eq!(deposit(&mut client, "a-253"), None, "the older bank was taken over");
    assert_eq!(newer.get("/accounts/alice").unwrap().answer(), balance(252));
    third.terminate();
    third.stops();
}

fn balance(deposits: u64) -> Answer {
    Answer { id: "alice".into(), cents: deposits, seq_nr: deposits }
}

/// Deposits a cent; `None` when the bank says that it cannot.
fn deposit(client: &mut Client, request_id: &str) -> Option<Answer> {
    let body = json!({ "cents": 1, "request_id": request_id }).to_string();
    let response = client.post("/accounts/alice/deposit", &body).unwrap();
    if response.status == 200 {
        return Some(response.answer());
    }
    assert!(response.status == 503 || response.status == 409, "{response:?}");
    None
}
