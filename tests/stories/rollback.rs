//! Going back to an older build after a newer one has stored something: what the refusal says is done, and works.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::example::{annals, example, url};
use crate::line_process::LineProcess;
use crate::stored;

const LEASE: [&str; 2] = ["--lease-ms", "3000"];
/// For a process that must be counted with, also when it gets no CPU for a while.
const LONG_LEASE: [&str; 2] = ["--lease-ms", "60000"];
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The third build goes on serving while the journal is brought down; then the second one starts beside it.
#[test]
fn a_build_that_is_refused_starts_after_the_command_that_the_refusal_names() {
    let folder = tempfile::tempdir().unwrap();
    let file = &folder.path().join("parcels.db");
    let mut third = LineProcess::start("rollout_v3", file, &LONG_LEASE);
    let mut grams = [vec![], vec![], vec![], vec![]];
    let mut weigh = |process: &mut LineProcess, round: u64| {
        for (parcel, weighed) in grams.iter_mut().enumerate() {
            let more = 100 * round + parcel as u64;
            assert_eq!(
                ask(process, &format!("weigh p-{parcel} {more}")),
                format!("weighed p-{parcel} {more}")
            );
            weighed.push(more);
        }
        grams.clone()
    };
    for round in 0..4 {
        weigh(&mut third, round);
    }

    let refused = LineProcess::try_start("rollout_v2", file, &LEASE).err().unwrap();
    for part in ["version 3 of parcel.weighed", "annals migrate rewrite --to LOCKFILE", "--allow-unreadable"]
    {
        assert!(refused.contains(part), "{part:?} is not in {refused}");
    }

    // Somebody runs who would store it again, so nothing is done before he is held.
    let planned = rewrite(file, 3, Some(2), &[]);
    assert_eq!(planned.status.code(), Some(1), "{}", said(&planned));
    let stands = "annals schema hold parcel.weighed 2";
    assert!(said(&planned).contains(stands), "{}", said(&planned));
    let not_held = rewrite(file, 3, Some(2), &["--apply", "--wait", "0"]);
    assert_eq!(not_held.status.code(), Some(3), "{}", said(&not_held));
    assert!(said(&not_held).contains(stands), "{}", said(&not_held));
    assert!(stored::events(file).iter().all(|event| event.version == 3));

    third.finish();
    let mut third = LineProcess::start("rollout_v3", file, &LEASE);
    weigh(&mut third, 4);
    bring_down(file, 3, 2, 0);
    assert!(stored::events(file).iter().all(|event| event.version == 2));
    let all = weigh(&mut third, 5);
    assert!(stored::events(file).iter().all(|event| event.version == 2), "the hold keeps it down");
    let mut second = LineProcess::start("rollout_v2", file, &LEASE);
    release(file);
    for (parcel, grams) in all.iter().enumerate() {
        assert_eq!(look(&mut second, parcel)["grams"], serde_json::json!(grams));
    }
    third.finish();
    let all = weigh(&mut second, 6);
    second.finish();
    assert!(stored::events(file).iter().all(|event| event.version == 2));

    // And up again, for good: the second build is not missed any more.
    let up = rewrite(file, 3, None, &["--apply", "--json"]);
    assert!(up.status.success(), "{}", said(&up));
    let told: Value = serde_json::from_slice(&up.stdout).unwrap();
    assert_eq!((&told["still_to_do"], &told["compared"]), (&0.into(), &28.into()), "{told}");
    assert!(told["gone"].as_array().unwrap().iter().any(|form| form["version"] == 2), "{told}");
    assert!(stored::events(file).iter().all(|event| event.version == 3));
    let mut third = LineProcess::start("rollout_v3", file, &LEASE);
    for (parcel, grams) in all.iter().enumerate() {
        assert_eq!(look(&mut third, parcel)["grams"], serde_json::json!(grams));
    }
    third.finish();
}

/// What loses something on the way is only brought down when that is said, and while nobody has it in memory.
#[test]
fn what_would_lose_something_is_brought_down_when_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = &folder.path().join("parcels.db");
    let mut second = LineProcess::start("rollout_v2", file, &LONG_LEASE);
    for grams in [100, 200, 300, 400] {
        assert_eq!(ask(&mut second, &format!("weigh p-1 {grams}")), format!("weighed p-1 {grams}"));
    }
    let lossy = rewrite(file, 2, Some(1), &["--apply", "--allow-loss", "--wait", "0"]);
    assert_eq!(lossy.status.code(), Some(3), "{}", said(&lossy));
    assert!(said(&lossy).contains("hosts kind \"parcel\""), "{}", said(&lossy));
    second.finish();
    let down = rewrite(file, 2, Some(1), &["--apply"]);
    assert_eq!(down.status.code(), Some(1), "{}", said(&down));
    assert!(said(&down).contains("it would lose something"), "{}", said(&down));
    assert!(LineProcess::try_start("rollout_v1", file, &LEASE).is_err());
    let lossy = rewrite(file, 2, Some(1), &["--apply", "--allow-loss"]);
    assert!(lossy.status.success(), "{}", said(&lossy));
    let mut first = LineProcess::start("rollout_v1", file, &LEASE);
    assert_eq!(look(&mut first, 1)["grams"], serde_json::json!([100, 200, 300, 400]));
    first.finish();
}

/// What has no way down stays, is named, and is all that stands against the older build.
#[test]
fn what_cannot_be_brought_down_is_named_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let file = &folder.path().join("parcels.db");
    let mut third = LineProcess::start("rollout_v3", file, &LEASE);
    assert_eq!(ask(&mut third, "weigh p-1 500"), "weighed p-1 500");
    assert_eq!(ask(&mut third, "insure p-2 100"), "insured p-2 100");
    assert_eq!(ask(&mut third, "weigh p-3 300"), "weighed p-3 300");
    third.finish();
    let down = bring_down(file, 3, 2, 1);
    for part in
        ["event #1 of parcel|p-2 is left as it is", "add a downcaster", "still stored: parcel.insured"]
    {
        assert!(said(&down).contains(part), "{part:?} is not in {}", said(&down));
    }
    release(file);
    let refused = LineProcess::try_start("rollout_v2", file, &LEASE).err().unwrap();
    assert!(refused.contains("parcel.insured") && !refused.contains("parcel.weighed"), "{refused}");
    let flags = [&LEASE[..], &["--allow-unreadable", "parcel.insured"]].concat();
    let mut second = LineProcess::start("rollout_v2", file, &flags);
    assert_eq!(look(&mut second, 1)["grams"], serde_json::json!([500]));
    assert!(ask(&mut second, "look p-2").starts_with("failed p-2"));
    assert_eq!(look(&mut second, 3)["grams"], serde_json::json!([300]));
    second.finish();
    // Nobody is kept from storing it, now that it stays.
    let mut third = LineProcess::start("rollout_v3", file, &LEASE);
    assert_eq!(ask(&mut third, "insure p-2 100"), "insured p-2 200");
    third.finish();
}

/// Holds what is above a build, and brings the journal down to it with a newer one; ends with this code.
pub(crate) fn bring_down(file: &Path, with: u32, to: u32, code: i32) -> Output {
    hold(file, to);
    let down = rewrite(file, with, Some(to), &["--apply"]);
    assert_eq!(down.status.code(), Some(code), "{}", said(&down));
    down
}

/// Holds what is above a build.
pub(crate) fn hold(file: &Path, build: u32) {
    let version = build.to_string();
    for (manifest, at) in [("parcel.weighed", &*version), ("parcel.state", &version), ("parcel.insured", "0")]
    {
        // 1: some are stored above already.
        let held = run(file, &["schema", "hold", manifest, at, "--journal", &url(file)]);
        assert!(matches!(held.status.code(), Some(0 | 1)), "{}", said(&held));
    }
}

/// Ends the holds.
pub(crate) fn release(file: &Path) {
    for manifest in ["parcel.weighed", "parcel.state", "parcel.insured"] {
        let released = run(file, &["schema", "release", manifest, "--journal", &url(file)]);
        assert!(released.status.success(), "{}", said(&released));
    }
}

/// `annals migrate rewrite` with the program of a build.
fn rewrite(file: &Path, with: u32, to: Option<u32>, flags: &[&str]) -> Output {
    let program = example(["rollout_v1", "rollout_v2", "rollout_v3"][with as usize - 1]);
    let lock: Option<PathBuf> = to.map(|build| {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/rollout/schemas.v{build}.lock"))
    });
    let (url, program) = (url(file), program.display().to_string());
    let lock = lock.map(|lock| lock.display().to_string());
    let mut args = vec!["migrate", "rewrite", "--program", &program, "--journal", &url];
    args.extend(lock.iter().flat_map(|lock| ["--to", lock.as_str()]));
    args.extend(flags);
    run(file, &args)
}

fn run(file: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(annals());
    command.current_dir(file.parent().unwrap()).args(args);
    command.env_remove("ANNALS_JOURNAL").env_remove("ANNALS_KEYS").output().unwrap()
}

fn said(output: &Output) -> String {
    let printed = [&output.stdout[..], &output.stderr].concat();
    format!("{}: {}", output.status, String::from_utf8_lossy(&printed))
}

pub(crate) fn ask(process: &mut LineProcess, line: &str) -> String {
    process.send(line);
    process.hear_until(Instant::now() + PATIENCE).unwrap_or_else(|| panic!("no answer to {line}"))
}

fn look(process: &mut LineProcess, parcel: usize) -> Value {
    let answer = ask(process, &format!("look p-{parcel}"));
    let state = answer.strip_prefix(&format!("seen p-{parcel} ")).unwrap_or_else(|| panic!("{answer}"));
    serde_json::from_str(state).unwrap()
}
