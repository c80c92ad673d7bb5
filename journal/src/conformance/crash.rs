//! What a killed process leaves behind; for backends that outlive their process.
//!
//! The suite runs the current test binary again, with only the test `crash_child` and a store's place in the environment.
//! That process appends, deletes and counts, and says on its output what was acknowledged. It is killed (SIGKILL) at any
//! moment, many times; each time everything that it said must be there.

use std::io::{BufRead, BufReader, Read, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::harness::runtime;
use super::sample::*;
use super::{Harness, Place, Store, records};
use crate::{
    Journal, JournalExt, Offset, PageItem, PersistenceId, Records, ReplayRange, Replayed, StoredEvent,
    next_epoch,
};

/// (I1) Every acknowledged event, deletion and record is there after the process was killed; appends are there whole or
/// not at all, readers by slice go on without a gap, and so does the next owner.
pub async fn what_was_acknowledged_survives_a_kill(h: &mut Harness) {
    if !h.outlives_process() || h.child_test().is_empty() {
        return;
    }
    let seed = Uuid::new_v4().as_u64_pair().0 | 1;
    eprintln!("seed {seed}");
    let mut random = seed;
    let ends = Instant::now() + budget();
    let mut acknowledged = Acknowledged::default();
    let mut kills = 0;
    while kills < 3 || Instant::now() < ends {
        h.close_all().await;
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let lines = (random >> 33) % 120;
        let (place, child_test) = (h.place().clone(), h.child_test());
        let said =
            tokio::task::spawn_blocking(move || run_and_kill(&place, child_test, lines)).await.unwrap();
        for line in said.lines() {
            acknowledged.note(line);
        }
        kills += 1;
        h.open().await;
        acknowledged.check(&h.journal(), &h.records(), kills).await;
    }
    eprintln!("{kills} kills, {} events acknowledged", acknowledged.heads.iter().sum::<u64>());
}

/// The process that is killed. Called by the test `crash_child`; returns at once when the suite did not start it.
pub fn child<F>(open: impl Fn(Place) -> F)
where
    F: Future<Output = Store>,
{
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let place = Place::at(directory.into());
    runtime().block_on(async {
        let store = open(place).await;
        let epoch = next_epoch(&*store.records).await.unwrap().0;
        let appenders = (0..APPENDERS).map(|n| {
            let journal = Arc::clone(&store.journal);
            tokio::spawn(async move { append_for_ever(&journal, n, epoch).await })
        });
        let records = Arc::clone(&store.records);
        let counter = tokio::spawn(async move {
            loop {
                say(format_args!("{SAID} count 0 {}", records::step(&records).await));
            }
        });
        for task in appenders.chain([counter]).collect::<Vec<_>>() {
            task.await.unwrap();
        }
    });
}

/// Appends in sizes that follow from the head, and deletes now and then.
async fn append_for_ever(journal: &Arc<dyn Journal>, n: usize, epoch: u64) {
    let a = entity(n);
    let token = token(epoch, 1);
    let mut head = journal.claim(&a, token).await.unwrap().seq_nr.get();
    loop {
        head = journal.append(append(&a, token, head, size_behind(head))).await.unwrap().seq_nr.get();
        say(format_args!("{SAID} append {n} {head}"));
        if head % 7 == 0 {
            journal.delete_to(&a, nr(head / 2)).await.unwrap();
            say(format_args!("{SAID} delete {n} {}", head / 2));
        }
    }
}

/// Not through `println!`, which a test's output capture keeps to itself.
fn say(line: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        // The suite is gone.
        std::process::exit(1);
    }
}

/// Runs the child until it has said so many lines, kills it, and gives all that it said.
fn run_and_kill(place: &Place, child_test: &str, lines: u64) -> String {
    // The path of a test in its binary is without the crate's name.
    let test = child_test.split_once("::").map_or(child_test, |(_, test)| test);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, place.directory())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let (mut said, mut seen) = (String::new(), 0);
    while seen <= lines {
        let before = said.len();
        if out.read_line(&mut said).unwrap() == 0 {
            let mut errors = String::new();
            let _ = child.stderr.take().unwrap().read_to_string(&mut errors);
            panic!("the child process ended by itself: {said}\n{errors}");
        }
        // Its first line may come from the test harness.
        seen += u64::from(said[before..].contains(SAID));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What it said before it died; a line that is cut was not said.
    let mut rest = Vec::new();
    out.read_to_end(&mut rest).unwrap();
    said.push_str(&String::from_utf8_lossy(&rest));
    said.truncate(said.rfind('\n').map_or(0, |end| end + 1));
    said
}

/// What children said so far, and where a reader by slice stands.
#[derive(Default)]
struct Acknowledged {
    heads: [u64; APPENDERS],
    deleted: [u64; APPENDERS],
    count: u64,
    mark: Offset,
    read: [u64; APPENDERS],
}

impl Acknowledged {
    fn note(&mut self, line: &str) {
        let Some((_, said)) = line.split_once(SAID) else { return };
        let words: Vec<_> = said.split_whitespace().collect();
        let [what, n, number] = words[..] else { panic!("the child said {line:?}") };
        let (n, number): (usize, u64) = (n.parse().unwrap(), number.parse().unwrap());
        let highest = match what {
            "append" => &mut self.heads[n],
            "delete" => &mut self.deleted[n],
            _ => &mut self.count,
        };
        *highest = number.max(*highest);
    }

    async fn check(&mut self, journal: &Arc<dyn Journal>, records: &Arc<dyn Records>, kills: u64) {
        for n in 0..APPENDERS {
            let (a, acknowledged, deleted) = (entity(n), self.heads[n], self.deleted[n]);
            let head = journal.head(&a).await.unwrap();
            assert!(
                head.seq_nr.get() >= acknowledged,
                "kill {kills}: {a} is at {:?}, {acknowledged} was acknowledged",
                head.seq_nr
            );
            assert!(head.deleted_to.get() >= deleted, "kill {kills}: {a} came back after its deletion");
            let mut whole = 0;
            while whole < head.seq_nr.get() {
                whole += size_behind(whole);
            }
            assert_eq!(whole, head.seq_nr.get(), "kill {kills}: a part of an append of {a} was stored");
            check_events(journal, &a, head.deleted_to.get(), head.seq_nr.get(), kills).await;
        }
        self.read_on(journal, kills).await;
        let count = records::count(records).await;
        assert!(count >= self.count, "kill {kills}: the count is {count}, {} was acknowledged", self.count);
    }
}

impl Acknowledged {
    /// A reader that goes on behind its mark meets everything that is new, in order: no offset was used again.
    async fn read_on(&mut self, journal: &Arc<dyn Journal>, kills: u64) {
        for item in all_slices(journal, self.mark, 500).await {
            self.mark = item.offset();
            let (id, from, to) = match item {
                PageItem::Event(StoredEvent { envelope, .. }) => {
                    let number = envelope.seq_nr.get();
                    (envelope.persistence_id, number, number)
                }
                PageItem::Deleted { persistence_id, from, to, .. } => (persistence_id, from.get(), to.get()),
                erased @ PageItem::Erased { .. } => panic!("kill {kills}: {erased:?}"),
            };
            let n = (0..APPENDERS).find(|n| entity(*n) == id).unwrap();
            assert!(
                from <= self.read[n] + 1,
                "kill {kills}: a reader of {id} skipped from {} to {from}",
                self.read[n]
            );
            assert!(to > self.read[n] || from == 1, "kill {kills}: {id} {to} appeared behind its reader");
            self.read[n] = to.max(self.read[n]);
        }
        for (n, read) in self.read.iter().enumerate() {
            let head = journal.head(&entity(n)).await.unwrap().seq_nr.get();
            assert_eq!(*read, head, "kill {kills}: a reader of {} did not meet all of it", entity(n));
        }
    }
}

async fn check_events(journal: &Arc<dyn Journal>, id: &PersistenceId, deleted: u64, head: u64, kills: u64) {
    let mut next = 1;
    for item in replay(journal, ReplayRange::all(id)).await {
        match item {
            Replayed::Deleted { from, to } => {
                assert_eq!((from.get(), to.get(), next), (1, deleted, 1), "kill {kills}: {id}");
                next = deleted + 1;
            }
            Replayed::Event(stored) => {
                let number = stored.envelope.seq_nr.get();
                assert_eq!(number, next, "kill {kills}: {id}");
                assert_eq!(stored.envelope, event(id, number, stored.envelope.token), "kill {kills}: {id}");
                next += 1;
            }
            erased @ Replayed::Erased { .. } => panic!("kill {kills}: {id}: {erased:?}"),
        }
    }
    assert_eq!(next, head + 1, "kill {kills}: events of {id} are missing");
}

fn entity(n: usize) -> PersistenceId {
    id(&format!("e{n}"))
}

/// How many events the append behind this head has, so that a part of one can be told.
fn size_behind(head: u64) -> u64 {
    1 + head % 4
}

fn budget() -> Duration {
    let seconds =
        std::env::var("ANNALS_TIME_BUDGET_SECS").ok().and_then(|seconds| seconds.parse::<u64>().ok());
    seconds.map_or(Duration::from_secs(4), |seconds| Duration::from_secs(seconds) / 4)
}

const APPENDERS: usize = 4;
const CHILD: &str = "ANNALS_CONFORMANCE_CHILD";
const SAID: &str = "acknowledged:";
