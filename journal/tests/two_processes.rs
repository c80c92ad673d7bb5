//! Two processes, not two tasks, on one SQLite file or one PostgreSQL server: one writer at a time (I4), and what was answered survives `kill -9` (I1).
#![cfg(all(feature = "sqlite", feature = "postgres", unix))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod children;
#[path = "support/postgres.rs"]
mod postgres;
mod support;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use annals_journal::sqlite::{Options, SqliteJournal, rusqlite};
use annals_journal::{
    Epoch, GroupCommit, GroupCommitSettings, Journal, JournalError, JournalExt, PersistenceId, Records,
    ReplayRange, Replayed, StoredEvent, Token, next_epoch,
};
use children::{Dice, budget, seed};
use futures::StreamExt;
use support::{append, id, write};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn journal(path: impl AsRef<Path>) -> SqliteJournal {
    SqliteJournal::open(path, Options::default()).await.unwrap()
}

async fn events(journal: &dyn Journal, id: &PersistenceId) -> Vec<StoredEvent> {
    let mut events = Vec::new();
    let mut replay = journal.replay(ReplayRange::all(id));
    while let Some(item) = replay.next().await {
        match item.unwrap() {
            Replayed::Event(event) => events.push(event),
            other => panic!("{other:?}"),
        }
    }
    let numbers = events.iter().map(|event| event.envelope.seq_nr.get());
    assert!(numbers.eq(1..=events.len() as u64), "numbers without gap or double (I2)");
    events
}

/// The journal of a path, or of a URL and a schema.
async fn stores(place: &str) -> (Arc<dyn Journal>, Arc<dyn Records>) {
    let Some((url, schema)) = place.split_once(' ') else {
        let journal = Arc::new(journal(place).await);
        return (journal.clone(), journal);
    };
    let journal = Arc::new(postgres::open(url, schema).await);
    let commits = GroupCommit::new(journal.clone(), GroupCommitSettings::default());
    (Arc::new(commits), journal)
}

#[test]
fn two_processes_that_fight_for_an_id_make_one_history() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fight.db");
    fight_twice("two_processes_that_fight_for_an_id_make_one_history", &path.display().to_string(), 400);
}

#[test]
fn two_processes_that_fight_on_a_server_make_one_history() {
    // A child is told where.
    let place = postgres::url().map(|url| format!("{url} {}", postgres::schema())).unwrap_or_default();
    if !place.is_empty() || children::task().is_some() {
        fight_twice("two_processes_that_fight_on_a_server_make_one_history", &place, 200);
    }
}

/// Two processes fight for an id at `place`; what they said is held against what is there.
fn fight_twice(test: &str, place: &str, steps: u64) {
    if let Some(task) = children::task() {
        let (seed, place) = task.split_once(' ').unwrap();
        runtime().block_on(fight(place, Dice::new(seed.parse().unwrap())));
        return;
    }
    let seed = seed();
    println!("seed {seed}");
    let mut fighters: Vec<_> =
        (0..2).map(|n| children::command(test, &format!("{} {place}", seed + n)).spawn().unwrap()).collect();
    let mut hear: Vec<_> = fighters.iter_mut().map(children::lines).collect();
    let mut dice = Dice::new(seed);
    let mut said = Vec::new();
    for _ in 0..steps {
        // One of them makes a step, or both at once.
        let turns: &[usize] = [&[0][..], &[1], &[0, 1]][usize::try_from(dice.below(3)).unwrap()];
        for turn in turns {
            writeln!(fighters[*turn].stdin.as_mut().unwrap(), "step").unwrap();
        }
        for turn in turns {
            said.extend(hear[*turn].by_ref().take_while(|line| line != "done"));
        }
    }
    for (mut fighter, rest) in fighters.into_iter().zip(hear) {
        drop(fighter.stdin.take());
        assert_eq!(rest.count(), 0);
        assert!(fighter.wait().unwrap().success());
    }
    let log = runtime().block_on(async {
        let (journal, _) = stores(place).await;
        events(&*journal, &id("contested")).await
    });
    let epoch_of = |number: u64| log[usize::try_from(number - 1).unwrap()].envelope.token.epoch.0;
    let (mut claims, mut stored, mut lost) = (0, 0, 0);
    for line in &said {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |n: usize| words[n].parse::<u64>().unwrap();
        match words[0] {
            "claimed" => {
                claims += 1;
                let (epoch, head) = (number(1), number(2));
                for later in head + 1..=log.len() as u64 {
                    assert!(epoch_of(later) >= epoch, "#{later} of epoch {} after {line}", epoch_of(later));
                }
            }
            "stored" => {
                stored += 1;
                assert_eq!(epoch_of(number(2)), number(1), "{line}");
            }
            "lost" => lost += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!(
        stored,
        log.len(),
        "every event was answered to its writer, and every answered event is there"
    );
    println!("{claims} claims, {stored} events, {lost} times refused");
    assert!(lost > 20, "the processes met");
}

/// Each step: claim when the id is not ours, else append twice without waiting for the first.
async fn fight(place: &str, mut dice: Dice) {
    let (journal, records) = stores(place).await;
    let id = id("contested");
    let mut mine: Option<(Token, u64)> = None;
    for _ in std::io::stdin().lines() {
        mine = match mine {
            None => {
                let token = Token::new(next_epoch(&*records).await.unwrap(), 1);
                match journal.claim(&id, token).await {
                    Ok(head) => {
                        children::say(format_args!("claimed {} {}", token.epoch, head.seq_nr));
                        Some((token, head.seq_nr.get()))
                    }
                    // The other took an epoch after us and was faster.
                    Err(JournalError::Fenced { .. }) => None,
                    Err(error) => panic!("{error}"),
                }
            }
            Some((token, mut head)) => {
                let counts = [1 + dice.below(3), 1 + dice.below(3)];
                let first = journal.write(vec![write(&id, token, head, counts[0])]);
                let second = journal.write(vec![write(&id, token, head + counts[0], counts[1])]);
                let (first, second) = tokio::join!(first, second);
                let mut refused = false;
                for (answer, count) in [first, second].into_iter().flatten().zip(counts) {
                    match answer {
                        Ok(stored) => {
                            assert!(!refused, "an append behind one that was refused");
                            for number in head + 1..=head + count {
                                children::say(format_args!("stored {} {number}", token.epoch));
                            }
                            head += count;
                            assert_eq!(stored.seq_nr.get(), head);
                        }
                        Err(JournalError::Fenced { .. }) => refused = true,
                        Err(error) => panic!("only a newer epoch can be in the way: {error}"),
                    }
                }
                if refused {
                    children::say("lost");
                    None
                } else {
                    Some((token, head))
                }
            }
        };
        children::say("done");
    }
}

#[test]
fn what_was_answered_is_there_after_kill_9() {
    const NAME: &str = "what_was_answered_is_there_after_kill_9";
    if let Some(path) = children::task() {
        runtime().block_on(append_for_ever(&path));
        return;
    }
    let (seed, budget, begin) = (seed(), budget(), Instant::now());
    let mut dice = Dice::new(seed);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("killed.db");
    let mut stored: BTreeMap<String, u64> = BTreeMap::new();
    let mut kills = 0;
    while kills < 5 || begin.elapsed() < budget {
        let mut process = children::command(NAME, path.to_str().unwrap()).spawn().unwrap();
        let until = dice.below(400);
        let mut lines = children::lines(&mut process);
        for line in lines.by_ref().take(usize::try_from(until).unwrap()) {
            note(&mut stored, &line);
        }
        process.kill().unwrap();
        // What it said before it was killed.
        lines.for_each(|line| note(&mut stored, &line));
        process.wait().unwrap();
        kills += 1;
        runtime().block_on(async {
            let journal = journal(&path).await;
            for (name, number) in &stored {
                let events = events(&journal, &id(name)).await;
                assert!(
                    events.len() as u64 >= *number,
                    "seed {seed}, kill {kills}: {name} #{number} is lost"
                );
            }
            journal.database().close().await;
        });
        let file = rusqlite::Connection::open(&path).unwrap();
        let verdict: String = file.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
        assert_eq!(verdict, "ok", "seed {seed}, kill {kills}");
    }
    println!("seed {seed}: {kills} kills, {} answered events, none lost", stored.values().sum::<u64>());
}

fn note(stored: &mut BTreeMap<String, u64>, line: &str) {
    let (name, number) = line.split_once(' ').unwrap();
    stored.insert(name.to_owned(), number.parse().unwrap());
}

/// Eight ids at a time, behind group commit, each going on from where the last process was killed.
async fn append_for_ever(path: &str) {
    let backend = journal(path).await;
    let Epoch(epoch) = next_epoch(&backend).await.unwrap();
    let journal = GroupCommit::new(Arc::new(backend), GroupCommitSettings::default());
    let writers = (0..8).map(|n| {
        let journal = journal.clone();
        async move {
            let name = format!("entity-{n}");
            let (id, token) = (id(&name), Token::new(Epoch(epoch), 1));
            let mut head = journal.claim(&id, token).await.unwrap().seq_nr.get();
            loop {
                let stored = journal.append(append(&id, token, head, 1 + head % 3)).await.unwrap();
                head = stored.seq_nr.get();
                children::say(format_args!("{name} {head}"));
            }
        }
    });
    futures::future::join_all(writers).await;
}
