//! How fast a rotation is, beside the same work done by hand: `cargo bench -p annals-journal --bench rotation --features encryption -- [IDS]`.
//!
//! Each line has so many ids, on a SQLite file with an fsync a commit:
//!
//! - `rotation`: `DataKeys::rotate`, from a ring with a new key to its summary.
//! - `by hand`: one loop over a copy of the file: reads 1,000 rows, opens and wraps each key, updates them in one transaction. On one
//!   thread, with no guard, no check of revisions and nothing beside it.
//! - `re-encrypting`: what rotation spares: reads, opens, seals and updates 20 events of 200 bytes for each id, in transactions of 1,000 rows.
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut as _, Aes256Gcm, KeyInit as _};
use annals_journal::encryption::{DataKeyOptions, DataKeys, Ring, RingKeys, RotationOptions};
use annals_journal::sqlite::rusqlite::{Connection, params};
use annals_journal::sqlite::{Options, SqliteJournal};
use annals_journal::{PersistenceId, SeqNr};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

fn main() {
    // `cargo bench` adds its own flag.
    let chosen: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let counts = if chosen.is_empty() { vec![10_000, 100_000, 1_000_000] } else { chosen };
    println!(
        "{:>9}  {:>14}  {:>14}  {:>5}  {:>14}  {:>9}",
        "ids", "rotation", "by hand", "ratio", "re-encrypting", "peak"
    );
    for count in counts {
        let home = tempfile::tempdir().unwrap();
        let (file, copy) = (home.path().join("keys.db"), home.path().join("copy.db"));
        let mut ring = Ring::generate().unwrap();
        fill(&file, &ring, count);
        std::fs::copy(&file, &copy).unwrap();
        let added = ring.add().unwrap();
        ring.activate(added);
        let before = peak_mib();
        let rotation = rotate(&file, &ring, count);
        let peak = peak_mib() - before;
        let by_hand = by_hand(&copy, &ring, count);
        // More than enough to see the difference, and the larger ones only take longer.
        let some = count.min(20_000);
        let events = re_encrypt(&home.path().join("events.db"), some).mul_f64(count as f64 / some as f64);
        println!(
            "{count:>9}  {:>10.0} /s  {:>10.0} /s  {:>5.2}  {:>10.1} x s  {peak:>5} MiB",
            count as f64 / rotation.as_secs_f64(),
            count as f64 / by_hand.as_secs_f64(),
            by_hand.as_secs_f64() / rotation.as_secs_f64(),
            events.as_secs_f64() / rotation.as_secs_f64(),
        );
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

async fn opened(file: &Path, ring: &Ring) -> (SqliteJournal, DataKeys) {
    let journal = SqliteJournal::open(file, Options::default()).await.unwrap();
    let masters = Arc::new(RingKeys::from(ring.clone()));
    let keys = DataKeys::open(Arc::new(journal.clone()), masters, DataKeyOptions::default()).await.unwrap();
    (journal, keys)
}

fn id(n: usize) -> PersistenceId {
    PersistenceId::new("account", &format!("{n:08}")).unwrap()
}

fn fill(file: &Path, ring: &Ring, count: usize) {
    runtime().block_on(async {
        let (journal, keys) = opened(file, ring).await;
        for first in (0..count).step_by(10_000) {
            let ids: Vec<_> = (first..count.min(first + 10_000)).map(id).collect();
            let wanted: Vec<_> = ids.iter().map(|id| (id, SeqNr::FIRST)).collect();
            assert!(keys.to_seal(&wanted).await.iter().all(Result::is_ok));
        }
        keys.close().await;
        drop(keys);
        journal.database().close().await;
    });
}

fn rotate(file: &Path, ring: &Ring, count: usize) -> Duration {
    runtime().block_on(async {
        let (journal, keys) = opened(file, ring).await;
        let begin = Instant::now();
        let summary = keys.rotate(&RotationOptions::default(), |_| ()).await.unwrap();
        let took = begin.elapsed();
        assert_eq!((summary.total.rewrapped, summary.unused.len()), (count as u64, 1));
        keys.close().await;
        journal.database().close().await;
        took
    })
}

fn connection(file: &Path) -> Connection {
    let file = Connection::open(file).unwrap();
    file.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL").unwrap();
    file
}

/// The same rows, without anything that makes it safe. A value ends with the wrapped key: nonce, 32 bytes, tag.
fn by_hand(file: &Path, ring: &Ring, count: usize) -> Duration {
    let json: serde_json::Value = serde_json::from_str(&ring.to_json()).unwrap();
    let cipher = |number: &str| {
        let key: [u8; 32] =
            STANDARD.decode(json["keys"][number].as_str().unwrap()).unwrap().try_into().unwrap();
        Aes256Gcm::new((&key).into())
    };
    let (old, new) = (cipher("1"), cipher("2"));
    let mut file = connection(file);
    let (mut after, mut done, begin) = ("encryption/key/".to_owned(), 0, Instant::now());
    loop {
        let page: Vec<(String, Vec<u8>)> = file
            .prepare_cached("SELECT key, value FROM records WHERE key > ? AND key < 'encryption/key0' ORDER BY key LIMIT 1000")
            .unwrap()
            .query_map([&after], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let Some((last, _)) = page.last() else { break };
        after.clone_from(last);
        done += page.len();
        let transaction = file.transaction().unwrap();
        for (key, mut value) in page {
            let scope = key.strip_prefix("encryption/key/").unwrap();
            let context = |master: u32| {
                let mut context = b"annals key\x01\x01".to_vec();
                context.extend_from_slice(&master.to_be_bytes());
                context.extend_from_slice(&1_u32.to_be_bytes());
                context.extend_from_slice(&1_u64.to_be_bytes());
                context.extend_from_slice(scope.as_bytes());
                context
            };
            let begin = value.len() - 60;
            let wrapped = &mut value[begin..];
            let (nonce, rest) = wrapped.split_first_chunk_mut::<12>().unwrap();
            let (text, tag) = rest.split_last_chunk_mut::<16>().unwrap();
            old.decrypt_inout_detached(
                (&*nonce).into(),
                &context(1),
                InOutBuf::from(&mut *text),
                (&*tag).into(),
            )
            .unwrap();
            *nonce = rand::random();
            *tag = new
                .encrypt_inout_detached((&*nonce).into(), &context(2), InOutBuf::from(text))
                .unwrap()
                .into();
            transaction
                .prepare_cached("UPDATE records SET value = ? WHERE key = ?")
                .unwrap()
                .execute(params![value, key])
                .unwrap();
        }
        transaction.commit().unwrap();
    }
    assert_eq!(done, count);
    begin.elapsed()
}

/// Sealed rows as an event log has them: by id and number.
fn re_encrypt(file: &Path, ids: usize) -> Duration {
    let mut file = connection(file);
    let cipher = Aes256Gcm::new((&[7; 32]).into());
    file.execute_batch("CREATE TABLE events (ordering INTEGER PRIMARY KEY, sealed BLOB)").unwrap();
    let transaction = file.transaction().unwrap();
    for n in 0..ids * 20 {
        let nonce: [u8; 12] = rand::random();
        let mut text = [7_u8; 200];
        let tag = cipher.encrypt_inout_detached((&nonce).into(), b"", InOutBuf::from(&mut text[..])).unwrap();
        let row = [&nonce[..], &text, &tag].concat();
        transaction
            .prepare_cached("INSERT INTO events VALUES (?, ?)")
            .unwrap()
            .execute(params![n as i64, row])
            .unwrap();
    }
    transaction.commit().unwrap();
    let begin = Instant::now();
    let mut after = -1_i64;
    loop {
        let page: Vec<(i64, Vec<u8>)> = file
            .prepare_cached(
                "SELECT ordering, sealed FROM events WHERE ordering > ? ORDER BY ordering LIMIT 1000",
            )
            .unwrap()
            .query_map([after], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let Some((last, _)) = page.last() else { break };
        after = *last;
        let transaction = file.transaction().unwrap();
        for (ordering, mut row) in page {
            let (nonce, rest) = row.split_first_chunk_mut::<12>().unwrap();
            let (text, tag) = rest.split_last_chunk_mut::<16>().unwrap();
            cipher
                .decrypt_inout_detached((&*nonce).into(), b"", InOutBuf::from(&mut *text), (&*tag).into())
                .unwrap();
            *nonce = rand::random();
            *tag = cipher.encrypt_inout_detached((&*nonce).into(), b"", InOutBuf::from(text)).unwrap().into();
            transaction
                .prepare_cached("UPDATE events SET sealed = ? WHERE ordering = ?")
                .unwrap()
                .execute(params![row, ordering])
                .unwrap();
        }
        transaction.commit().unwrap();
    }
    begin.elapsed()
}

/// The most memory that the process had, in MiB; 0 where the system does not say.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}
