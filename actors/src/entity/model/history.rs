//! What clients did and saw, and whether a sequential ledger could have done it.

use std::collections::HashMap;

use annals_journal::PersistenceId;

use super::ledger::{Afterwards, Do, Ledger, Seen, What, Where};
use super::store::Store;
use crate::answer::Answer;
use crate::delivery::{Progress, Response};
use crate::{AskError, Failure, OutcomeUnknown};

/// A command and what became of it.
pub(super) struct Operation {
    pub(super) what: What,
    pub(super) confirmed: bool,
    /// Which owner got it.
    pub(super) owner: u64,
    /// Every answer before this command was sent rests on at most this number.
    pub(super) not_before: u64,
    /// `None`: nobody waits.
    pub(super) answer: Option<Answer<'static, Response<Ledger, Do>>>,
    pub(super) progress: Progress,
    pub(super) response: Option<Response<Ledger, Do>>,
    /// Its owner crashed.
    pub(super) orphaned: bool,
    /// It came into the mailbox.
    pub(super) accepted: bool,
    /// Its owner had been told to stop when it was answered.
    pub(super) owner_stops: bool,
    /// And had no more time for what waited.
    pub(super) cut_short: bool,
}

impl Operation {
    /// Takes an answer that has come.
    pub(super) fn collect(&mut self) -> Option<&Response<Ledger, Do>> {
        let answer = self.answer.as_mut()?;
        match answer.try_recv() {
            Ok(response) => {
                self.answer = None;
                self.response = Some(response);
                self.response.as_ref()
            }
            Err(_) => None,
        }
    }

    /// As `Ask` does when its time is up.
    pub(super) fn time_out(&mut self, persistence_id: &PersistenceId) {
        if self.collect().is_some() {
            return;
        }
        let persistence_id = persistence_id.clone();
        self.answer = None;
        self.response = Some(Err(if self.progress.give_up() {
            AskError::Failed(Failure::TimedOut { persistence_id })
        } else {
            AskError::Unknown(OutcomeUnknown { persistence_id })
        }));
    }

    /// The state that the answer was made from.
    pub(super) fn seen(&self) -> Option<Seen> {
        match self.response.as_ref()? {
            Ok(seen) | Err(AskError::Rejected(seen)) => Some(*seen),
            Err(_) => None,
        }
    }

    fn persists(&self) -> bool {
        !matches!(self.what, What::Read)
            && matches!(self.response, Some(Ok(_)))
            && !matches!(self.what, What::Add { events: 0, .. })
    }

    /// Whether its answer takes part in the order of real time.
    pub(super) fn is_linearizable(&self, split: bool) -> bool {
        self.persists() || self.confirmed || !split
    }
}

/// Checks an answer at the moment at which it is given.
pub(super) fn check_answer(operation: &Operation, store: &Store, split: bool) -> Result<(), String> {
    let Some(seen) = operation.seen() else { return check_failure(operation) };
    let known = usize::try_from(seen.count).ok().and_then(|count| store.states.get(count));
    match known {
        None => {
            return Err(format!("I5: an answer rests on {seen:?}, the store ends at {}", store.head()));
        }
        Some(state) if Seen::of(state) != seen => {
            return Err(format!("I6: an answer was made from {seen:?}, number {} is {state:?}", seen.count));
        }
        Some(_) => {}
    }
    if operation.is_linearizable(split) && seen.count < operation.not_before {
        return Err(format!(
            "not linearizable: it was sent when {} was known, and answered from {}",
            operation.not_before, seen.count
        ));
    }
    Ok(())
}

/// A failure must be one that the command can have.
fn check_failure(operation: &Operation) -> Result<(), String> {
    let Some(Err(AskError::Failed(failure))) = &operation.response else { return Ok(()) };
    let fits = match failure {
        Failure::Panicked { .. } => matches!(operation.what, What::Explode(_)),
        Failure::WorkTimedOut { .. } => matches!(operation.what, What::Work | What::Explode(Where::Work)),
        Failure::StashFull { .. } => matches!(operation.what, What::AddWhenOpen),
        // Of other commands' panics: see `World::check_failure`.
        Failure::PanickedTooOften { .. } => true,
        Failure::RecoveryFailed { .. } | Failure::NotRegistered { .. } | Failure::InvalidId(_) => false,
        _ => true,
    };
    if fits { Ok(()) } else { Err(format!("{:?} cannot fail with {failure:?}", operation.what)) }
}

/// Checks the whole history against the log, when nothing more can be stored.
pub(super) fn check_history(operations: &[Operation], store: &Store, split: bool) -> Result<(), String> {
    let places = places(store)?;
    for (command, operation) in operations.iter().enumerate() {
        let place = places.get(&(command as u32)).copied();
        check_operation(operation, place, store, split)
            .map_err(|reason| format!("{reason}: {}", describe(command, operation, place)))?;
    }
    check_stops(operations, &places)?;
    check_order(operations, &places, split)
}

/// First and last number of each command that is in the log.
fn places(store: &Store) -> Result<HashMap<u32, (u64, u64)>, String> {
    let mut places = HashMap::new();
    let mut number = 0;
    while let Some((envelope, entry)) = store.log.get(number as usize) {
        let (part, of) = entry.place();
        if part != 0 {
            return Err(format!("I3: number {} is part {part} of command {}", number + 1, entry.command()));
        }
        for expected in 0..of {
            let at = number as usize + usize::from(expected);
            match store.log.get(at) {
                Some((_, other)) if other.command() == entry.command() && other.place() == (expected, of) => {
                }
                other => {
                    return Err(format!("I3: command {} lacks part {expected}: {other:?}", entry.command()));
                }
            }
            if store.log[at].0.seq_nr.get() != at as u64 + 1 {
                return Err(format!("I2: {:?} is stored as number {}", store.log[at].0.seq_nr, at + 1));
            }
        }
        let last = number + u64::from(of);
        if places.insert(entry.command(), (number + 1, last)).is_some() {
            return Err(format!("command {} is stored twice, again by {}", entry.command(), envelope.token));
        }
        number = last;
    }
    Ok(places)
}

fn check_operation(
    operation: &Operation,
    place: Option<(u64, u64)>,
    store: &Store,
    split: bool,
) -> Result<(), String> {
    match (&operation.response, place) {
        (Some(Err(AskError::Failed(_) | AskError::Rejected(_))), Some(_)) => {
            return Err("I1: it was answered that nothing was carried out".into());
        }
        (Some(Ok(_)), None) if operation.persists() => {
            return Err("I1: it was acknowledged and is gone".into());
        }
        _ => {}
    }
    if let Some(seen) = operation.seen() {
        check_answer(operation, store, split)?;
        if let Some((_, last)) = place
            && seen.count != last
        {
            return Err("the answer is not of the state right after its events".into());
        }
    }
    if let Some((first, last)) = place {
        if first <= operation.not_before {
            return Err("not linearizable: it stands before what was acknowledged when it was sent".into());
        }
        return check_decision(operation.what, &store.states[first as usize - 1], last + 1 - first);
    }
    match (&operation.response, operation.seen().and_then(|seen| store.states.get(seen.count as usize))) {
        (Some(Err(AskError::Rejected(_))), Some(state)) => match operation.what {
            What::AddIfEven if state.count % 2 == 1 => Ok(()),
            What::Work if state.closed => Ok(()),
            _ => Err(format!("it was rejected on {state:?}")),
        },
        _ => Ok(()),
    }
}

/// Whether the specification decides these events on that state.
fn check_decision(what: What, state: &Ledger, events: u64) -> Result<(), String> {
    let fits = match what {
        What::Add { events: wanted, .. } => u64::from(wanted) == events,
        What::AddIfEven => state.count.is_multiple_of(2) && events == 1,
        What::AddWhenOpen | What::Work => !state.closed && events == 1,
        What::Gate { .. } => events == 1,
        What::Read | What::Explode(_) | What::Unstorable { .. } | What::UnstorableStop => false,
    };
    if fits { Ok(()) } else { Err(format!("it persisted {events} events on {state:?}")) }
}

/// That an entity stops is answered when its node was told to, or one of its commands said so and was carried out. What waited when
/// the node was told is carried out, unless there is no time.
fn check_stops(operations: &[Operation], places: &HashMap<u32, (u64, u64)>) -> Result<(), String> {
    let stopped_by: Vec<u64> = operations
        .iter()
        .enumerate()
        .filter(|(command, operation)| stops(operation.what) && places.contains_key(&(*command as u32)))
        .map(|(_, operation)| operation.owner)
        .collect();
    for (command, operation) in operations.iter().enumerate() {
        let refused = matches!(operation.response, Some(Err(AskError::Failed(Failure::Stopping { .. }))));
        if !refused || stopped_by.contains(&operation.owner) {
            continue;
        }
        if !operation.owner_stops {
            return Err(format!("nobody stops its owner: {}", describe(command, operation, None)));
        }
        // Who is put aside waits for a command that cannot come any more.
        let aside = matches!(operation.what, What::AddWhenOpen);
        if operation.accepted && !operation.cut_short && !aside {
            return Err(format!(
                "it waited when its owner was to finish: {}",
                describe(command, operation, None)
            ));
        }
    }
    Ok(())
}

fn stops(what: What) -> bool {
    matches!(what, What::Add { after: Afterwards::Stop, .. })
}

/// Commands that one owner got one after the other stand in that order, but for those whose rejection was decided again because it
/// could not be confirmed. Those that may be put aside have an order among themselves, unless another owner opens the gate.
fn check_order(
    operations: &[Operation],
    places: &HashMap<u32, (u64, u64)>,
    split: bool,
) -> Result<(), String> {
    let mut last: HashMap<(u64, bool), (u64, usize)> = HashMap::new();
    for (command, operation) in operations.iter().enumerate() {
        let Some((first, _)) = places.get(&(command as u32)) else { continue };
        let aside = matches!(operation.what, What::AddWhenOpen);
        if (aside && split) || (!aside && operation.confirmed) {
            continue;
        }
        if let Some((before, earlier)) = last.insert((operation.owner, aside), (*first, command))
            && before > *first
        {
            return Err(format!("command {earlier} came before {command} and stands behind it"));
        }
    }
    Ok(())
}

pub(super) fn describe(command: usize, operation: &Operation, place: Option<(u64, u64)>) -> String {
    format!(
        "command {command} {:?}{} to owner {}, not before {}, answered {:?}, stored at {place:?}",
        operation.what,
        if operation.confirmed { " confirmed" } else { "" },
        operation.owner,
        operation.not_before,
        operation.response,
    )
}

/// Whether a command leaves a side effect when it is carried out.
pub(super) fn has_effect(what: What) -> bool {
    matches!(what, What::Add { effect: true, .. })
}
