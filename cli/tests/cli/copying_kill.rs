//! `annals migrate copy` is killed again and again while the owners of the source write.

use std::collections::BTreeMap;
use std::env;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use annals::journal::encryption::{
    DataKeyOptions, DataKeys, KeySource, RingKeys, SealedJournal, SealedOptions,
};
use annals::journal::sqlite::{Options, SqliteJournal};
use annals::journal::{
    AtomicWrite, Codec, Envelope, Epoch, Gate, Journal, JournalError, JournalExt as _, Manifest,
    Records as _, ReplayRange, Replayed, Token, WriterId,
};
use annals::prelude::{PersistenceId, SeqNr, Timestamp};
use futures::StreamExt as _;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::program::{annals, command};

/// Whatever was answered to an owner is in the target, once, and nobody can own an id of the target before the source is sealed.
#[test]
fn a_copy_that_is_killed_at_any_moment_hands_over_everything() {
    let (seed, deadline) = (number("ANNALS_SEED").unwrap_or_else(drawn), deadline());
    eprintln!("copying_kill: ANNALS_SEED={seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let (mut copies, mut kills) = (0, 0);
    while copies < FEWEST || Instant::now() < deadline {
        kills += copy_under_kills(&mut random);
        copies += 1;
    }
    eprintln!("copying_kill: ANNALS_SEED={seed}: {copies} copies, {kills} kills");
}

const FEWEST: u32 = 2;
const OWNERS: usize = 3;
const KILLS: u32 = 12;

fn copy_under_kills(random: &mut SmallRng) -> u32 {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let home = tempfile::tempdir().unwrap();
    annals(home.path(), &["keys", "generate", "new.json"]).exits(0);
    // As it is, or into a journal that is sealed.
    let keys: &[&str] = if random.random() { &["--to-keys", "file:new.json"] } else { &[] };
    let copy = |how| [&["migrate", "copy", "sqlite://a.db", "sqlite://b.db", how], keys].concat();
    let source = runtime.block_on(open(home.path(), "a.db"));
    runtime.block_on(async {
        for owner in 0..OWNERS {
            let id = id(owner);
            for at in (0..2_000).step_by(200) {
                source.append(append(&id, at, 200)).await.unwrap();
            }
            let to = SeqNr::new(random.random_range(0..300)).unwrap();
            source.delete_to(&id, to).await.unwrap();
        }
    });
    let owners: Vec<_> = (0..OWNERS)
        .map(|owner| {
            let source = source.clone();
            runtime.spawn(async move { own(&source, &id(owner)).await })
        })
        .collect();

    let mut kills = 0;
    for _ in 0..random.random_range(0..KILLS) {
        let how = if random.random_range(0..3) == 0 { "--cut-over" } else { "--apply" };
        let mut child =
            command(home.path(), &copy(how)).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_micros(random.random_range(0..250_000)));
        let _ = child.kill();
        child.wait().unwrap();
        kills += 1;
        runtime.block_on(nobody_owns_both(home.path()));
    }
    annals(home.path(), &copy("--cut-over")).exits(0).says(&["b.db is open"]);

    runtime.block_on(async {
        let mut answered = BTreeMap::new();
        for (number, owner) in owners.into_iter().enumerate() {
            answered.insert(id(number), owner.await.unwrap());
        }
        let file = open(home.path(), "b.db").await;
        let target: Arc<dyn Journal> =
            if keys.is_empty() { Arc::new(file.clone()) } else { sealed(home.path(), &file).await };
        for (id, answered) in answered {
            let (ours, theirs) = (history(&source, &id).await, history(&*target, &id).await);
            assert_eq!(ours, theirs, "{id}");
            assert_eq!(
                target.head(&id).await.unwrap().seq_nr.get(),
                answered,
                "{id}: what was answered, and no more"
            );
            target.claim(&id, Token::new(Epoch(5), 1)).await.unwrap();
            assert!(
                source
                    .claim(&id, Token::new(Epoch(5), 1))
                    .await
                    .unwrap_err()
                    .to_string()
                    .contains("b.db goes on")
            );
        }
        file.database().close().await;
        source.database().close().await;
    });
    kills
}

/// Writes one event after the other until the journal is sealed; answers how many are stored.
async fn own(journal: &SqliteJournal, id: &PersistenceId) -> u64 {
    let mut head = 2_000;
    loop {
        match journal.append(append(id, head, 1)).await {
            Ok(_) => head += 1,
            Err(JournalError::Rejected { .. }) => return head,
            // The copy holds the file's lock, or was killed with it.
            Err(JournalError::Unavailable { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A target that can be owned has a source that is sealed.
async fn nobody_owns_both(home: &Path) {
    if !home.join("b.db").exists() {
        return;
    }
    let target = open(home, "b.db").await;
    let gate = Gate::of(target.get(Gate::key()).await.unwrap().as_ref()).unwrap();
    let has_events = !target.persistence_ids(None, 1).await.unwrap().is_empty();
    target.database().close().await;
    if gate.is_none() && has_events {
        let source = open(home, "a.db").await;
        let sealed = Gate::of(source.get(Gate::key()).await.unwrap().as_ref()).unwrap();
        assert!(matches!(sealed, Some(Gate::Sealed { .. })), "{sealed:?}");
        source.database().close().await;
    }
}

async fn open(home: &Path, name: &str) -> SqliteJournal {
    let options = Options::default().busy_timeout(Duration::from_secs(60));
    SqliteJournal::open(home.join(name), options).await.unwrap()
}

/// The target through its keys, every event of which is sealed.
async fn sealed(home: &Path, file: &SqliteJournal) -> Arc<dyn Journal> {
    let stored = history(file, &id(0)).await;
    assert!(
        stored.iter().all(|event| event.contains("Deleted") || event.contains("key_id: Some")),
        "{stored:?}"
    );
    let ring = KeySource::File(home.join("new.json"));
    let masters = Arc::new(RingKeys::open(&[ring], file).await.unwrap());
    let keys = DataKeys::open(Arc::new(file.clone()), masters, DataKeyOptions::default()).await.unwrap();
    Arc::new(SealedJournal::open(Arc::new(file.clone()), keys, SealedOptions::default()).await.unwrap())
}

async fn history(journal: &dyn Journal, id: &PersistenceId) -> Vec<String> {
    let mut items = journal.replay(ReplayRange::all(id));
    let mut history = Vec::new();
    while let Some(item) = items.next().await {
        history.push(match item.unwrap() {
            Replayed::Event(event) => format!("{:?}", event.envelope),
            other => format!("{other:?}"),
        });
    }
    history
}

fn append(id: &PersistenceId, head: u64, count: u64) -> AtomicWrite {
    let token = Token::new(Epoch(1), 1);
    let event = |number| Envelope {
        persistence_id: id.clone(),
        seq_nr: SeqNr::new(number).unwrap(),
        token,
        writer: WriterId::from_bytes([3; 16]),
        timestamp: Timestamp::from_micros(number),
        manifest: Manifest::new("account.moved").unwrap(),
        schema_version: 1,
        codec: Codec::Json,
        tags: Vec::new(),
        trace_context: None,
        key_id: None,
        payload: format!("{{\"number\":{number}}}").into(),
    };
    let events = (head + 1..=head + count).map(event).collect();
    AtomicWrite { persistence_id: id.clone(), expected: SeqNr::new(head).unwrap(), token, events, mark: None }
}

fn id(owner: usize) -> PersistenceId {
    PersistenceId::new("account", &format!("owner-{owner}")).unwrap()
}

/// Four seconds less than a usual share: a copy that has begun is brought to its end.
fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(number("ANNALS_TIME_BUDGET_SECS").unwrap_or(12).saturating_sub(4))
}

fn drawn() -> u64 {
    RandomState::new().hash_one("seed") >> 16
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a whole number, not {text:?}")))
}
