//! The bank as its clients and its operator meet it.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::example::{Bank, example, url};
use crate::http_client::{Answer, Client, Response, connect, post};

#[test]
fn money_comes_and_goes() {
    let (bank, _folder, _) = open();
    let mut client = Client::new(bank.address);
    assert_eq!(deposit(&mut client, "alice", 500, "a-1").answer(), answer("alice", 500, 1));
    assert_eq!(withdraw(&mut client, "alice", 200, "a-2").answer(), answer("alice", 300, 2));
    assert_eq!(deposit(&mut client, "bob", 7, "a-1").answer(), answer("bob", 7, 1));
    assert_eq!(client.get("/accounts/alice").unwrap().answer(), answer("alice", 300, 2));
}

#[test]
fn a_repeated_request_gets_its_first_answer_also_after_a_restart() {
    let (bank, _folder, file) = open();
    let mut client = Client::new(bank.address);
    let first = deposit(&mut client, "alice", 500, "a-1").answer();
    let second = withdraw(&mut client, "alice", 200, "a-2").answer();
    assert_eq!(deposit(&mut client, "alice", 500, "a-1").answer(), first);

    bank.kill();
    let bank = Bank::start(&file);
    let mut client = Client::new(bank.address);
    assert_eq!(deposit(&mut client, "alice", 500, "a-1").answer(), first);
    assert_eq!(withdraw(&mut client, "alice", 200, "a-2").answer(), second);

    bank.terminate();
    bank.stops();
    let bank = Bank::start(&file);
    let mut client = Client::new(bank.address);
    assert_eq!(withdraw(&mut client, "alice", 200, "a-2").answer(), second);
    assert_eq!(
        client.get("/accounts/alice").unwrap().answer(),
        second,
        "a repeated request changed something"
    );
}

#[test]
fn after_a_clean_stop_the_file_alone_is_whole() {
    let (bank, folder, file) = open();
    let mut client = Client::new(bank.address);
    deposit(&mut client, "alice", 500, "a-1").answer();
    let before = client.get("/accounts/alice").unwrap().answer();
    bank.terminate();
    bank.stops();
    for rest in ["-wal", "-shm"] {
        let mut name = file.as_os_str().to_owned();
        name.push(rest);
        assert!(!std::path::Path::new(&name).exists(), "{name:?} was left");
    }
    let copy = folder.path().join("copy.db");
    std::fs::copy(&file, &copy).unwrap();
    let bank = Bank::start(&copy);
    assert_eq!(Client::new(bank.address).get("/accounts/alice").unwrap().answer(), before);
}

#[test]
fn first_answers_survive_a_snapshot() {
    const REQUESTS: u64 = 1_100; // more than are remembered whatever their age, and more than two snapshots apart
    let (bank, _folder, file) = open();
    let mut client = Client::new(bank.address);
    for number in 1..=REQUESTS {
        deposit(&mut client, "alice", 1, &format!("a-{number}")).answer();
    }
    bank.terminate();
    bank.stops();
    let bank = Bank::start(&file);
    let mut client = Client::new(bank.address);
    for number in 1..=REQUESTS {
        assert_eq!(
            deposit(&mut client, "alice", 1, &format!("a-{number}")).answer(),
            answer("alice", number, number)
        );
    }
}

#[test]
fn a_known_request_id_with_another_body_is_422() {
    let (bank, _folder, _) = open();
    let mut client = Client::new(bank.address);
    deposit(&mut client, "alice", 500, "a-1").answer();
    for response in [deposit(&mut client, "alice", 501, "a-1"), withdraw(&mut client, "alice", 500, "a-1")] {
        let error = response.error(422);
        assert!(error.contains("a-1") && error.contains("another request"), "{error}");
    }
    assert_eq!(client.get("/accounts/alice").unwrap().answer(), answer("alice", 500, 1));
}

#[test]
fn a_refused_withdrawal_is_decided_anew() {
    let (bank, _folder, _) = open();
    let mut client = Client::new(bank.address);
    deposit(&mut client, "alice", 500, "a-1").answer();
    let error = withdraw(&mut client, "alice", 700, "a-2").error(422);
    assert!(error.contains("overdrawn: 200 cents are missing"), "{error}");
    deposit(&mut client, "alice", 200, "a-3").answer();
    assert_eq!(withdraw(&mut client, "alice", 700, "a-2").answer(), answer("alice", 0, 3));
}

#[test]
fn an_account_holds_no_more_than_every_json_reader_reads() {
    let (bank, _folder, _) = open();
    let mut client = Client::new(bank.address);
    let most = (1 << 53) - 1;
    assert_eq!(deposit(&mut client, "alice", most, "a-1").answer(), answer("alice", most, 1));
    assert!(deposit(&mut client, "alice", 1, "a-2").error(422).contains("deposit less"));
}

#[test]
fn rubbish_is_400_and_says_what_to_send() {
    let (bank, _folder, _) = open();
    let mut client = Client::new(bank.address);
    let long = format!(r#"{{"cents":1,"request_id":"{}"}}"#, "x".repeat(129));
    for (body, hint) in [
        ("", "EOF"),
        ("cents=100", "send {"),
        ("null", "invalid type"),
        ("[]", "invalid length"),
        (r#"{"cents":100"#, "EOF"),
        (r#"{"cents":100}"#, "missing field `request_id`"),
        (r#"{"request_id":"a"}"#, "missing field `cents`"),
        (r#"{"cents":"100","request_id":"a"}"#, "expected u64"),
        (r#"{"cents":1.5,"request_id":"a"}"#, "expected u64"),
        (r#"{"cents":-5,"request_id":"a"}"#, "expected u64"),
        (r#"{"cents":0,"request_id":"a"}"#, "from 1 to"),
        (r#"{"cents":9007199254740992,"request_id":"a"}"#, "from 1 to"),
        (r#"{"cents":18446744073709551616,"request_id":"a"}"#, "expected u64"),
        (r#"{"cents":1,"request_id":7}"#, "expected a string"),
        (r#"{"cents":1,"request_id":""}"#, "1 to 128 bytes"),
        (r#"{"cents":1,"request_id":"a\nb"}"#, "control characters"),
        (r#"{"cents":1,"request_id":"a\u0000"}"#, "control characters"),
        (r#"{"cents":1,"request_id":"a","cent":2}"#, "unknown field `cent`"),
        (&long, "1 to 128 bytes"),
    ] {
        for action in ["deposit", "withdraw"] {
            let error = client.post(&format!("/accounts/alice/{action}"), body).unwrap().error(400);
            assert!(error.contains(hint), "{body}: {error}");
        }
    }
    for id in ["a%00", "a%0Ab", "%FF", &"x".repeat(600)] {
        let error = deposit(&mut client, id, 1, "a-1").error(400);
        assert!(error.contains("bad account id"), "{id}: {error}");
        assert!(client.get(&format!("/accounts/{id}")).unwrap().error(400).contains("bad account id"));
    }
    let huge = format!(r#"{{"cents":1,"request_id":"{}"}}"#, "x".repeat(100_000));
    assert!(
        Client::new(bank.address)
            .post("/accounts/alice/deposit", &huge)
            .unwrap()
            .error(413)
            .contains("at most")
    );
    client.get("/accounts/alice").unwrap().error(404);
}

#[test]
fn an_id_may_be_any_text() {
    let (bank, _folder, _) = open();
    let mut client = Client::new(bank.address);
    let id = "Zoë | account|1/2";
    let path = "Zo%C3%AB%20%7C%20account%7C1%2F2";
    assert_eq!(deposit(&mut client, path, 5, "a-1").answer(), answer(id, 5, 1));
    assert_eq!(client.get(&format!("/accounts/{path}")).unwrap().answer(), answer(id, 5, 1));
}

#[test]
fn what_was_never_used_is_404() {
    let (bank, _folder, _) = open();
    let mut client = Client::new(bank.address);
    assert!(client.get("/accounts/nobody").unwrap().error(404).contains("never used"));
    assert!(client.get("/accounts/nobody/events").unwrap().error(404).contains("never used"));
    assert!(client.get("/").unwrap().error(404).contains("/accounts/{id}/deposit"));
    assert!(client.get("/accounts/nobody/deposit").unwrap().error(405).contains("POST"));
}

#[test]
fn events_are_lines_of_json_with_their_numbers() {
    let (bank, _folder, _) = open();
    let mut client = Client::new(bank.address);
    for number in 1..=300 {
        deposit(&mut client, "alice", number, &format!("a-{number}")).answer();
    }
    withdraw(&mut client, "alice", 50, "b-1").answer();
    let response = client.get("/accounts/alice/events").unwrap();
    assert_eq!(response.header("content-type"), Some("application/x-ndjson"));
    let lines: Vec<Value> = response.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 301);
    for (line, number) in lines.iter().zip(1..=300) {
        assert_eq!(line["seq_nr"], json!(number));
        assert_eq!(line["event"], "account.deposited");
        assert_eq!(line["cents"], json!(number));
        assert_eq!(line["request_id"], json!(format!("a-{number}")));
    }
    assert_eq!(lines[300]["event"], "account.withdrawn");
}

#[test]
fn sigterm_answers_what_has_begun_and_exits_with_0() {
    let (bank, _folder, file) = open();
    let request = post("/accounts/alice/deposit", r#"{"cents":500,"request_id":"a-1"}"#);
    let (begun, rest) = request.split_at(request.len() - 10);
    let mut connection = connect(bank.address).unwrap();
    connection.write_all(begun.as_bytes()).unwrap();
    // An answer on another connection: by then the bank has taken the first one too.
    assert_eq!(Client::new(bank.address).get("/healthz").unwrap().status, 200);

    bank.terminate();
    while connect(bank.address).is_ok() {
        thread::yield_now();
    }
    connection.write_all(rest.as_bytes()).unwrap();
    let response = Response::read(&mut BufReader::new(connection)).unwrap();
    assert_eq!(response.answer(), answer("alice", 500, 1));
    bank.stops();

    let bank = Bank::start(&file);
    assert_eq!(Client::new(bank.address).get("/accounts/alice").unwrap().answer(), answer("alice", 500, 1));
}

#[test]
fn a_second_process_takes_over_and_the_first_one_is_fenced() {
    let (first, _folder, file) = open();
    let mut old = Client::new(first.address);
    deposit(&mut old, "alice", 500, "a-1").answer();

    let second = Bank::start(&file);
    let mut new = Client::new(second.address);
    assert_eq!(withdraw(&mut new, "alice", 200, "a-2").answer(), answer("alice", 300, 2));

    let response = deposit(&mut old, "alice", 100, "a-3");
    assert!(response.header("retry-after").is_some());
    let error = response.error(503);
    assert!(error.contains("newer epoch") || error.contains("fenced"), "{error}");
    assert_eq!(deposit(&mut new, "alice", 100, "a-3").answer(), answer("alice", 400, 3));
    assert_eq!(deposit(&mut old, "alice", 1, "a-4").status, 503, "the old owner came back");
    assert_eq!(new.get("/accounts/alice").unwrap().answer(), answer("alice", 400, 3));
}

#[test]
fn a_locked_journal_is_503_and_the_same_request_succeeds_afterwards() {
    let (_folder, file) = new_file();
    let bank = Bank::start_impatient(&file);
    let mut client = Client::new(bank.address);
    deposit(&mut client, "alice", 500, "a-1").answer();

    let thief = rusqlite::Connection::open(&file).unwrap();
    thief.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let response = deposit(&mut client, "alice", 100, "a-2");
    assert!(response.header("retry-after").is_some(), "{response:?}");
    let reason = response.error(503);
    assert!(reason.contains("same request_id"), "{reason}");
    assert!(reason.contains("locked by another process"), "{reason}");
    assert!(reason.contains("or set a larger busy_timeout_ms"), "{reason}");
    thief.execute_batch("ROLLBACK").unwrap();

    let again = loop {
        let again = deposit(&mut client, "alice", 100, "a-2");
        if again.status != 503 {
            break again.answer();
        }
    };
    assert_eq!(again, answer("alice", 600, 2));
}

#[test]
fn a_full_mailbox_is_503_and_every_request_counts_once_in_the_end() {
    const REQUESTS: u64 = 1_500; // more than the 1,024 of a mailbox and the 256 events on the way to disk
    let (_folder, file) = new_file();
    // The commit on its way waits for the lock, however slowly the requests come in: so none fails before the mailbox is full.
    let bank = Bank::start_patient(&file);
    deposit(&mut Client::new(bank.address), "alice", 1, "first").answer();
    let thief = rusqlite::Connection::open(&file).unwrap();
    thief.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let body = |number| json!({ "cents": 1, "request_id": format!("a-{number}") }).to_string();
    let connections: Vec<_> = (0..REQUESTS)
        .map(|number| {
            let mut connection = connect(bank.address).unwrap();
            connection.write_all(post("/accounts/alice/deposit", &body(number)).as_bytes()).unwrap();
            BufReader::new(connection)
        })
        .collect();
    let mut responses =
        connections.into_iter().map(|mut connection| Response::read(&mut connection).unwrap());
    let full =
        responses.by_ref().find(|response| response.body.contains("full")).expect("no mailbox was full");
    assert!(full.header("retry-after").is_some() && full.status == 503, "{full:?}");
    thief.execute_batch("ROLLBACK").unwrap();
    for response in responses {
        assert!(matches!(response.status, 200 | 503), "{response:?}");
    }

    let mut client = Client::new(bank.address);
    for number in 0..REQUESTS {
        while client.post("/accounts/alice/deposit", &body(number)).unwrap().status == 503 {}
    }
    let balance = client.get("/accounts/alice").unwrap().answer();
    assert_eq!(balance, answer("alice", REQUESTS + 1, REQUESTS + 1));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_503_and_the_bank_goes_on_when_there_is_room() {
    let (bank, _folder, _) = open();
    let mut client = Client::new(bank.address);
    bank.limit_files("300000");
    let mut number = 0;
    let refused = loop {
        let response = deposit(&mut client, "alice", 1, &format!("a-{number}"));
        if response.status != 200 {
            break response;
        }
        number += 1;
    };
    assert!(refused.header("retry-after").is_some());
    let reason = refused.error(503);
    assert!(reason.contains("make room"), "{reason}");
    bank.limit_files("unlimited");
    while deposit(&mut client, "alice", 1, &format!("a-{number}")).status == 503 {}
    let all = client.get("/accounts/alice").unwrap().answer();
    assert_eq!(all, answer("alice", number + 1, number + 1));
}

#[test]
fn log_lines_are_json_when_asked() {
    let (_folder, file) = new_file();
    let bank = Bank::spawn_with(&file, &["--journal", &url(&file), "--log", "json"]).listening();
    deposit(&mut Client::new(bank.address), "alice", 500, "a-1").answer();
    bank.terminate();
    bank.stops();
    let log = std::fs::read_to_string(file.with_extension("log")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        lines.iter().any(|line| line["fields"]["message"] == "shut down" && line["level"] == "INFO"),
        "{log}"
    );
}

#[test]
fn a_bad_flag_exits_with_2_and_shows_the_way() {
    let output = bank_ends(&["--jurnal", "sqlite://bank.db"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--journal"));
    let help = bank_ends(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("sqlite://bank.db") && help.contains("127.0.0.1:8080") && help.contains("Example"));
}

#[test]
fn a_journal_that_cannot_be_used_exits_with_1_and_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let foreign = folder.path().join("letter.db");
    std::fs::write(&foreign, "Dear Sir or Madam, this is no database. ".repeat(50)).unwrap();
    for journal in
        [url(&folder.path().join("nowhere/bank.db")), url(&foreign), "bank.db".into(), "mysql://x".into()]
    {
        let output = bank_ends(&["--listen", "127.0.0.1:0", "--journal", &journal]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{journal}: {error}");
        assert!(error.contains("error: ") && error.contains("--journal"), "{journal}: {error}");
        assert!(!error.contains("panicked"), "{journal}: {error}");
    }
}

#[test]
fn an_address_in_use_exits_with_1_and_a_remedy() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let journal = url(&folder.path().join("bank.db"));
    let output = bank_ends(&["--listen", &taken.local_addr().unwrap().to_string(), "--journal", &journal]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("choose another address with --listen"));
}

/// A bank on a new file.
fn open() -> (Bank, TempDir, PathBuf) {
    let (folder, file) = new_file();
    (Bank::start(&file), folder, file)
}

fn new_file() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bank.db");
    (folder, file)
}

/// Runs the bank with flags that make it end by itself.
fn bank_ends(flags: &[&str]) -> Output {
    let mut bank = Command::new(example("bank"));
    let mut bank = bank.args(flags).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stdout = BufReader::new(bank.stdout.take().unwrap()).lines().map_while(Result::ok);
    let stdout: Vec<_> = stdout
        .inspect(|line| {
            if line.starts_with("listening") {
                bank.kill().unwrap();
                panic!("the bank started with {flags:?}");
            }
        })
        .collect();
    let output = bank.wait_with_output().unwrap();
    Output { stdout: stdout.join("\n").into_bytes(), ..output }
}

fn answer(id: &str, cents: u64, seq_nr: u64) -> Answer {
    Answer { id: id.into(), cents, seq_nr }
}

fn deposit(client: &mut Client, id: &str, cents: u64, request_id: &str) -> Response {
    change(client, id, "deposit", cents, request_id)
}

fn withdraw(client: &mut Client, id: &str, cents: u64, request_id: &str) -> Response {
    change(client, id, "withdraw", cents, request_id)
}

fn change(client: &mut Client, id: &str, action: &str, cents: u64, request_id: &str) -> Response {
    let body = json!({ "cents": cents, "request_id": request_id }).to_string();
    client.post(&format!("/accounts/{id}/{action}"), &body).unwrap_or_else(|error| match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => panic!("the bank does not answer"),
        _ => panic!("the bank broke off: {error}"),
    })
}
