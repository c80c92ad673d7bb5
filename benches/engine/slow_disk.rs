//! A disk whose fsync takes 5 ms: what is in flight has to share commits, or nothing is fast.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::annals::{JournalChoice, Settings};
use crate::bench::{Bench, folder, progress, rate};
use crate::child::Child;
use crate::contestant::Contestant;
use crate::parent;
use crate::scenario::{H, Load, P2};
use crate::table::Row;

/// P2 and H, beside what is in flight divided by the time of an fsync.
pub(crate) fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let disk = SlowDisk::new()?;
    let mut values = vec![Vec::new(); NAMES.len()];
    let mut limits = values.clone();
    for run in 1..=bench.runs {
        for (at, name) in NAMES.iter().enumerate() {
            let folder = folder()?;
            let mut child = disk.child(name, folder.path(), bench.quick)?;
            let fsync = child.number()?;
            let speed = child.number()?;
            child.end()?;
            ensure!(fsync * 1e6 >= f64::from(MICROS), "the fsyncs were not slowed down");
            progress(&format!("slow {name}"), "annals", run, speed, "events/s");
            values[at].push(speed);
            limits[at].push(f64::from(load(name, bench.quick).in_flight) / fsync);
        }
    }
    let rows = NAMES.iter().zip(values.iter().zip(&limits)).filter_map(|(name, (values, limits))| {
        let row = Row::of(format!("slow fsync {name}"), "events/s", values)?;
        Some(row.beside(values, limits).at_least(0.8))
    });
    Ok(rows.collect())
}

/// The child's part: says the seconds of an fsync, then how many events a second were persisted.
pub(crate) fn role(name: &str, folder: &str, quick: bool) -> Result<()> {
    let folder = Path::new(folder);
    parent::say(fsync_seconds(folder)?)?;
    let ours = Bench::new(quick, Default::default())?.annals(JournalChoice::Sqlite, Settings::default());
    let load = load(name, quick);
    let warm_up = Load { events_each: load.events_each / 10, ..load };
    ours.persist(&warm_up, folder, 0)?;
    let persisted = ours.persist(&load, folder, 0)?;
    parent::say(rate(load.events(), persisted.elapsed))
}

fn load(name: &str, quick: bool) -> Load {
    let scenario = if name == H.name { H } else { P2 };
    if quick { scenario.quick } else { scenario.load }
}

/// Of a file that grows by a page each time; the middle one of some.
fn fsync_seconds(folder: &Path) -> Result<f64> {
    let mut file = File::create(folder.join("fsync"))?;
    let mut seconds = Vec::new();
    for _ in 0..51 {
        file.write_all(&[7; 4096])?;
        let began = Instant::now();
        file.sync_data()?;
        seconds.push(began.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[seconds.len() / 2])
}

/// The library that slows fsyncs down.
struct SlowDisk {
    folder: TempDir,
}

impl SlowDisk {
    fn new() -> Result<Self> {
        let disk = Self { folder: folder()? };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/engine/slow_fsync.c");
        let status = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(disk.library())
            .arg(source)
            .status()
            .context("slow fsyncs need a C compiler named cc")?;
        ensure!(status.success(), "the library of slow fsyncs does not compile");
        Ok(disk)
    }

    fn child(&self, name: &str, folder: &Path, quick: bool) -> Result<Child> {
        let env = [
            ("LD_PRELOAD", self.library().into_os_string()),
            ("ANNALS_SLOW_FSYNC_MICROS", OsString::from(MICROS.to_string())),
        ];
        let folder = folder.to_str().context("the path of a folder is not UTF-8")?;
        let size = if quick { "quick" } else { "full" };
        Child::of_ours(&["slow", name, folder, size], &env)
    }

    fn library(&self) -> PathBuf {
        self.folder.path().join("slow_fsync.so")
    }
}

const NAMES: [&str; 2] = [P2.name, H.name];
/// What an fsync takes longer.
const MICROS: u32 = 5_000;
