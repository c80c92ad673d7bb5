//! Compares what the bank stored with what its clients sent and heard.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use crate::example::Bank;
use crate::http_client::{Answer, Client};
use crate::teller::{Outcome, Teller};

/// Audits every account that was ever used, on a bank of its own.
pub(crate) fn audit_everything(file: &Path, tellers: &[Teller]) {
    let bank = Bank::start(file);
    let mut client = Client::new(bank.address);
    let mut accounts: Vec<_> =
        tellers.iter().flat_map(|teller| &teller.sent).map(|sent| &sent.account).collect();
    accounts.sort();
    accounts.dedup();
    for account in accounts {
        audit(&mut client, account, tellers);
    }
}

/// Compares an account's events with what the tellers sent and heard, while none of them is at work.
pub(crate) fn audit(client: &mut Client, account: &str, tellers: &[Teller]) {
    let mut sent: HashMap<_, _> = tellers
        .iter()
        .flat_map(|teller| &teller.sent)
        .filter(|sent| sent.account == account)
        .map(|sent| (sent.request_id.as_str(), sent))
        .collect();
    let mut cents = 0;
    let events = events(client, account);
    for (event, seq_nr) in events.iter().zip(1..) {
        assert_eq!(event.seq_nr, seq_nr, "{account}: the events are not 1..n");
        let sent = sent.remove(event.request_id.as_str()).unwrap_or_else(|| {
            panic!("{account}: event {seq_nr} was stored twice or never asked for: {event:?}")
        });
        assert_eq!(event.change(), sent.change, "{account}: event {seq_nr} is not what was asked for");
        cents += event.change();
        let now = Answer { id: account.to_owned(), cents: cents.try_into().unwrap(), seq_nr };
        match &sent.outcome {
            Outcome::Pending => {}
            Outcome::Answered(answer) => assert_eq!(*answer, now, "{account}: the answer was another"),
            Outcome::Refused => panic!("{account}: event {seq_nr} was refused before: {sent:?}"),
        }
    }
    for sent in sent.values() {
        assert!(
            !matches!(sent.outcome, Outcome::Answered(_)),
            "{account}: an answered change is lost: {sent:?}"
        );
    }
    let balance = client.get(&format!("/accounts/{account}")).unwrap();
    if events.is_empty() {
        assert_eq!(balance.status, 404);
    } else {
        let seq_nr = events.len() as u64;
        let expected = Answer { id: account.to_owned(), cents: cents.try_into().unwrap(), seq_nr };
        assert_eq!(balance.answer(), expected);
    }
}

fn events(client: &mut Client, account: &str) -> Vec<Event> {
    let response = client.get(&format!("/accounts/{account}/events")).unwrap();
    if response.status == 404 {
        return Vec::new();
    }
    assert_eq!(response.status, 200, "{}", response.body);
    response.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[derive(Debug, Deserialize)]
struct Event {
    seq_nr: u64,
    event: String,
    cents: i64,
    request_id: String,
}

impl Event {
    fn change(&self) -> i64 {
        match self.event.as_str() {
            "account.deposited" => self.cents,
            "account.withdrawn" => -self.cents,
            other => panic!("what is {other}?"),
        }
    }
}
