use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use annals_journal::encryption::{DataKeyOptions, DataKeys, Seal};
use annals_journal::{JournalUrl, KeyId, PersistenceId, SeqNr};

use crate::{ring_keys, runtime};

const DIRECTORY: &str = "ANNALS_ROTATION_KILL_DIRECTORY";
const FIRST: &str = "ANNALS_ROTATION_KILL_FIRST";
const BATCH: u64 = 20;
const TEXT: [u8; 8] = *b"readable";

/// A process that makes data keys as fast as it can, and says what it made.
pub(crate) struct Writer {
    process: Child,
    lines: Receiver<String>,
}

impl Writer {
    pub(crate) fn start(directory: &Path, test: &str, first: u64) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture"])
            .env(DIRECTORY, directory)
            .env(FIRST, first.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (out, (sender, lines)) = (process.stdout.take().unwrap(), channel());
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines() {
                // The last line of a killed process may be a part of one.
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { process, lines }
    }

    /// Waits until this many keys were made in all.
    pub(crate) fn wait_for(&mut self, count: u64, made: &mut Made) {
        while made.count() < count {
            match self.lines.recv_timeout(Duration::from_secs(120)) {
                Ok(line) => made.note(&line),
                Err(RecvTimeoutError::Timeout) => panic!("no key was made for two minutes"),
                Err(RecvTimeoutError::Disconnected) => panic!("the writer has ended"),
            }
        }
    }

    /// Takes note of what it said until now.
    pub(crate) fn note(&mut self, made: &mut Made) {
        while let Ok(line) = self.lines.try_recv() {
            made.note(&line);
        }
    }

    pub(crate) fn kill(mut self, made: &mut Made) {
        // Nothing but a kill ends it.
        assert!(self.process.try_wait().unwrap().is_none(), "the writer has ended by itself");
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        while let Ok(line) = self.lines.recv() {
            made.note(&line);
        }
    }
}

/// What writers said that they made: the number of each key, and what it sealed.
#[derive(Default)]
pub(crate) struct Made(Vec<(u64, Seal, [u8; 8])>);

impl Made {
    /// The first number that no writer has said.
    pub(crate) fn count(&self) -> u64 {
        self.0.last().map_or(0, |(number, ..)| number + 1)
    }

    /// `made <number> <nonce> <tag> <sealed>` in hex; the end of a killed writer's last line may be missing.
    fn note(&mut self, line: &str) {
        let Some(said) = line.split_once("made ").map(|(_, said)| said) else { return };
        let words: Vec<&str> = said.split(' ').collect();
        let [number, nonce, tag, sealed] = words[..] else { return };
        let (Some(nonce), Some(tag), Some(sealed)) = (bytes(nonce), bytes(tag), bytes(sealed)) else {
            return;
        };
        self.0.push((number.parse().unwrap(), Seal { nonce, tag }, sealed));
    }

    /// Every key is there, and is the one that sealed.
    pub(crate) async fn all_open(&self, keys: &DataKeys, place: &str) {
        for some in self.0.chunks(500) {
            let ids: Vec<_> = some.iter().map(|(number, ..)| id(*number)).collect();
            let wanted: Vec<_> = ids.iter().map(|id| (id, KeyId(1))).collect();
            for (key, (number, seal, sealed)) in keys.to_open(&wanted).await.into_iter().zip(some) {
                let key = key.unwrap_or_else(|error| panic!("{place}: key {number}: {error}"));
                let mut text = *sealed;
                key.open(seal, b"", &mut text)
                    .unwrap_or_else(|error| panic!("{place}: key {number}: {error}"));
                assert_eq!(text, TEXT, "{place}: key {number}");
            }
        }
    }
}

fn bytes<const N: usize>(hex: &str) -> Option<[u8; N]> {
    let bytes: Option<Vec<u8>> =
        (0..hex.len() / 2).map(|n| u8::from_str_radix(hex.get(2 * n..2 * n + 2)?, 16).ok()).collect();
    bytes?.try_into().ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn id(number: u64) -> PersistenceId {
    PersistenceId::new("account", &number.to_string()).unwrap()
}

pub(crate) fn is_child() -> bool {
    std::env::var_os(DIRECTORY).is_some()
}

/// The child: ends only when it is killed, or when something is wrong.
pub(crate) fn make_for_ever() {
    let directory = std::path::PathBuf::from(std::env::var_os(DIRECTORY).unwrap());
    let mut next: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    runtime().block_on(async {
        let url: JournalUrl = format!("sqlite://{}", directory.join("bank.db").display()).parse().unwrap();
        let records = url.open().await.unwrap().records;
        let masters = std::sync::Arc::new(ring_keys(&directory, &*records).await);
        let options = DataKeyOptions {
            lease: Duration::from_secs(3),
            watch: Duration::from_millis(20),
            ..DataKeyOptions::default()
        };
        let keys = DataKeys::open(records, masters, options).await.unwrap();
        keys.chain_key().await.unwrap();
        loop {
            let ids: Vec<_> = (next..next + BATCH).map(id).collect();
            let wanted: Vec<_> = ids.iter().map(|id| (id, SeqNr::FIRST)).collect();
            let made = keys.to_seal(&wanted).await;
            let mut out = std::io::stdout().lock();
            for (n, key) in (next..).zip(made) {
                let mut text = TEXT;
                let seal = key.unwrap().seal(b"", &mut text).unwrap();
                writeln!(out, "made {n} {} {} {}", hex(&seal.nonce), hex(&seal.tag), hex(&text)).unwrap();
            }
            out.flush().unwrap();
            next += BATCH;
        }
    });
}
