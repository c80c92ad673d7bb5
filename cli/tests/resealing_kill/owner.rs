use std::collections::BTreeMap;
use std::env;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use annals::prelude::*;

use crate::account::{Account, Count};
use crate::runtime;

const DIRECTORY: &str = "ANNALS_RESEALING_KILL_DIRECTORY";
const KEYED: &str = "ANNALS_RESEALING_KILL_KEYED";
const ACCOUNTS: usize = 3;
/// Those that only an owner without keys has.
const LEFT: usize = 2;

/// A process whose accounts count as fast as they can, and which says what was answered.
pub(crate) struct Owner {
    process: Child,
    lines: Receiver<String>,
    log: PathBuf,
}

/// The highest number that was answered for each id.
#[derive(Debug, Default)]
pub(crate) struct Answered(pub(crate) BTreeMap<String, u64>);

impl Answered {
    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// `counted <id> <number>`; the end of a killed owner's last line may be missing, and its number with it.
    fn note(&mut self, line: &str) {
        let Some((_, said)) = line.split_once("counted ") else { return };
        let words: Vec<_> = said.split(' ').collect();
        if let [id, number, "."] = words[..] {
            let highest = self.0.entry(id.to_owned()).or_default();
            *highest = (*highest).max(number.parse().unwrap());
        }
    }
}

impl Owner {
    pub(crate) fn start(directory: &Path, test: &str, keyed: bool) -> Self {
        let log = directory.join("owner.log");
        let file = File::options().append(true).create(true).open(&log).unwrap();
        let mut process = Command::new(env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture"])
            .env(DIRECTORY, directory)
            .env(KEYED, keyed.to_string())
            .stdout(Stdio::piped())
            .stderr(file)
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
        Self { process, lines, log }
    }

    /// Waits until so much more was answered.
    pub(crate) fn goes_on(&mut self, more: u64, answered: &mut Answered, place: &str) {
        let wanted = answered.total() + more;
        while answered.total() < wanted {
            match self.lines.recv_timeout(Duration::from_secs(120)) {
                Ok(line) => answered.note(&line),
                Err(RecvTimeoutError::Timeout) => {
                    panic!("{place}: nothing was answered for two minutes\n{}", self.log())
                }
                Err(RecvTimeoutError::Disconnected) => panic!("{place}: the owner has ended\n{}", self.log()),
            }
        }
    }

    /// Takes note of what it said until now.
    pub(crate) fn note(&mut self, answered: &mut Answered) {
        while let Ok(line) = self.lines.try_recv() {
            answered.note(&line);
        }
    }

    pub(crate) fn kill(mut self, answered: &mut Answered, place: &str) {
        // Nothing but a kill ends it.
        let ended = self.process.try_wait().unwrap();
        assert!(ended.is_none(), "{place}: the owner has ended by itself\n{}", self.log());
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        while let Ok(line) = self.lines.recv() {
            answered.note(&line);
        }
    }

    pub(crate) fn log(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let from = log.len().saturating_sub(4_000);
        log.get(from..).unwrap_or(&log).to_owned()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // A test that fails leaves nobody behind.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

pub(crate) fn is_child() -> bool {
    env::var_os(DIRECTORY).is_some()
}

/// The child: ends only when it is killed, or when something is wrong.
pub(crate) fn count_for_ever() {
    let directory = PathBuf::from(env::var_os(DIRECTORY).unwrap());
    let keyed = env::var(KEYED).unwrap() == "true";
    runtime().block_on(async {
        let url = format!("sqlite://{}?busy_timeout_ms=60000", directory.join("bank.db").display());
        let mut builder =
            Annals::builder("bank").journal(url).kind(Account::<false>::kind()).kind(Account::<true>::kind());
        if keyed {
            builder = builder.keys(format!("file:{}", directory.join("ring.json").display()));
        }
        let node = builder.start().await.unwrap();
        let accounts = if keyed { ACCOUNTS } else { ACCOUNTS + LEFT };
        let counting = (0..accounts).flat_map(|number| {
            let (kept, pruned) = (node.clone(), node.clone());
            [
                tokio::spawn(async move { count::<false>(&kept, number).await }),
                tokio::spawn(async move { count::<true>(&pruned, number).await }),
            ]
        });
        for task in counting.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    });
}

async fn count<const PRUNED: bool>(node: &Node, account: usize) {
    let entity = node.entity::<Account<PRUNED>>(&account.to_string());
    let mut next = 0;
    loop {
        match entity.ask(Count(next)).await {
            Ok(last) => {
                let mut out = std::io::stdout().lock();
                let kind = Account::<PRUNED>::KIND;
                writeln!(out, "counted {kind}|{account} {last} .").unwrap();
                next = last + 1;
            }
            Err(error) => {
                // It was taken over, or the file is locked: whether it was counted is seen next time.
                eprintln!("{}|{account} {next}: {error}", Account::<PRUNED>::KIND);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
}
