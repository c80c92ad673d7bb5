use std::num::NonZero;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use annals_cluster::Flaw;
use annals_cluster::simulator::{Scenario, StrategyName, run, shrink, tell, traffic};
use anyhow::{Context, Result, bail};

/// Arguments of `cargo xtask simulate`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Seeds to run, as 0..20000; a single number runs one seed and tells its story.
    #[arg(long, default_value = "0..1000")]
    seeds: String,
    /// Nodes of each run; without it three to seven and short runs.
    #[arg(long)]
    nodes: Option<usize>,
    /// keep-majority, static-quorum, keep-oldest, keep-referee, lease-majority or down-all; without it each seed draws one.
    #[arg(long)]
    strategy: Option<StrategyName>,
    /// Runs that begin while the network is cut.
    #[arg(long)]
    forming: bool,
    /// A deliberate error in the logic, such as NoStabilityWindow: the runs should find it.
    #[arg(long)]
    flaw: Option<String>,
    /// Counts instead what clusters of these sizes send, at rest and for a change: 10,100,1000.
    #[arg(long, value_delimiter = ',')]
    traffic: Vec<usize>,
    /// Stops after so many failures.
    #[arg(long, default_value_t = 5)]
    failures: usize,
}

/// Simulates clusters; `false` when an invariant did not hold.
pub(crate) fn simulate(args: &Args) -> Result<bool> {
    if !args.traffic.is_empty() {
        return count(&args.traffic);
    }
    let seeds = seeds(&args.seeds)?;
    let flaw = args.flaw.as_deref().map(flaw).transpose()?;
    let scenario = |seed| Scenario {
        flaw,
        ..match args.nodes {
            Some(nodes) => Scenario::long(seed, nodes.max(2), args.strategy),
            None if args.forming => Scenario::forming(seed, args.strategy),
            None => Scenario::short(seed, args.strategy),
        }
    };
    if seeds.end - seeds.start == 1 {
        let scenario = scenario(seeds.start);
        println!("{} nodes, {}", scenario.nodes, scenario.strategy);
        let (outcome, story) = tell(&scenario);
        story.iter().for_each(|line| println!("{line}"));
        return Ok(outcome.failure.is_none());
    }
    let begin = Instant::now();
    let next = AtomicU64::new(seeds.start);
    let steps = AtomicU64::new(0);
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || failures(&failed) >= args.failures {
                        return;
                    }
                    let outcome = run(&scenario(seed));
                    steps.fetch_add(outcome.steps, Ordering::Relaxed);
                    if let Some(failure) = outcome.failure {
                        println!("seed {seed}: {failure}");
                        failed.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(seed);
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    failed.sort_unstable();
    let runs = next.into_inner().min(seeds.end) - seeds.start;
    let steps = steps.into_inner();
    println!("{runs} runs, {steps} steps in {:.1} s: {} failed", begin.elapsed().as_secs_f64(), failed.len());
    if let Some(seed) = failed.first() {
        let small = shrink(&scenario(*seed));
        println!(
            "seed {seed}, shrunk to {} faults of {} nodes, {}:",
            small.faults.len(),
            small.nodes,
            small.strategy
        );
        tell(&small).1.iter().for_each(|line| println!("{line}"));
    }
    Ok(failed.is_empty())
}

fn count(sizes: &[usize]) -> Result<bool> {
    println!(
        "| nodes | formed | forming, bytes a node and member | at rest, bytes a node and second | of it gossip | a change, bytes a node and member | known to all after |"
    );
    println!("|---|---|---|---|---|---|---|");
    for nodes in sizes {
        let seen = traffic(7, *nodes).with_context(|| format!("{nodes} nodes did not come together"))?;
        let (formed, change) = (seen.formed as f64 / 1_000.0, seen.change_milli as f64 / 1_000.0);
        let spread = seen.spread as f64 / 1_000.0;
        println!(
            "| {nodes} | {formed:.1} s | {} | {} | {} | {change:.1} | {spread:.2} s |",
            seen.forming_bytes, seen.rest, seen.rest_gossip
        );
    }
    Ok(true)
}

fn failures(failed: &Mutex<Vec<u64>>) -> usize {
    failed.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).len()
}

fn seeds(text: &str) -> Result<Range<u64>> {
    let number =
        |text: &str| text.parse::<u64>().with_context(|| format!("`{text}` is no seed: write 7 or 0..20000"));
    let range = match text.split_once("..") {
        Some((first, last)) => number(first)?..number(last)?,
        None => number(text)?..number(text)? + 1,
    };
    if range.is_empty() {
        bail!("`{text}` has no seeds: write 7 or 0..20000");
    }
    Ok(range)
}

fn flaw(name: &str) -> Result<Flaw> {
    let found = Flaw::ALL.into_iter().find(|flaw| format!("{flaw:?}") == name);
    found.with_context(|| format!("`{name}` is none of {:?}", Flaw::ALL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_range_or_a_number() {
        assert_eq!(seeds("7").expect("one"), 7..8);
        assert_eq!(seeds("0..20").expect("many"), 0..20);
        for text in ["", "x", "3..3", "5..1", "1..x"] {
            assert!(seeds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn flaws_have_their_names() {
        assert_eq!(flaw("NoStabilityWindow").expect("there is one"), Flaw::NoStabilityWindow);
        assert!(flaw("no").is_err());
    }
}
