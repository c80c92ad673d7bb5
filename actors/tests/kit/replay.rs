//! Recorded journals through today's code, and through code that changed.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};

use annals_actors::PersistentActor;
use annals_actors::testing::{Replay, ReplayError, export};
use annals_journal::{
    AtomicWrite, Codec, Envelope, Epoch, Journal, JournalExt, Manifest, MemoryJournal, PersistenceId, SeqNr,
    Timestamp, Token, WriterId,
};
use annals_migrations::Event;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::failure_of;

#[derive(Serialize, Deserialize, Event)]
enum Change {
    Added { by: i64 },
    Counted,
    Poison,
}

static COUNTED: AtomicI64 = AtomicI64::new(0);

macro_rules! sum {
    ($name:ident, $apply:expr) => {
        #[derive(Default, Serialize, Deserialize)]
        struct $name {
            sum: i64,
        }

        impl PersistentActor for $name {
            const KIND: &'static str = "sum";
            type Event = Change;
            type Commands = (Nothing,);

            fn apply(&mut self, event: &Change) {
                match event {
                    Change::Added { by } => $apply(&mut self.sum, *by),
                    Change::Counted => self.sum += COUNTED.fetch_add(1, Ordering::Relaxed),
                    Change::Poison => panic!("poisoned"),
                }
            }
        }

        impl annals_actors::Handle<Nothing> for $name {
            type Reply = ();
            type Rejection = annals_actors::NeverRejected;

            fn handle(
                &self,
                _: &Nothing,
                ctx: &mut annals_actors::Context<Self, Nothing>,
            ) -> annals_actors::Effect<Self, Nothing> {
                ctx.reply(())
            }
        }
    };
}

#[derive(Serialize, Deserialize, annals_migrations::Command)]
struct Nothing;

sum!(Sum, |sum: &mut i64, by: i64| *sum += by);
sum!(Doubled, |sum: &mut i64, by: i64| *sum += 2 * by);

fn append(id: &str, manifest: &str, payloads: &[&str]) -> AtomicWrite {
    let persistence_id = PersistenceId::parse(id).unwrap();
    let events = payloads.iter().zip(1..).map(|(payload, number)| Envelope {
        persistence_id: persistence_id.clone(),
        seq_nr: SeqNr::new(number).unwrap(),
        token: Token::new(Epoch(1), 1),
        writer: WriterId::from_bytes([1; 16]),
        timestamp: Timestamp::from_micros(number),
        manifest: Manifest::new(manifest).unwrap(),
        schema_version: 1,
        codec: Codec::Json,
        tags: Vec::new(),
        trace_context: None,
        key_id: None,
        payload: (*payload).to_owned().into(),
    });
    let events = events.collect();
    AtomicWrite { persistence_id, expected: SeqNr::ZERO, token: Token::new(Epoch(1), 1), events, mark: None }
}

/// 300 entities of the kind with 1 to 5 events, and two of others.
async fn record(journal: &dyn Journal) {
    for number in 0..300 {
        let payloads = vec![r#"{"by":3}"#; number % 5 + 1];
        journal.append(append(&format!("sum|{number:03}"), "sum.added", &payloads)).await.unwrap();
    }
    journal.append(append("loan|1", "loan.submitted", &["{}"])).await.unwrap();
    journal.append(append("zebra|1", "zebra.born", &["{}"])).await.unwrap();
}

struct Files {
    dir: TempDir,
}

impl Files {
    fn new() -> Self {
        Self { dir: TempDir::new().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The recorded journal as JSON lines.
    fn lines(&self) -> PathBuf {
        let path = self.path("journal.jsonl");
        futures::executor::block_on(async {
            let journal = MemoryJournal::new();
            record(&journal).await;
            let mut file = std::fs::File::create(&path).unwrap();
            assert_eq!(export(&journal, &mut file).await.unwrap(), 902);
        });
        path
    }

    fn write(&self, lines: &[&str]) -> PathBuf {
        let path = self.path("written.jsonl");
        std::fs::write(&path, lines.join("\n")).unwrap();
        path
    }
}

fn line(id: &str, number: u64, rest: &str) -> String {
    format!(r#"{{"persistence_id":"{id}","seq_nr":{number},{rest}}}"#)
}

const ADDED: &str = r#""manifest":"sum.added","payload":{"by":3}"#;

fn expected(files: &Files, journal: &Path) -> PathBuf {
    let path = files.path("states.jsonl");
    let report = Replay::<Sum>::of(journal).expecting(&path).overwriting(true).check();
    assert!(report.overwritten);
    path
}

#[test]
fn an_export_is_replayed_and_agrees_with_its_expected_states() {
    let files = Files::new();
    let journal = files.lines();
    let states = expected(&files, &journal);
    let report = Replay::<Sum>::of(&journal).expecting(&states).check();
    assert_eq!((report.entities, report.events, report.others), (300, 900, 2));
    let text = std::fs::read_to_string(states).unwrap();
    assert!(text.starts_with("{\"persistence_id\":\"sum|000\",\"seq_nr\":1,\"state\":{\"sum\":3}}\n"));
    assert!(text.lines().is_sorted());
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_sqlite_file_is_replayed_like_its_export_also_from_an_asynchronous_test() {
    use annals_journal::sqlite::{Options, SqliteJournal};
    let files = Files::new();
    let path = files.path("journal.db");
    let journal = SqliteJournal::open(&path, Options::default()).await.unwrap();
    record(&journal).await;
    let states = expected(&files, &files.lines());
    let report = Replay::<Sum>::of(&path).expecting(&states).check();
    assert_eq!((report.entities, report.events, report.others), (300, 900, 2));
}

#[test]
fn an_apply_that_means_something_else_is_shown_with_the_states_that_differ() {
    let files = Files::new();
    let journal = files.lines();
    let states = expected(&files, &journal);
    let failure = failure_of(|| {
        Replay::<Doubled>::of(&journal).expecting(&states).check();
    });
    assert!(failure.contains("replayed 900 events of 300 entities: 0 failed"), "{failure}");
    assert!(failure.contains("300 differ; 2 entities of other kinds left out"), "{failure}");
    assert!(failure.contains("  sum|000 is another state after event 1 (- expected, + found)"), "{failure}");
    assert!(failure.contains("    -   \"sum\": 3\n    +   \"sum\": 6"), "{failure}");
    assert!(failure.contains("… 295 more differ"), "{failure}");
}

#[test]
fn entities_that_came_or_went_or_grew_differ() {
    let files = Files::new();
    let states = expected(&files, &files.lines());
    let grown: Vec<String> =
        (1..=3).map(|number| line("sum|001", number, ADDED)).chain([line("sum|x", 1, ADDED)]).collect();
    let grown: Vec<&str> = grown.iter().map(String::as_str).collect();
    let report = Replay::<Sum>::of(files.write(&grown)).expecting(&states).run().unwrap();
    let what: Vec<String> =
        report.differences.iter().map(|found| format!("{} {}", found.id, found.what)).collect();
    assert_eq!(what[0], "sum|000 is expected and not in the journal");
    assert_eq!(what[1], "sum|001 has 3 events, expected are 2");
    assert_eq!(report.differing, 301);
    assert_eq!(what.len(), 100, "a report is bounded");
}

#[test]
fn what_cannot_be_replayed_is_told_with_its_number_and_spares_the_others() {
    let files = Files::new();
    let lines = [
        line("sum|a", 1, ADDED),
        line("sum|a", 2, r#""manifest":"sum.poison","payload":null"#),
        line("sum|b", 1, r#""manifest":"sum.unknown","payload":null"#),
        line("sum|c", 2, ADDED),
        line("sum|d", 1, r#""manifest":"sum.added","payload":{"by":"three"}"#),
        r#"{"persistence_id":"sum|e","deleted_to":4}"#.to_owned(),
        line("sum|f", 1, r#""manifest":"sum.added""#),
        line("sum|g", 1, r#""manifest":"sum.added","key_id":1,"payload_base64":"AAAA""#),
        line("sum|h", 1, ADDED),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let report = Replay::<Sum>::of(files.write(&lines)).run().unwrap();
    assert_eq!((report.entities, report.failed, report.nondeterministic), (8, 7, 0));
    let shown: Vec<String> = report
        .failures
        .iter()
        .map(|failure| format!("{} {} {}", failure.persistence_id, failure.seq_nr.get(), failure.reason))
        .collect();
    for (shown, says) in shown.iter().zip([
        "sum|a 2 applying it (sum.poison) panicked: poisoned",
        "sum|b 1 manifest sum.unknown is unknown to this build",
        "sum|c 2 it stands where",
        "sum|d 1 sum.added version 1 cannot be read",
        "sum|e 4 the events up to here were deleted",
        "sum|f 1 line 7: needs either \"payload\" or \"payload_base64\"",
        "sum|g 1 its payload is sealed",
    ]) {
        assert!(shown.starts_with(says), "{shown}");
    }
}

#[test]
fn an_apply_that_counts_is_not_deterministic() {
    let files = Files::new();
    let lines = [line("sum|a", 1, ADDED), line("sum|a", 2, r#""manifest":"sum.counted","payload":null"#)];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let report = Replay::<Sum>::of(files.write(&lines)).run().unwrap();
    assert_eq!((report.failed, report.nondeterministic, report.failures[0].seq_nr.get()), (1, 1, 2));
    assert!(report.failures[0].reason.starts_with("`apply` is not deterministic"));
}

#[test]
fn expected_states_are_not_overwritten_while_something_fails() {
    let files = Files::new();
    let states = expected(&files, &files.lines());
    let before = std::fs::read_to_string(&states).unwrap();
    let poisoned = line("sum|a", 1, r#""manifest":"sum.poison","payload":null"#);
    let report =
        Replay::<Sum>::of(files.write(&[&poisoned])).expecting(&states).overwriting(true).run().unwrap();
    assert!(!report.overwritten && report.failed == 1);
    assert_eq!(std::fs::read_to_string(&states).unwrap(), before);
    assert!(!files.path("states.jsonl.new").exists());
}

/// Counts how many of it are alive.
#[derive(Debug)]
struct Alive;

static ALIVE: AtomicI64 = AtomicI64::new(0);
static MOST_ALIVE: AtomicI64 = AtomicI64::new(0);

impl Default for Alive {
    fn default() -> Self {
        MOST_ALIVE.fetch_max(ALIVE.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Watched {
    sum: i64,
    #[serde(skip)]
    alive: Alive,
}

impl PersistentActor for Watched {
    const KIND: &'static str = "sum";
    type Event = Change;
    type Commands = (Nothing,);

    fn apply(&mut self, event: &Change) {
        if let Change::Added { by } = event {
            self.sum += by;
        }
    }
}

impl annals_actors::Handle<Nothing> for Watched {
    type Reply = ();
    type Rejection = annals_actors::NeverRejected;

    fn handle(
        &self,
        _: &Nothing,
        ctx: &mut annals_actors::Context<Self, Nothing>,
    ) -> annals_actors::Effect<Self, Nothing> {
        let _ = &self.alive;
        ctx.reply(())
    }
}

#[test]
fn states_are_let_go_while_others_are_replayed() {
    let files = Files::new();
    let lines: Vec<String> = (0..5_000).map(|number| line(&format!("sum|{number:04}"), 1, ADDED)).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let report = Replay::<Watched>::of(files.write(&lines)).check();
    assert_eq!((report.entities, ALIVE.load(Ordering::Relaxed)), (5_000, 0));
    let most = MOST_ALIVE.load(Ordering::Relaxed);
    // At most 16 workers, of which each holds an entity's states: folded twice, and as a snapshot gives it back.
    assert!((2..=16 * 3).contains(&most), "{most} states at a time");
}

#[test]
fn a_journal_without_an_entity_of_the_kind_is_no_success() {
    let files = Files::new();
    let states = expected(&files, &files.lines());
    let before = std::fs::read_to_string(&states).unwrap();
    let others = files.write(&[&line("total|a", 1, ADDED), &line("total|b", 1, ADDED)]);
    let failure = failure_of(|| {
        Replay::<Sum>::of(&others).check();
    });
    assert!(failure.contains("has no entity of kind \"sum\", and 2 of other kinds"), "{failure}");
    let rewriting = Replay::<Sum>::of(&others).expecting(&states).overwriting(true).run();
    assert!(matches!(rewriting, Err(ReplayError::NothingToReplay { others: 2, .. })));
    assert_eq!(std::fs::read_to_string(&states).unwrap(), before);
    assert!(!files.path("states.jsonl.new").exists());
    let empty = Replay::<Sum>::of(files.write(&[])).run();
    assert!(matches!(empty, Err(ReplayError::NothingToReplay { others: 0, .. })));
}

#[test]
fn a_file_that_is_missing_or_unsorted_or_rubbish_says_what_to_do() {
    let files = Files::new();
    let error = |journal: &Path| Replay::<Sum>::of(journal).run().unwrap_err();
    assert!(matches!(error(&files.path("missing")), ReplayError::Open { .. }));
    let lines = [line("sum|b", 1, ADDED), line("sum|a", 1, ADDED)];
    let unsorted = error(&files.write(&[&lines[0], &lines[1]])).to_string();
    assert!(unsorted.contains("line 2: lines are ordered by persistence id"), "{unsorted}");
    let rubbish = error(&files.write(&["rubbish"])).to_string();
    assert!(rubbish.contains("line 1: expected value"), "{rubbish}");
    let sorted = files.write(&[&lines[0]]);
    let missing = Replay::<Sum>::of(sorted).expecting(files.path("none")).run().unwrap_err().to_string();
    assert!(missing.contains("ANNALS_REPLAY=overwrite writes it"), "{missing}");
    assert!(!missing.contains("line"), "there is no line: {missing}");
    let relative = error(Path::new("no/such/journal.jsonl")).to_string();
    assert!(relative.contains("it was looked for in /"), "{relative}");
}
