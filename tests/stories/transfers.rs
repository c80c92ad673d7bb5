//! Transfers as the bank's clients meet them.

use serde_json::{Value, json};

use crate::example::{Bank, url};
use crate::http_client::{Client, Response};

#[test]
fn a_transfer_moves_money_once_however_often_it_is_sent() {
    let (_folder, file) = new_file();
    let bank = Bank::start(&file);
    let mut client = opened(&bank);
    let completed = json!({ "id": "t 1/ä", "state": "completed" });
    assert_eq!(body(&transfer(&mut client, "alice", "bob", 200, "t 1/ä"), 200), completed);
    assert_eq!(body(&transfer(&mut client, "alice", "bob", 200, "t 1/ä"), 200), completed);
    assert_eq!(balances(&mut client), (300, 700));

    bank.kill();
    let bank = Bank::start(&file);
    let mut client = Client::new(bank.address);
    assert_eq!(body(&transfer(&mut client, "alice", "bob", 200, "t 1/ä"), 200), completed);
    let shown = body(&client.get("/transfers/t%201%2F%C3%A4").unwrap(), 200);
    assert_eq!(
        shown,
        json!({ "id": "t 1/ä", "state": "completed", "from": "alice", "to": "bob", "cents": 200 })
    );
    assert_eq!(balances(&mut client), (300, 700));
    bank.terminate();
    bank.stops();
}

#[test]
fn a_transfer_that_the_receiver_refuses_is_422_and_the_sender_has_its_money_back() {
    let (_folder, file) = new_file();
    let bank = Bank::start(&file);
    let mut client = opened(&bank);
    for _ in 0..2 {
        let error = transfer(&mut client, "alice", "nobody", 200, "t-1").error(422);
        assert!(error.contains("\"nobody\": this account was never used"), "{error}");
    }
    let shown = body(&client.get("/transfers/t-1").unwrap(), 200);
    assert_eq!(shown["state"], "failed");
    assert!(shown["reason"].as_str().unwrap().contains("never used"));
    assert_eq!(balances(&mut client), (500, 500));
    // Paid, and given back.
    assert_eq!(body(&client.get("/accounts/alice").unwrap(), 200)["seq_nr"], 3);
}

#[test]
fn a_transfer_that_the_sender_cannot_pay_is_422_and_changes_nothing() {
    let (_folder, file) = new_file();
    let bank = Bank::start(&file);
    let mut client = opened(&bank);
    let error = transfer(&mut client, "alice", "bob", 501, "t-1").error(422);
    assert!(error.contains("overdrawn: 1 cents are missing"), "{error}");
    assert_eq!(balances(&mut client), (500, 500));
}

#[test]
fn a_transfer_that_takes_longer_is_202_and_is_found_at_its_location() {
    let (_folder, file) = new_file();
    let bank = Bank::start(&file);
    let mut client = opened(&bank);
    // One that is asked not to wait may be over all the same before it is looked at: then the next one is tried.
    let mut sent = 0;
    let (id, accepted) = loop {
        sent += 1;
        assert!(sent <= 400, "each of 400 transfers was over at once");
        let id = format!("t {sent}");
        let order = json!({ "from": "alice", "to": "bob", "cents": 1, "request_id": id }).to_string();
        let response = client
            .send(&format!(
                "POST /transfers HTTP/1.1\r\nhost: bank\r\nprefer: wait=0\r\ncontent-length: {}\r\n\r\n{order}",
                order.len()
            ))
            .unwrap();
        if response.status != 200 {
            break (id, response);
        }
    };
    let state = body(&accepted, 202);
    assert!(state["id"] == id && state["state"] != "completed", "{state}");
    let location = format!("/transfers/{}", id.replace(' ', "%20"));
    assert_eq!(accepted.header("location"), Some(&*location));
    while body(&client.get(&location).unwrap(), 200)["state"] != "completed" {}
    assert_eq!(balances(&mut client), (500 - sent, 500 + sent));
}

#[test]
fn a_transfer_that_takes_too_long_fails_and_changes_nothing() {
    let (_folder, file) = new_file();
    let bank = Bank::spawn_with(&file, &["--journal", &url(&file), "--transfer-timeout-ms", "0"]).listening();
    let mut client = opened(&bank);
    let error = transfer(&mut client, "alice", "bob", 200, "t-1").error(422);
    assert!(error.contains("too late"), "{error}");
    assert_eq!(balances(&mut client), (500, 500));
}

#[test]
fn a_known_transfer_with_another_body_is_422_and_rubbish_is_400() {
    let (_folder, file) = new_file();
    let bank = Bank::start(&file);
    let mut client = opened(&bank);
    assert_eq!(transfer(&mut client, "alice", "bob", 200, "t-1").status, 200);
    assert!(transfer(&mut client, "alice", "bob", 201, "t-1").error(422).contains("another transfer"));
    assert!(transfer(&mut client, "alice", "alice", 1, "t-2").error(400).contains("two different"));
    assert!(transfer(&mut client, "", "alice", 1, "t-2").error(400).contains("bad account id"));
    assert!(client.post("/transfers", "{}").unwrap().error(400).contains("\"from\": \"alice\""));
    assert!(client.get("/transfers/t-2").unwrap().error(404).contains("never begun"));
    assert!(client.get("/transfers/%00").unwrap().error(404).contains("never begun"));
    assert_eq!(balances(&mut client), (300, 700));
}

fn new_file() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bank.db");
    (folder, file)
}

/// Alice and Bob have 500 cents each.
fn opened(bank: &Bank) -> Client {
    let mut client = Client::new(bank.address);
    for id in ["alice", "bob"] {
        let deposit = json!({ "cents": 500, "request_id": "first" }).to_string();
        client.post(&format!("/accounts/{id}/deposit"), &deposit).unwrap().answer();
    }
    client
}

fn balances(client: &mut Client) -> (u64, u64) {
    let mut cents = |id: &str| client.get(&format!("/accounts/{id}")).unwrap().answer().cents;
    (cents("alice"), cents("bob"))
}

fn transfer(client: &mut Client, from: &str, to: &str, cents: u64, id: &str) -> Response {
    let order = json!({ "from": from, "to": to, "cents": cents, "request_id": id }).to_string();
    client.post("/transfers", &order).unwrap()
}

#[track_caller]
fn body(response: &Response, status: u16) -> Value {
    assert_eq!(response.status, status, "{}", response.body);
    serde_json::from_str(&response.body).unwrap()
}
