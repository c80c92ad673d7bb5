//! Rolling deploys: processes of three builds take turns over the entities of one journal, in every order of upgrade and rollback.
//!
//! Two processes run at a time. A step of a walk gives one of them another build. The model says what each running process writes
//! (the highest that all can read, and that no hold forbids) and which build must not start; all the rest is looked up in the file.
//! An entity belongs to the process that was started last of those that were asked for it, so the older of the two keeps what the
//! newer one was not asked for yet.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use annals::journal::Manifest;
use annals::migrations::VersionRecords;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng};
use serde_json::Value;

use crate::budget;
use crate::example::url;
use crate::line_process::LineProcess;
use crate::rollback::{bring_down, release};
use crate::stored;

#[test]
fn in_any_order_of_upgrades_and_rollbacks_nobody_meets_what_it_cannot_read() {
    let (seed, deadline, began) = (budget::seed(), budget::deadline(), Instant::now());
    eprintln!("rollout: ANNALS_SEED={seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    // In the time there is, some of them.
    let mut walks = Walk::all();
    walks.shuffle(&mut random);
    let planned = walks.len();
    let mut seen = Seen::default();
    let mut walked = 0;
    for walk in walks {
        if walked >= FEWEST_WALKS && Instant::now() >= deadline {
            break;
        }
        eprintln!("rollout: {walk:?}");
        Deploy::begin(&walk).walk(&walk, &mut random, &mut seen);
        walked += 1;
    }
    eprintln!("rollout: ANNALS_SEED={seed}: {walked} of {planned} walks, {seen:?}, in {:?}", began.elapsed());
}

const FEWEST_WALKS: usize = 3;

/// A build, by its number.
type Build = u32;
const BUILDS: [Build; 3] = [1, 2, 3];

/// What a deploy does, one process after the other.
#[derive(Debug, Clone)]
struct Walk {
    steps: Vec<Step>,
    /// Whether the versions are held at 1 until the walk is at its end.
    held: Held,
}

/// Who says that a version is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Nobody,
    /// A setting of each process.
    Setting,
    /// A record of the journal, as `annals schema hold` writes it.
    Record,
}

/// Gives a process another build.
#[derive(Debug, Clone, Copy)]
struct Step {
    process: usize,
    build: Build,
}

impl Walk {
    /// All walks of three steps from two processes of the first build, and a deploy of all builds, one process after the other, that
    /// goes back from each of its phases; each with and without a hold.
    fn all() -> Vec<Self> {
        let mut walks = vec![(Vec::new(), [1, 1])];
        for _ in 0..3 {
            walks = walks
                .into_iter()
                .flat_map(|(steps, builds)| {
                    Self::next(builds).map(move |step| {
                        let (mut steps, mut builds): (Vec<Step>, [Build; 2]) = (steps.clone(), builds);
                        steps.push(step);
                        builds[step.process] = step.build;
                        (steps, builds)
                    })
                })
                .collect();
        }
        let mut walks: Vec<_> = walks.into_iter().map(|(steps, _)| steps).collect();
        let step = |(process, build)| Step { process, build };
        let (forward, back) =
            ([(0, 2), (1, 2), (0, 3), (1, 3)].map(step), [(0, 1), (1, 1), (0, 2), (1, 2)].map(step));
        walks.extend((1..=forward.len()).map(|phases| {
            let undone = back[..phases].iter().rev();
            forward[..phases].iter().chain(undone).copied().collect()
        }));
        let held = |held| walks.iter().map(move |steps| Self { steps: steps.clone(), held });
        [Held::Nobody, Held::Setting, Held::Record].into_iter().flat_map(held).collect()
    }

    fn next(builds: [Build; 2]) -> impl Iterator<Item = Step> {
        (0..2).flat_map(move |process| {
            BUILDS
                .into_iter()
                .filter(move |build| *build != builds[process])
                .map(move |build| Step { process, build })
        })
    }
}

/// What was seen in all walks.
#[derive(Debug, Default)]
struct Seen {
    upgrades: u32,
    rollbacks: u32,
    refused_starts: u32,
    /// So often the way out of a refusal was gone.
    followed: u32,
    refused_events: u32,
    weighed: u32,
}

/// Two processes on one file, and what is known of them.
struct Deploy {
    _folder: tempfile::TempDir,
    file: PathBuf,
    running: BTreeMap<usize, Running>,
    held: Held,
    /// How many processes were started.
    started: u32,
    /// What was acknowledged of each parcel.
    parcels: BTreeMap<&'static str, Parcel>,
    /// How many events the file had at the last look.
    looked_at: usize,
    /// The highest version that was ever stored, and whether anything of the third build alone was.
    highest: u32,
    insured: bool,
}

#[derive(Debug, Default)]
struct Parcel {
    /// The number of the process that was asked last.
    owner: u32,
    grams: Vec<u64>,
    insured_cents: u64,
}

struct Running {
    build: Build,
    /// It is the so-manyeth process of its deploy.
    number: u32,
    process: LineProcess,
}

impl Running {
    /// Sends a line and waits for its answer.
    fn ask(&mut self, line: &str) -> String {
        self.process.send(line);
        self.process.hear_until(Instant::now() + PATIENCE).unwrap_or_else(|| panic!("no answer to {line}"))
    }
}

/// Short, so that a process that went is soon forgotten; long enough for a process that gets no CPU for a while.
const LEASE_MS: &str = "3000";
const PATIENCE: Duration = Duration::from_secs(60);
const PARCELS: [&str; 6] = ["p-1", "p-2", "p-3", "p-4", "p-5", "p-6"];
/// What has versions in all builds.
const VERSIONED: [&str; 2] = ["parcel.weighed", "parcel.state"];

impl Deploy {
    fn begin(walk: &Walk) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("parcels.db");
        if walk.held == Held::Record {
            set_holds(&file, Some(1));
        }
        let mut deploy = Self {
            _folder: folder,
            file,
            running: BTreeMap::new(),
            held: walk.held,
            started: 0,
            parcels: PARCELS.into_iter().map(|id| (id, Parcel::default())).collect(),
            looked_at: 0,
            highest: 1,
            insured: false,
        };
        for process in 0..2 {
            let running = deploy.start(1).unwrap();
            deploy.running.insert(process, running);
        }
        deploy
    }

    fn start(&mut self, build: Build) -> Result<Running, String> {
        let mut flags = vec!["--lease-ms", LEASE_MS];
        if self.held == Held::Setting {
            flags.extend(["--hold", "parcel.weighed=1", "--hold", "parcel.state=1"]);
        }
        let name = ["rollout_v1", "rollout_v2", "rollout_v3"][build as usize - 1];
        let process = LineProcess::try_start(name, &self.file, &flags)?;
        self.started += 1;
        Ok(Running { build, number: self.started, process })
    }

    fn walk(mut self, walk: &Walk, random: &mut SmallRng, seen: &mut Seen) {
        self.work(random, seen);
        for step in &walk.steps {
            self.take(*step, random, seen);
            self.work(random, seen);
        }
        if self.held == Held::Record {
            set_holds(&self.file, None);
            self.held = Held::Nobody;
            self.work(random, seen);
        }
        for running in self.running.into_values() {
            running.process.finish();
        }
    }

    /// The highest version that all can read.
    fn written(&self) -> u32 {
        let readable = self.running.values().map(|running| running.build).min().unwrap();
        if self.held == Held::Nobody { readable } else { 1 }
    }

    fn can_be_insured(&self) -> bool {
        self.running.values().all(|running| running.build == 3)
    }

    fn can_start(&self, build: Build) -> bool {
        build >= self.highest && (build == 3 || !self.insured)
    }

    /// Stops a process and starts another build in its place; one that is refused is replaced by the build that was there.
    fn take(&mut self, step: Step, random: &mut SmallRng, seen: &mut Seen) {
        let Running { build: before, process, .. } = self.running.remove(&step.process).unwrap();
        if step.build > before {
            seen.upgrades += 1
        } else {
            seen.rollbacks += 1
        }
        process.finish();
        let running = self.start(step.build).unwrap_or_else(|said| {
            assert!(!self.can_start(step.build), "build {} was refused: {said}", step.build);
            for part in self.what_is_in_its_way(step.build) {
                assert!(said.contains(&part), "{part:?} is not in: {said}");
            }
            assert!(said.contains("migrate rewrite --to"), "no way out in: {said}");
            seen.refused_starts += 1;
            // On the way to the first build it is lost which scales it was, so not while somebody has that in memory.
            if step.build == 2 && self.held != Held::Record && random.random() {
                seen.followed += 1;
                self.follow(step.build, before)
            } else {
                self.start(before).unwrap()
            }
        });
        let (build, can) = (running.build, self.can_start(step.build));
        assert!(can || build == before, "build {build} started on {}", self.what_is_stored());
        self.running.insert(step.process, running);
    }

    /// Does what the refusal says: brings the journal down while the other process runs, and starts the older build. What is insured stays, so
    /// then the build that was there starts again.
    fn follow(&mut self, build: Build, before: Build) -> Running {
        let newest = if self.insured { 3 } else { self.highest };
        bring_down(&self.file, newest, build, if self.insured { 1 } else { 0 });
        self.highest = self.highest.min(build);
        let running = match self.start(build) {
            Ok(running) => running,
            Err(said) => {
                assert!(self.insured && said.contains("parcel.insured"), "build {build} was refused: {said}");
                assert!(!said.contains("parcel.weighed"), "{said}");
                self.start(before).unwrap()
            }
        };
        release(&self.file);
        running
    }

    fn what_is_stored(&self) -> String {
        format!("versions up to {}, insured: {}", self.highest, self.insured)
    }

    fn what_is_in_its_way(&self, build: Build) -> Vec<String> {
        let mut parts = Vec::new();
        if self.highest > build {
            // The last of the versions that it does not read.
            parts.extend([format!("{} of parcel.weighed", self.highest), format!("{build} of it")]);
        }
        if self.insured && build < 3 {
            parts.push("parcel.insured".into());
        }
        parts
    }

    /// Both processes change all parcels in turns; each event is stored in the version that was to be written, and both see all of it.
    fn work(&mut self, random: &mut SmallRng, seen: &mut Seen) {
        let (written, can_be_insured, mut weighed) = (self.written(), self.can_be_insured(), 0);
        for running in self.running.values_mut() {
            until_it_writes(running, written, can_be_insured);
        }
        for _ in 0..4 {
            let running = self.running.get_mut(&random.random_range(0..2)).unwrap();
            let can_ask = PARCELS.iter().filter(|id| self.parcels[**id].owner <= running.number);
            let Some(id) = can_ask.clone().nth(random.random_range(0..can_ask.clone().count().max(1))) else {
                continue;
            };
            let grams = random.random_range(1..1000);
            assert_eq!(running.ask(&format!("weigh {id} {grams}")), format!("weighed {id} {grams}"));
            let parcel = self.parcels.get_mut(*id).unwrap();
            (parcel.owner, weighed) = (running.number, weighed + 1);
            parcel.grams.push(grams);
        }
        seen.weighed += weighed;
        let mut expected = vec![("parcel.weighed", written); weighed as usize];
        if let Some(process) = (0..2).find(|process| self.running[process].build == 3) {
            match self.insure(process) {
                Some(true) => expected.push(("parcel.insured", 1)),
                Some(false) => seen.refused_events += 1,
                None => {}
            }
        }
        if weighed > 0 {
            self.highest = self.highest.max(written);
        }
        let events = stored::events(&self.file);
        let new: Vec<_> =
            events[self.looked_at..].iter().map(|event| (event.manifest.as_str(), event.version)).collect();
        assert_eq!(new, expected);
        self.looked_at = events.len();
        for running in self.running.values_mut() {
            let number = running.number;
            // Some of the older process's are left to it.
            let mut looks =
                |parcel: &Parcel| parcel.owner == number || (parcel.owner < number && random.random());
            for (id, parcel) in self.parcels.iter_mut().filter(|(_, parcel)| looks(parcel)) {
                parcel.owner = number;
                let answer = running.ask(&format!("look {id}"));
                let state = answer.strip_prefix(&format!("seen {id} ")).unwrap_or_else(|| panic!("{answer}"));
                let state: Value = serde_json::from_str(state).unwrap();
                assert_eq!(
                    state["grams"],
                    serde_json::json!(parcel.grams),
                    "build {} of {id}",
                    running.build
                );
                if running.build == 3 {
                    assert_eq!(state["insured_cents"], parcel.insured_cents);
                }
            }
        }
    }

    /// Whether it was stored: only when both processes can read it.
    fn insure(&mut self, process: usize) -> Option<bool> {
        let can_be_insured = self.can_be_insured();
        let running = self.running.get_mut(&process).unwrap();
        let (id, parcel) = self.parcels.iter_mut().find(|(_, parcel)| parcel.owner <= running.number)?;
        let answer = running.ask(&format!("insure {id} 100"));
        parcel.owner = running.number;
        if can_be_insured {
            parcel.insured_cents += 100;
            assert_eq!(answer, format!("insured {id} {}", parcel.insured_cents));
            self.insured = true;
        } else {
            let reason =
                answer.strip_prefix(&format!("failed {id} 100 ")).unwrap_or_else(|| panic!("{answer}"));
            assert!(reason.contains("parcel.insured"), "{reason}");
        }
        Some(can_be_insured)
    }
}

/// Waits until a process has heard of who else runs.
fn until_it_writes(running: &mut Running, version: u32, can_be_insured: bool) {
    let mut expected = VERSIONED.map(|manifest| format!(" {manifest}={version}")).to_vec();
    if running.build == 3 {
        expected.push(format!(" parcel.insured={}", if can_be_insured { "1" } else { "-" }));
    }
    let latest = Instant::now() + PATIENCE;
    loop {
        let writes = running.ask("writes");
        if expected.iter().all(|form| writes.contains(form)) {
            return;
        }
        assert!(
            Instant::now() < latest,
            "build {} {writes}, where{} is expected",
            running.build,
            expected.concat()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What `annals schema hold` and `annals schema release` do.
fn set_holds(file: &Path, version: Option<u32>) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let opened = annals::journal::open(&url(file)).await.unwrap();
        let records = VersionRecords::new(opened.records);
        for manifest in VERSIONED {
            let manifest = Manifest::new(manifest).unwrap();
            match version {
                Some(version) => records.hold(&manifest, version).await.unwrap(),
                None => records.release(&manifest).await.unwrap(),
            };
        }
    });
}
