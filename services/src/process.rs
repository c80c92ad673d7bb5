use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// Kills a process and its children as a power cut would, and waits until they are gone.
pub(crate) fn kill_family(pid: i32) -> Result<()> {
    let root = Pid::from_raw(pid).with_context(|| format!("{pid} is no process id"))?;
    // A stopped parent has no more children.
    let _ = kill_process(root, Signal::STOP);
    let family: Vec<Pid> = children(pid).into_iter().filter_map(Pid::from_raw).chain([root]).collect();
    for member in &family {
        let _ = kill_process(*member, Signal::KILL);
    }
    let began = Instant::now();
    while family.iter().any(|member| lives(*member)) {
        if began.elapsed() > PATIENCE {
            bail!("process {pid} or one of its children does not end after SIGKILL");
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// Whether a process runs. A killed one that nobody waits for is still listed, for ever where the first process of a container is no `init`.
pub(crate) fn runs(pid: i32) -> bool {
    Pid::from_raw(pid).is_some_and(lives)
}

/// How many threads a process has; one that ended and that nobody waits for has 1 or none.
pub(crate) fn threads(pid: i32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let threads = status.lines().find_map(|line| line.strip_prefix("Threads:"));
    threads.and_then(|threads| threads.trim().parse().ok()).unwrap_or(0)
}

fn lives(pid: Pid) -> bool {
    test_kill_process(pid).is_ok() && stat(pid.as_raw_nonzero().get()).is_none_or(|(state, _)| state != 'Z')
}

fn children(parent: i32) -> Vec<i32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| stat(*pid).is_some_and(|(_, found)| found == parent))
        .collect()
}

/// A process's state and its parent.
fn stat(pid: i32) -> Option<(char, i32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may have spaces and parentheses.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(2);
