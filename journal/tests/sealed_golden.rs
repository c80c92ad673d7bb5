//! Histories that earlier builds sealed: they are opened for ever, whatever cipher this build has.
//!
//! `golden/sealed_v1.txt` has the records, the events as they are stored and the marks, a line each, in hexadecimal digits. Never change it;
//! a new format gets a file of its own.
#![cfg(feature = "encryption")]
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "support/sealed.rs"]
mod behind_keys;
mod support;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use annals_journal::{
    AtomicWrite, Codec, Envelope, Journal, JournalExt, Mark, MarkChange, MemoryJournal, PersistenceId,
    RecordKey, Records, ReplayRange, Replayed, Tag, TraceContext, Write,
};
use behind_keys::sealed;
use bytes::Bytes;
use futures::TryStreamExt;
use support::{append, event, id, nr, token};

/// What the file's histories say: the first has an event that was rewritten and one that was deleted, the second begins in the clear.
fn meant() -> [(PersistenceId, Vec<Envelope>); 2] {
    let full = |number| Envelope {
        codec: Codec::Custom(70),
        tags: vec![Tag::new("vip").unwrap(), Tag::new("größe").unwrap()],
        trace_context: TraceContext::new("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        payload: Bytes::from((0..=255).collect::<Vec<u8>>()),
        ..event(&id("alice"), number, token(1, 1))
    };
    let rewritten = Envelope { payload: Bytes::from_static(b"rewritten"), ..full(3) };
    let empty = Envelope { payload: Bytes::new(), ..full(4) };
    let bob = (1..=3).map(|number| event(&id("bob"), number, token(1, 1))).collect();
    [(id("alice"), vec![full(2), rewritten, empty]), (id("bob"), bob)]
}

#[tokio::test]
async fn what_was_sealed_once_is_opened() {
    let memory = Arc::new(MemoryJournal::new());
    for line in std::fs::read_to_string(path()).unwrap().lines() {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["record", key, value] => {
                let key = RecordKey::new(key).unwrap();
                drop(memory.compare_and_set(&key, None, unhex(value)).await.unwrap());
            }
            ["event", stored] => {
                let event = Envelope::decode(&unhex(stored)).unwrap();
                let (persistence_id, token) = (event.persistence_id.clone(), event.token);
                let expected = event.seq_nr.previous();
                let write = AtomicWrite { persistence_id, expected, token, events: vec![event], mark: None };
                memory.append(write).await.unwrap();
            }
            ["mark", id, mark] => {
                let persistence_id = PersistenceId::parse(id).unwrap();
                let to = Mark::from_bytes(unhex(mark).as_ref().try_into().unwrap());
                let change = MarkChange { from: None, to };
                memory.write_one(Write::Mark { persistence_id, token: token(1, 1), change }).await.unwrap();
            }
            _ => panic!("{line}"),
        }
    }
    memory.delete_to(&id("alice"), nr(1)).await.unwrap();
    let journal = sealed(memory.clone(), memory).await;
    for (id, events) in meant() {
        let first = events[0].seq_nr;
        let items: Vec<_> = journal.replay(ReplayRange::all(&id)).try_collect().await.unwrap();
        let read = items.into_iter().filter_map(|item| match item {
            Replayed::Event(event) => Some(event.envelope),
            _ => None,
        });
        assert_eq!(read.collect::<Vec<_>>(), events, "{id} from {first}");
        // It goes on.
        let head = journal.claim(&id, token(2, 1)).await.unwrap().seq_nr;
        journal.append(append(&id, token(2, 1), head.get(), 1)).await.unwrap();
    }
}

#[tokio::test]
#[ignore = "writes the file of a new format"]
async fn write_the_golden_file() {
    let memory = Arc::new(MemoryJournal::new());
    let [(alice, sealed_events), (bob, bobs)] = meant();
    memory
        .append(AtomicWrite { events: bobs[..1].to_vec(), ..append(&bob, token(1, 1), 0, 0) })
        .await
        .unwrap();
    let journal = sealed(memory.clone(), memory.clone()).await;
    journal
        .append(AtomicWrite { events: bobs[1..].to_vec(), ..append(&bob, token(1, 1), 1, 0) })
        .await
        .unwrap();
    let before = Envelope { payload: Bytes::from_static(b"written first"), ..sealed_events[1].clone() };
    let events =
        vec![event(&alice, 1, token(1, 1)), sealed_events[0].clone(), before, sealed_events[2].clone()];
    journal.append(AtomicWrite { events, ..append(&alice, token(1, 1), 0, 0) }).await.unwrap();
    let range = ReplayRange::all(&alice).from(nr(3)).limit(1);
    let Some(Replayed::Event(old)) = journal.replay(range).try_next().await.unwrap() else {
        panic!("event 3")
    };
    assert!(journal.replace(&old, sealed_events[1].clone()).await.unwrap());

    let mut text = String::new();
    let mut events = Vec::new();
    for id in [&alice, &bob] {
        let items: Vec<_> = memory.replay(ReplayRange::all(id)).try_collect().await.unwrap();
        for item in items {
            let Replayed::Event(event) = item else { panic!("nothing was deleted yet") };
            events.push(event.bytes);
        }
    }
    journal.delete_to(&alice, nr(1)).await.unwrap();
    for (key, record) in memory.list("", None, 100).await.unwrap() {
        writeln!(text, "record {key} {}", hex(&record.value)).unwrap();
    }
    events.iter().for_each(|event| writeln!(text, "event {}", hex(event)).unwrap());
    for id in [&alice, &bob] {
        let mark = memory.head(id).await.unwrap().mark.unwrap();
        writeln!(text, "mark {id} {}", hex(mark.as_bytes())).unwrap();
    }
    std::fs::write(path(), text).unwrap();
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/sealed_v1.txt")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Bytes {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}
