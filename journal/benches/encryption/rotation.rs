//! How fast a rotation is, beside the same work done by hand, on a SQLite file with an fsync a commit.
//!
//! - `rotation`: `DataKeys::rotate`, from a ring with a new key to its summary; in a process of its own, so that its memory is seen.
//! - the limit: one loop over a copy of the file, with the same pragmas: reads 1,000 rows, opens and wraps each key, updates them in one
//!   transaction. On one thread, with no guard, no check of revisions and nothing beside it.

use std::path::Path;
use std::process::Command;
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

use crate::re_encrypting::re_encrypt;
use crate::table::Row;

/// Rotations of more and more data keys.
pub(crate) fn rows(quick: bool) -> Vec<Row> {
    let sizes: &[(usize, &str)] =
        if quick { &[(2_000, "2k")] } else { &[(10_000, "10k"), (100_000, "100k"), (1_000_000, "1M")] };
    let runs = if quick { 1 } else { 3 };
    let mut rows: Vec<Row> = Vec::new();
    let mut smallest = None;
    for (count, size) in sizes {
        let base = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let (file, rings) = (base.path().join("keys.db"), base.path().join("rings.json"));
        let mut ring = Ring::generate().unwrap();
        fill(&file, &ring, *count);
        let added = ring.add().unwrap();
        ring.activate(added);
        std::fs::write(&rings, ring.to_json().as_bytes()).unwrap();
        let (mut values, mut limits, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..runs {
            let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            let (ours, raw) = (home.path().join("keys.db"), home.path().join("copy.db"));
            std::fs::copy(&file, &ours).unwrap();
            std::fs::copy(&file, &raw).unwrap();
            let (took, peak) = in_a_process(&ours, &rings, *count);
            let of = |took: Duration| *count as f64 / took.as_secs_f64();
            values.push(of(took));
            peaks.push(peak);
            limits.push(of(by_hand(&raw, &ring, *count)));
            eprintln!(
                "  … rotation {size}: {:.0} and by hand {:.0} keys/s",
                values[values.len() - 1],
                limits[limits.len() - 1]
            );
        }
        let row = Row::of(format!("rotation {size}"), "keys/s", &values).unwrap();
        rows.push(row.beside(&values, &limits).at_least(0.5));
        let first: &Vec<f64> = smallest.get_or_insert_with(|| values.clone());
        let flat = Row::of(format!("rotation {size} speed"), "keys/s", &values).unwrap();
        rows.push(flat.beside(&values, first));
        rows.push(Row::of(format!("rotation {size} memory"), "MiB", &peaks).unwrap().at_most(None));
        if *count == sizes[0].0 {
            let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            let took = re_encrypt(&home.path().join("events.db"), *count).as_secs_f64();
            let times: Vec<f64> = values.iter().map(|value| took * value / *count as f64).collect();
            rows.push(Row::of("rotation / re-encrypting", "times", &times).unwrap().at_least(10.0));
        }
    }
    rows
}

/// The same rotation in a child: how long it took, and the most memory that it had, in MiB.
fn in_a_process(file: &Path, rings: &Path, count: usize) -> (Duration, f64) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args([Path::new("rotate"), file, rings, Path::new(&count.to_string())])
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    let said = String::from_utf8(child.stdout).unwrap();
    let (nanos, mib) = said.trim().split_once(' ').unwrap();
    (Duration::from_nanos(nanos.parse().unwrap()), mib.parse().unwrap())
}

/// What the child does.
pub(crate) fn role(file: &Path, rings: &Path, count: usize) {
    let ring = Ring::parse(&std::fs::read_to_string(rings).unwrap()).unwrap();
    let took = rotate(file, &ring, count);
    println!("{} {}", took.as_nanos(), peak_mib());
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

pub(crate) fn connection(file: &Path) -> Connection {
    let file = Connection::open(file).unwrap();
    // As the journal's writer.
    let pragmas = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000; PRAGMA cache_size = -4096";
    file.execute_batch(pragmas).unwrap();
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

/// The most memory that the process had, in MiB; 0 where the system does not say.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}
