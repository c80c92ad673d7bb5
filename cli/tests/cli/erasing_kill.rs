//! `annals keys erase`, killed at random points, while an application that has everything in memory writes as fast as it can.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use annals::actors::{Failure, RecoveryError};
use annals::journal::encryption::{
    DataKeyOptions, DataKeys, KeySource, RingKeys, SealedJournal, SealedOptions,
};
use annals::journal::{
    Epoch, Journal as _, JournalError, JournalExt as _, Offset, PageItem, RecordKey, ReplayRange, Replayed,
    SliceRange, Token,
};
use annals::prelude::*;
use futures::TryStreamExt as _;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::bank::{Account, Book, node_behind};
use crate::program::{annals, command};

const NAME: &str =
    "erasing_kill::after_kills_of_erasures_and_owners_nothing_is_unreadable_but_what_was_erased";
const DIRECTORY: &str = "ANNALS_ERASING_KILL_DIRECTORY";
/// A file that is written anew is locked for a while, and machines can be slow.
const JOURNAL: &str = "sqlite://bank.db?busy_timeout_ms=60000";
/// The last two belong to a scope.
const ACCOUNTS: [&str; 6] = ["0", "1", "2", "3", "t7-4", "t7-5"];
const PATIENCE: Duration = Duration::from_secs(180);

#[test]
fn after_kills_of_erasures_and_owners_nothing_is_unreadable_but_what_was_erased() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return write_for_ever(&PathBuf::from(directory));
    }
    let seed = number("ANNALS_SEED").unwrap_or_else(rand::random);
    println!("seed {seed}");
    let budget = Duration::from_secs(number("ANNALS_TIME_BUDGET_SECS").unwrap_or(0));
    let (mut dice, begin) = (StdRng::seed_from_u64(seed), Instant::now());
    let (mut journals, mut kills) = (0, 0);
    while journals < 1 || begin.elapsed() < budget {
        journals += 1;
        kills += Story::new(format!("seed {seed}, journal {journals}")).tell(&mut dice);
    }
    println!("{journals} journals, {kills} kills");
}

struct Story {
    home: tempfile::TempDir,
    place: String,
    writer: Writer,
    accounts: BTreeMap<String, Known>,
    kills: usize,
}

/// What is known of an account.
#[derive(Debug, Default)]
struct Known {
    /// Bookings that were answered, in this life.
    answered: u64,
    /// Somebody has begun to erase it.
    may_be_erased: bool,
    /// Its owner was told.
    told: bool,
    /// A new life may begin.
    allowed: bool,
    /// It has begun.
    lives_again: bool,
}

impl Story {
    fn new(place: String) -> Self {
        let home = tempfile::tempdir().unwrap();
        annals(home.path(), &["keys", "generate", "ring.json"]).exits(0);
        let writer = Writer::start(home.path());
        let accounts = ACCOUNTS.map(|account| (account.to_owned(), Known::default())).into();
        Self { home, place, writer, accounts, kills: 0 }
    }

    fn tell(mut self, dice: &mut StdRng) -> usize {
        // Every owner has keys, snapshots and heads in memory.
        self.wait("bookings of every account", |accounts| {
            accounts.values().all(|known| known.answered >= 40)
        });
        // How long an erasure takes that nobody kills.
        let mut whole = Duration::from_millis(300);
        for victim in 0..2 {
            let victim = victim.to_string();
            let id = format!("account|{victim}");
            self.erase(&[&victim], &id, &[&id], &mut whole, dice);
            if dice.random_bool(0.5) {
                self.allow(&[&victim], &[&id]);
            }
        }
        // All that belongs to a scope; what is left of its key is what opens theirs.
        let (victims, scope) = (&ACCOUNTS[4..], ["--scope", "t7"]);
        self.erase(victims, "t7", &scope, &mut whole, dice);
        if dice.random_bool(0.5) {
            self.allow(victims, &scope);
        }
        self.kill_writer();
        self.check();
        self.kills
    }

    /// Erases these accounts, as these arguments say; `key` is the record of the key that opens what they have.
    fn erase(&mut self, victims: &[&str], key: &str, what: &[&str], whole: &mut Duration, dice: &mut StdRng) {
        let wrapped = self.wrapped(key);
        for victim in victims {
            self.known(victim).may_be_erased = true;
        }
        let args = ["--journal", JOURNAL, "--log", "erased.jsonl", "--apply"];
        let args = [&["keys", "erase"], what, &args].concat();
        for _ in 0..dice.random_range(1..4) {
            let mut erasing = command(self.home.path(), &args);
            let mut erasing = erasing.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(whole.mul_f64(dice.random_range(0.0..1.1)));
            // It may have ended.
            drop(erasing.kill());
            erasing.wait().unwrap();
            self.kills += 1;
            if dice.random_bool(0.3) {
                self.kill_writer();
                self.writer = Writer::start(self.home.path());
            }
        }
        let begin = Instant::now();
        annals(self.home.path(), &args).exits(0);
        *whole = begin.elapsed();
        for name in ["bank.db", "bank.db-wal", "bank.db-journal"] {
            let file = fs::read(self.home.path().join(name)).unwrap_or_default();
            let left = file.windows(wrapped.len()).any(|bytes| bytes == wrapped);
            assert!(!left, "{}: the wrapped key of {key} is in {name}", self.place);
        }
        self.wait("the owners to be told", |accounts| victims.iter().all(|victim| accounts[*victim].told));
        // The others go on.
        let before: Vec<u64> = self.accounts.values().map(|known| known.answered).collect();
        self.wait("bookings of the others", |accounts| {
            accounts.values().zip(&before).all(|(known, before)| known.told || known.answered > *before)
        });
    }

    fn allow(&mut self, victims: &[&str], what: &[&str]) {
        for victim in victims {
            self.known(victim).allowed = true;
        }
        let args = [&["keys", "allow"], what, &["--journal", JOURNAL]].concat();
        annals(self.home.path(), &args).exits(0);
        self.wait("a new life", |accounts| {
            victims.iter().all(|victim| accounts[*victim].lives_again && accounts[*victim].answered > 3)
        });
    }

    fn kill_writer(&mut self) {
        self.writer.kill();
        self.kills += 1;
        while let Ok(line) = self.writer.lines.recv() {
            self.note(&line);
        }
    }

    fn known(&mut self, account: &str) -> &mut Known {
        self.accounts.get_mut(account).unwrap()
    }

    fn wait(&mut self, what: &str, until: impl Fn(&BTreeMap<String, Known>) -> bool) {
        let begin = Instant::now();
        while !until(&self.accounts) {
            assert!(begin.elapsed() < PATIENCE, "{}: waited for {what}: {:?}", self.place, self.accounts);
            match self.writer.lines.recv_timeout(PATIENCE) {
                Ok(line) => self.note(&line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("{}: the writer has ended by itself", self.place)
                }
            }
        }
    }

    /// `ok <account> <cents>`, `erased <account>`; the end of a killed writer's last line may be missing.
    fn note(&mut self, line: &str) {
        let place = self.place.clone();
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            [.., "ok", account, cents, "."] => {
                let (known, cents): (_, u64) = (self.known(account), cents.parse().unwrap());
                if known.told {
                    assert!(known.allowed, "{place}: account {account} went on after it was erased");
                    assert!(
                        cents < 20,
                        "{place}: account {account} lives again with {cents} of its old life"
                    );
                    *known = Known { lives_again: true, ..Known::default() };
                }
                assert!(
                    cents > known.answered,
                    "{place}: account {account} fell from {} to {cents}",
                    known.answered
                );
                known.answered = cents;
            }
            [.., "erased", account, "."] => {
                let known = self.known(account);
                assert!(known.may_be_erased, "{place}: account {account} was not erased");
                known.told = true;
            }
            [.., "wrong", _, "."] => panic!("{place}: {line}"),
            _ => {}
        }
    }

    /// The wrapped key that stands at the end of an id's key record.
    fn wrapped(&self, id: &str) -> Vec<u8> {
        let url = format!("sqlite://{}", self.home.path().join("bank.db").display());
        runtime().block_on(async {
            let opened = annals::journal::open(&url).await.unwrap();
            let key = RecordKey::new(&format!("encryption/key/{id}")).unwrap();
            let value = opened.records.get(&key).await.unwrap().unwrap().value;
            opened.database.unwrap().close().await;
            value[value.len() - 60..].to_vec()
        })
    }

    /// A process that has nothing in memory reads everything, in each way.
    fn check(&self) {
        let (here, place) = (self.home.path(), &self.place);
        runtime().block_on(async {
            let url = format!("sqlite://{}", here.join("bank.db").display());
            let opened = annals::journal::open(&url).await.unwrap();
            let ring = KeySource::File(here.join("ring.json"));
            let masters = std::sync::Arc::new(RingKeys::open(&[ring], &*opened.records).await.unwrap());
            let keys =
                DataKeys::open(opened.records.clone(), masters, DataKeyOptions::default()).await.unwrap();
            let sealed = SealedJournal::open(opened.journal.clone(), keys.clone(), SealedOptions::default());
            let journal = sealed.await.unwrap();
            let mut told = BTreeMap::new();
            for (account, known) in &self.accounts {
                let id: PersistenceId = format!("account|{account}").parse().unwrap();
                let head = journal.head(&id).await.unwrap();
                let items: Vec<_> = journal.replay(ReplayRange::all(&id)).try_collect().await.unwrap();
                let claimed = journal.claim(&id, Token::new(Epoch(head.token.epoch.0 + 1), 1)).await;
                let erased = match items.first() {
                    Some(Replayed::Erased { from, to }) => {
                        assert_eq!((from.get(), *to), (1, head.erased_to), "{place}: {id}");
                        told.insert(id.clone(), *to);
                        1
                    }
                    _ => 0,
                };
                let events = items[erased..].iter().filter(|item| matches!(item, Replayed::Event(_))).count();
                assert_eq!(erased + events, items.len(), "{place}: {id}: {items:?}");
                assert_eq!(events as u64, head.seq_nr.get() - head.erased_to.get(), "{place}: {id}");
                let is_erased = matches!(claimed, Err(JournalError::Erased { .. }));
                assert_eq!(is_erased, known.told, "{place}: {id}: {claimed:?}, {known:?}");
                assert_eq!(erased == 1, known.told || known.lives_again, "{place}: {id}: {known:?}");
                if is_erased {
                    assert_eq!(events, 0, "{place}: {id}");
                } else {
                    assert!(events as u64 >= known.answered, "{place}: {id}: {events} events, {known:?}");
                }
            }
            let mut after = Offset::BEGINNING;
            loop {
                let page = journal.events_by_slice(SliceRange::ALL, after, 1_000).await.unwrap();
                for item in &page.items {
                    if let PageItem::Erased { persistence_id, to, .. } = item {
                        assert_eq!(told.remove(persistence_id), Some(*to), "{place}: {persistence_id}");
                    }
                }
                after = page.complete_to;
                if page.items.len() < 1_000 {
                    break;
                }
            }
            assert!(told.is_empty(), "{place}: a reader of all slices was not told of {told:?}");
            keys.close().await;
            opened.database.unwrap().close().await;
        });
        // The log says so as well, and leaves new lives as they are.
        let again =
            ["keys", "erase", "--from-log", "erased.jsonl", "--journal", JOURNAL, "--apply", "--json"];
        let lines = annals(here, &again).exits(0).json();
        let totals = &lines.last().unwrap()["totals"];
        assert_eq!((&totals["erased"], &totals["refused"]), (&0.into(), &0.into()), "{place}: {lines:?}");
    }
}

/// An application that books as fast as it can, and says what it was answered.
struct Writer {
    process: Child,
    lines: Receiver<String>,
}

impl Writer {
    fn start(directory: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([NAME, "--exact", "--nocapture"])
            .env(DIRECTORY, directory)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (out, (sender, lines)) = (process.stdout.take().unwrap(), channel());
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { process, lines }
    }

    fn kill(&mut self) {
        // Nothing but a kill ends it.
        assert!(self.process.try_wait().unwrap().is_none(), "the writer has ended by itself");
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// The child: ends only when it is killed, or when something is wrong.
fn write_for_ever(directory: &Path) {
    runtime().block_on(async {
        let kind = Kind::new().snapshots(SnapshotPolicy::every_events(16));
        let file = JOURNAL.strip_prefix("sqlite://").unwrap();
        let (node, _database) = node_behind(directory, file, kind, Some("ring.json")).await;
        let owners = ACCOUNTS.into_iter().map(|account| {
            let owner = node.entity::<Account>(account);
            tokio::spawn(async move {
                loop {
                    let (said, pause) = match owner.ask(Book { cents: 1, with: "bob".into() }).await {
                        Ok(cents) => (format!("ok {account} {cents} ."), Duration::ZERO),
                        Err(AskError::Failed(Failure::Erased { retry_after, .. })) => {
                            (format!("erased {account} ."), retry_after.min(Duration::from_millis(200)))
                        }
                        Err(AskError::Failed(failure)) if failure.is_transient() => {
                            (String::new(), Duration::ZERO)
                        }
                        // A file that is written anew while the machine is busy may be silent for long.
                        Err(AskError::Failed(Failure::RecoveryFailed {
                            reason: RecoveryError::TimedOut,
                            ..
                        })) => (String::new(), Duration::ZERO),
                        Err(AskError::Unknown(_)) => (String::new(), Duration::ZERO),
                        Err(error) => {
                            (format!("wrong {} .", format!("{error:?}").replace(' ', "_")), Duration::ZERO)
                        }
                    };
                    say(&said);
                    if !pause.is_zero() {
                        tokio::time::sleep(pause).await;
                    }
                }
            })
        });
        futures::future::join_all(owners.collect::<Vec<_>>()).await;
    });
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
