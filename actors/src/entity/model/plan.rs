use std::time::Duration;

use super::chance::Chance;
use crate::entity::Bounds;
use crate::plain::{Backoff, RestartPolicy};

/// What a run is like: drawn from the seed, so that some runs are calm and some are not, and no two faults always come together.
#[derive(Debug)]
pub(super) struct Plan {
    /// Commands that clients send.
    pub(super) commands: u32,
    /// Commands without an answer at one time.
    pub(super) at_once: usize,
    /// Several owners at one time; also maintenance that writes.
    pub(super) split: bool,
    /// Group commit in front of the store, as a node has; otherwise each write travels by itself.
    pub(super) grouped: bool,
    /// Entries of one commit.
    pub(super) batch: usize,
    /// Weights of faults, of 1,000 for ordinary progress; 0: none.
    pub(super) unknown: u64,
    pub(super) unavailable: u64,
    pub(super) conflict: u64,
    pub(super) rejected: u64,
    pub(super) read_fault: u64,
    pub(super) crash: u64,
    pub(super) stop: u64,
    pub(super) claim: u64,
    pub(super) passivate: u64,
    pub(super) time_out: u64,
    pub(super) save_fault: u64,
    pub(super) spoil: u64,
    pub(super) child_fails: u64,
    /// Of 100 commands, besides those that panic anyway.
    pub(super) panics: u64,
    /// A commit takes long: the weight of its landing.
    pub(super) landing: u64,
    /// A snapshot every so many events; 0: never.
    pub(super) snapshots: u64,
    pub(super) snapshot_on_stop: bool,
    /// Events that a snapshot covers are deleted; then nothing spoils snapshots.
    pub(super) deletes: bool,
    pub(super) confirmed: u64,
    pub(super) mailbox: usize,
    pub(super) bounds: Bounds,
}

impl Plan {
    pub(super) fn draw(chance: &mut Chance) -> Self {
        let some = |chance: &mut Chance, percent, most| {
            if chance.percent(percent) { chance.within(1, most) } else { 0 }
        };
        let split = chance.percent(50);
        let deletes = chance.percent(25);
        Self {
            commands: chance.within(4, 32) as u32,
            at_once: chance.within(1, 12) as usize,
            split,
            grouped: chance.percent(75),
            batch: chance.within(1, 6) as usize,
            unknown: some(chance, 60, 300),
            unavailable: some(chance, 30, 150),
            conflict: some(chance, 40, 150),
            rejected: some(chance, 10, 60),
            read_fault: some(chance, 30, 150),
            crash: some(chance, 40, 25),
            stop: some(chance, 30, 25),
            claim: some(chance, 40, 60),
            passivate: some(chance, 30, 100),
            time_out: some(chance, 40, 40),
            save_fault: some(chance, 50, 1_000),
            spoil: if deletes { 0 } else { some(chance, 40, 60) },
            panics: some(chance, 20, 40),
            landing: *[20, 100, 1_000].get(chance.index(3)).unwrap_or(&100),
            snapshots: some(chance, 75, 5),
            snapshot_on_stop: chance.percent(40),
            deletes,
            confirmed: chance.below(100),
            mailbox: chance.within(2, 24) as usize,
            bounds: Bounds {
                events: chance.within(1, 12) as usize,
                bytes: if chance.percent(20) { chance.within(1, 300) as usize } else { 100_000 },
                held: chance.within(1, 12) as usize,
                stash: chance.within(1, 6) as usize,
                patience: Duration::from_millis(chance.within(1, 400)),
                first_pause: Duration::from_millis(5),
                longest_pause: Duration::from_millis(100),
                restart: RestartPolicy::default()
                    .backoff(Backoff::new(Duration::from_millis(5), Duration::from_millis(50)))
                    .limit(chance.within(0, 4) as usize, Duration::from_secs(10)),
            },
            child_fails: some(chance, 20, 20),
        }
    }
}
