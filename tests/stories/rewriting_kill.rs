//! `migrate rewrite` is killed again and again, up and down, while another process writes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use annals::journal::{
    AtomicWrite, Codec, Envelope, JournalExt as _, Manifest, PersistenceId, SeqNr, Timestamp, Token,
    WriterId, next_epoch,
};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng};
use serde_json::{Value, json};

use crate::budget;
use crate::example::{example, url};
use crate::line_process::LineProcess;
use crate::rollback::{PATIENCE, ask, hold, release};
use crate::stored::{self, Stored};

/// Whatever is killed when: nothing that was acknowledged is lost, nothing but the versions of events changes, the older build starts when the
/// journal is down and sees everything, and whoever runs meanwhile meets nothing that it cannot read.
#[test]
fn a_rewriting_that_is_killed_at_any_moment_is_done_in_the_end() {
    let (seed, deadline, began) = (budget::seed(), budget::deadline(), Instant::now());
    eprintln!("rewriting_kill: ANNALS_SEED={seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let (mut journals, mut kills, mut halves) = (0, 0, 0);
    while journals == 0 || Instant::now() < deadline {
        let mut life = Life::begin();
        for _ in 0..2 {
            life.goes_down(&mut random);
            life.goes_up(&mut random);
            if Instant::now() >= deadline {
                break;
            }
        }
        kills += life.kills;
        halves += life.halves;
        journals += 1;
    }
    let took = began.elapsed();
    eprintln!(
        "rewriting_kill: ANNALS_SEED={seed}: {journals} journals, {kills} kills, {halves} of them in the middle, in {took:?}"
    );
}

/// So long others count with a process of the service that was killed.
const LEASE: [&str; 2] = ["--lease-ms", "2000"];
/// Parcels that the service does not touch while it is rewritten, and how many events each of them has.
const RESTING: u64 = 40;
const EVENTS: u64 = 250;
const BUSY: usize = 4;

/// One journal.
struct Life {
    _folder: tempfile::TempDir,
    file: PathBuf,
    /// Everything that was ever acknowledged of a parcel; of one that was killed with its process, what may be stored.
    parcels: BTreeMap<String, Parcel>,
    /// How long a rewriting takes that nobody kills.
    whole: Duration,
    kills: u32,
    /// Of which so many left events of two versions.
    halves: u32,
}

#[derive(Debug, Default, Clone)]
struct Parcel {
    grams: Vec<u64>,
    perhaps: Option<u64>,
}

impl Life {
    /// A journal that the third build has written.
    fn begin() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("parcels.db");
        let mut parcels: BTreeMap<String, Parcel> =
            (0..BUSY).map(|busy| (format!("busy-{busy}"), Parcel::default())).collect();
        // It says that the third version is stored, before it is.
        let mut first = LineProcess::start("rollout_v3", &file, &LEASE);
        assert_eq!(ask(&mut first, "weigh busy-0 1"), "weighed busy-0 1");
        parcels.entry("busy-0".into()).or_default().grams.push(1);
        first.finish();
        fill(&file);
        for resting in 0..RESTING {
            let grams = (1..=EVENTS).collect();
            parcels.insert(format!("resting-{resting}"), Parcel { grams, perhaps: None });
        }
        Self { _folder: folder, file, parcels, whole: Duration::from_secs(2), kills: 0, halves: 0 }
    }

    fn goes_down(&mut self, random: &mut SmallRng) {
        let before = stored::events(&self.file);
        let service = self.start_service();
        hold(&self.file, 2);
        let service = self.rewritten_under_kills(service, Some(2), random);
        self.stop(service);
        self.is_all(2, &before);
        self.serves("rollout_v2");
    }

    fn goes_up(&mut self, random: &mut SmallRng) {
        release(&self.file);
        let before = stored::events(&self.file);
        let service = self.start_service();
        let service = self.rewritten_under_kills(service, None, random);
        self.stop(service);
        self.is_all(3, &before);
        self.serves("rollout_v3");
    }

    /// Kills rewritings, and now and then the service; then lets one come to its end.
    fn rewritten_under_kills(
        &mut self,
        mut service: Service,
        to: Option<u32>,
        random: &mut SmallRng,
    ) -> Service {
        for _ in 0..random.random_range(1..4) {
            // What one has begun in a direction, the next one may end that goes in the other.
            let to = if random.random_range(0..4) == 0 { to.xor(Some(2)) } else { to };
            let mut rewriting =
                self.rewriting(to).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            thread::sleep(self.whole.mul_f64(random.random_range(0.0..1.1)));
            end(&mut rewriting);
            self.kills += 1;
            let versions: BTreeSet<u32> =
                stored::events(&self.file).iter().map(|event| event.version).collect();
            assert!(
                !versions.contains(&1),
                "what leaves and what is held are not everything that can be written"
            );
            self.halves += u32::from(versions.len() > 1);
            if random.random_range(0..3) == 0 {
                self.kill(service);
                service = self.start_service();
            }
        }
        let began = Instant::now();
        let done = self.rewriting(to).output().unwrap();
        assert!(
            done.status.success(),
            "to {to:?}: {}: {}{}",
            done.status,
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr)
        );
        self.whole = began.elapsed();
        service
    }

    fn rewriting(&self, to: Option<u32>) -> Command {
        let mut command = Command::new(example("rollout_v3"));
        let patient = format!("{}?busy_timeout_ms=60000", url(&self.file));
        command.args(["migrate", "rewrite", "--apply", "--wait", "120", "--journal", &patient]);
        if let Some(build) = to {
            let lock = format!("examples/rollout/schemas.v{build}.lock");
            command.arg("--to").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(lock));
        }
        command.env_remove("ANNALS_KEYS");
        command
    }

    /// Every event is in this version; nothing else of those that were there has changed.
    fn is_all(&self, version: u32, before: &[Stored]) {
        let now = stored::events(&self.file);
        let others: Vec<_> =
            now.iter().filter(|event| event.version != version).map(|event| &event.id).collect();
        assert!(others.is_empty(), "{} events are not of version {version}: {others:?}", others.len());
        assert!(now.len() >= before.len());
        for (now, before) in now.iter().zip(before) {
            assert_eq!((&now.id, now.at, &now.manifest), (&before.id, before.at, &before.manifest));
            assert_eq!(grams(&now.event), grams(&before.event), "{}", now.id);
        }
    }

    /// A build starts on the journal, and every parcel is what was acknowledged.
    fn serves(&mut self, build: &'static str) {
        let mut process = LineProcess::start(build, &self.file, &LEASE);
        for (id, parcel) in &mut self.parcels {
            let answer = ask(&mut process, &format!("look {id}"));
            let state =
                answer.strip_prefix(&format!("seen {id} ")).unwrap_or_else(|| panic!("{build}: {answer}"));
            let state: Value = serde_json::from_str(state).unwrap();
            let seen: Vec<u64> = serde_json::from_value(state["grams"].clone()).unwrap();
            parcel.is(&seen, id);
        }
        process.finish();
    }

    fn start_service(&mut self) -> Service {
        let busy = self.parcels.iter().filter(|(id, _)| id.starts_with("busy"));
        Service::start(&self.file, busy.map(|(id, parcel)| (id.clone(), parcel.clone())).collect())
    }

    fn stop(&mut self, service: Service) {
        let (process, parcels) = service.pause();
        self.parcels.extend(parcels);
        process.finish();
    }

    fn kill(&mut self, service: Service) {
        let (mut process, mut parcels) = service.pause();
        let (id, parcel) = parcels.iter_mut().next().unwrap();
        parcel.perhaps = Some(77);
        process.send(&format!("weigh {id} 77"));
        process.kill();
        self.parcels.extend(parcels);
        self.kills += 1;
    }
}

impl Parcel {
    /// It is what was seen; what was under way when its process was killed is known from then on.
    fn is(&mut self, seen: &[u64], id: &str) {
        if let Some(perhaps) = self.perhaps.take()
            && seen.get(self.grams.len()) == Some(&perhaps)
        {
            self.grams.push(perhaps);
        }
        assert_eq!(seen, self.grams, "{id}");
    }
}

/// The third build as a process, and a thread that gives it work.
struct Service {
    stop: Arc<AtomicBool>,
    work: JoinHandle<(LineProcess, BTreeMap<String, Parcel>)>,
}

impl Service {
    fn start(file: &Path, mut parcels: BTreeMap<String, Parcel>) -> Self {
        let mut process = LineProcess::start("rollout_v3", file, &LEASE);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let work = thread::spawn(move || {
            // What its predecessor may have stored is asked for first.
            for (id, parcel) in &mut parcels {
                let answer = ask(&mut process, &format!("look {id}"));
                let state = answer.strip_prefix(&format!("seen {id} ")).unwrap_or_else(|| panic!("{answer}"));
                let state: Value = serde_json::from_str(state).unwrap();
                let seen: Vec<u64> = serde_json::from_value(state["grams"].clone()).unwrap();
                parcel.is(&seen, id);
            }
            let mut number = 0;
            while !stopped.load(Ordering::SeqCst) {
                number += 1;
                for (id, parcel) in &mut parcels {
                    assert_eq!(
                        ask(&mut process, &format!("weigh {id} {number}")),
                        format!("weighed {id} {number}")
                    );
                    parcel.grams.push(number);
                }
                thread::sleep(Duration::from_millis(5));
            }
            (process, parcels)
        });
        Self { stop, work }
    }

    fn pause(self) -> (LineProcess, BTreeMap<String, Parcel>) {
        self.stop.store(true, Ordering::SeqCst);
        self.work.join().unwrap()
    }
}

/// Events of version 3, as the third build writes them.
fn fill(file: &Path) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let opened = annals::journal::open(&url(file)).await.unwrap();
        let token = Token::new(next_epoch(&*opened.records).await.unwrap(), 1);
        for resting in 0..RESTING {
            let id = PersistenceId::new("parcel", &format!("resting-{resting}")).unwrap();
            let events = (1..=EVENTS).map(|number| Envelope {
                persistence_id: id.clone(),
                seq_nr: SeqNr::new(number).unwrap(),
                token,
                writer: WriterId::from_bytes([3; 16]),
                timestamp: Timestamp::from_micros(number),
                manifest: Manifest::new("parcel.weighed").unwrap(),
                schema_version: 3,
                codec: Codec::Json,
                tags: Vec::new(),
                trace_context: None,
                key_id: None,
                payload: json!({"milligrams": number * 1000, "scales": "hall"}).to_string().into(),
            });
            let append = AtomicWrite {
                persistence_id: id.clone(),
                expected: SeqNr::ZERO,
                token,
                events: events.collect(),
                mark: None,
            };
            opened.journal.append(append).await.unwrap();
        }
        opened.close().await;
    });
}

/// What was weighed, whatever the version.
fn grams(event: &Value) -> u64 {
    event["grams"].as_u64().or(event["milligrams"].as_u64().map(|milligrams| milligrams / 1000)).unwrap()
}

fn end(process: &mut Child) {
    // It may have ended.
    let _ = process.kill();
    let limit = Instant::now() + PATIENCE;
    while process.try_wait().unwrap().is_none() {
        assert!(Instant::now() < limit, "a killed process does not end");
        thread::sleep(Duration::from_millis(1));
    }
}
