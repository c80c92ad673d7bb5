//! What an entity met in which state, recorded for the table of its transitions. Tests only.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use annals_journal::{JournalError, Replayed};

use super::{Entity, Input, Phase};
use crate::PersistentActor;

pub(super) const STATES: [&str; 9] =
    ["Claiming", "Resting", "Loading", "Replaying", "Settling", "Running", "Leaving", "Pausing", "Stopped"];

pub(super) const INPUTS: [&str; 22] = [
    "command",
    "claimed",
    "superseded",
    "fenced",
    "claim failed",
    "rested",
    "a snapshot",
    "no snapshot",
    "load failed",
    "event",
    "deleted",
    "replay ended",
    "replay failed",
    "stored",
    "not stored",
    "worked",
    "child failed",
    "saved",
    "idle",
    "drain",
    "stop",
    "wake again",
];

/// From which state, by which input, to which states, and how often.
pub(super) type Seen = BTreeMap<(&'static str, &'static str), (BTreeSet<&'static str>, u64)>;

thread_local! {
    static SEEN: RefCell<Seen> = const { RefCell::new(BTreeMap::new()) };
}

pub(super) fn state<A: PersistentActor>(entity: &Entity<A>) -> &'static str {
    match &entity.phase {
        Phase::Claiming(_) => "Claiming",
        Phase::Resting => "Resting",
        Phase::Loading(_) => "Loading",
        Phase::Replaying(_) => "Replaying",
        Phase::Settling(_) => "Settling",
        Phase::Running(running) if running.is_stopping() => "Leaving",
        Phase::Running(_) => "Running",
        Phase::Pausing(_) => "Pausing",
        Phase::Stopped => "Stopped",
    }
}

pub(super) fn input<A: PersistentActor>(input: &Input<A>) -> &'static str {
    match input {
        Input::Command(_) => "command",
        Input::Claimed(Ok(_)) => "claimed",
        Input::Claimed(Err(JournalError::Superseded { .. })) => "superseded",
        Input::Claimed(Err(JournalError::Fenced { .. })) => "fenced",
        Input::Claimed(Err(_)) => "claim failed",
        Input::Rested => "rested",
        Input::Loaded(Ok(Some(_))) => "a snapshot",
        Input::Loaded(Ok(None)) => "no snapshot",
        Input::Loaded(Err(_)) => "load failed",
        Input::Replayed(Ok(Some(Replayed::Event(_)))) => "event",
        Input::Replayed(Ok(Some(_))) => "deleted",
        Input::Replayed(Ok(None)) => "replay ended",
        Input::Replayed(Err(_)) => "replay failed",
        Input::Written(Ok(_)) => "stored",
        Input::Written(Err(_)) => "not stored",
        Input::Worked(_) => "worked",
        Input::ChildFailed(_) => "child failed",
        Input::Saved { .. } => "saved",
        Input::Idle => "idle",
        Input::Drain => "drain",
        Input::Stop => "stop",
        Input::WakeAgain => "wake again",
    }
}

/// Records one transition.
pub(super) fn record(from: &'static str, by: &'static str, to: &'static str) {
    SEEN.with_borrow_mut(|seen| {
        let (states, times) = seen.entry((from, by)).or_default();
        states.insert(to);
        *times += 1;
    });
}

/// What this thread has recorded, which is forgotten.
pub(super) fn take() -> Seen {
    SEEN.take()
}
