use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use annals_journal::SeqNr;

/// When a snapshot of an entity is taken, as a value.
///
/// `S` is the state and `E` the event that predicates look at. The default takes one every
/// [`SnapshotPolicy::DEFAULT_EVENTS`] events or [`SnapshotPolicy::DEFAULT_BYTES`] bytes of events, whichever comes first: a recovery
/// reads one snapshot and at most about that much. All counts are since the last snapshot that was saved. When an entity stops, the
/// policy is asked once more, so that a snapshot that is overdue is taken. Cloning is cheap.
///
/// ```
/// use std::time::Duration;
/// use annals_snapshot::SnapshotPolicy;
///
/// enum Event { Deposited, Closed }
/// struct Account { cents: i64 }
///
/// let policy: SnapshotPolicy<Account, Event> = SnapshotPolicy::every_events(100)
///     .or(SnapshotPolicy::when(|_, event, _| matches!(event, Event::Closed)))
///     .or(SnapshotPolicy::on_stop().and(SnapshotPolicy::every_events(20)));
/// # let _ = policy;
/// ```
pub struct SnapshotPolicy<S, E>(Arc<Rule<S, E>>);

impl<S, E> SnapshotPolicy<S, E> {
    /// Events after which the default policy takes a snapshot.
    pub const DEFAULT_EVENTS: u64 = 500;
    /// Bytes of events after which the default policy takes a snapshot: 1 MiB.
    pub const DEFAULT_BYTES: u64 = 1024 * 1024;

    /// No snapshots: each recovery replays every event.
    pub fn never() -> Self {
        Rule::Never.into()
    }

    /// After this many events; 0 counts as 1.
    pub fn every_events(events: u64) -> Self {
        Rule::Events(events.max(1)).into()
    }

    /// After events whose payloads have this many bytes together; 0 counts as 1.
    pub fn every_bytes(bytes: u64) -> Self {
        Rule::Bytes(bytes.max(1)).into()
    }

    /// With the first event that comes this long after the last snapshot, or after the first event when there is none.
    ///
    /// No timer runs: an entity without events needs no snapshot.
    pub fn every(time: Duration) -> Self {
        Rule::Time(time).into()
    }

    /// When the entity stops or is passivated and has events since the last snapshot.
    pub fn on_stop() -> Self {
        Rule::Stop.into()
    }

    /// After an event for which `predicate(state, event, number)` holds; the state is the one after all events of the
    /// event's effect.
    ///
    /// It runs in the entity's turn, once for each new event, and not in replay: keep it cheap.
    pub fn when(predicate: impl Fn(&S, &E, SeqNr) -> bool + Send + Sync + 'static) -> Self {
        Rule::When(Box::new(predicate)).into()
    }

    /// When this policy or the other says so.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Rule::Either(self, other).into()
    }

    /// When both say so at the same event, or at the stop.
    ///
    /// `on_stop().and(every_events(20))` spares entities that did little a snapshot at each passivation.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Rule::Both(self, other).into()
    }

    pub(crate) fn wants(&self, since: &Since, occasion: &Occasion<'_, S, E>) -> bool {
        match &*self.0 {
            Rule::Never => false,
            Rule::Events(events) => since.events >= *events,
            Rule::Bytes(bytes) => since.bytes >= *bytes,
            Rule::Time(time) => since.time >= *time,
            Rule::Stop => matches!(occasion, Occasion::Stop),
            Rule::When(predicate) => match occasion {
                Occasion::Event(state, event, seq_nr) => predicate(state, event, *seq_nr),
                Occasion::Stop => false,
            },
            Rule::Either(one, other) => one.wants(since, occasion) || other.wants(since, occasion),
            Rule::Both(one, other) => one.wants(since, occasion) && other.wants(since, occasion),
        }
    }
}

impl<S, E> Default for SnapshotPolicy<S, E> {
    fn default() -> Self {
        Self::every_events(Self::DEFAULT_EVENTS).or(Self::every_bytes(Self::DEFAULT_BYTES))
    }
}

impl<S, E> Clone for SnapshotPolicy<S, E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S, E> fmt::Debug for SnapshotPolicy<S, E> {
    /// Reads like the calls that made it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Rule::Never => f.write_str("never"),
            Rule::Events(events) => write!(f, "every {events} events"),
            Rule::Bytes(bytes) => write!(f, "every {bytes} bytes"),
            Rule::Time(time) => write!(f, "every {time:?}"),
            Rule::Stop => f.write_str("on stop"),
            Rule::When(_) => f.write_str("when a predicate holds"),
            Rule::Either(one, other) => write!(f, "({one:?} or {other:?})"),
            Rule::Both(one, other) => write!(f, "({one:?} and {other:?})"),
        }
    }
}

/// What has happened since the last snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Since {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
    pub(crate) time: Duration,
}

/// When a policy is asked.
pub(crate) enum Occasion<'a, S, E> {
    /// An event was applied.
    Event(&'a S, &'a E, SeqNr),
    /// The entity stops.
    Stop,
}

enum Rule<S, E> {
    Never,
    Events(u64),
    Bytes(u64),
    Time(Duration),
    Stop,
    When(Box<Predicate<S, E>>),
    Either(SnapshotPolicy<S, E>, SnapshotPolicy<S, E>),
    Both(SnapshotPolicy<S, E>, SnapshotPolicy<S, E>),
}

type Predicate<S, E> = dyn Fn(&S, &E, SeqNr) -> bool + Send + Sync;

impl<S, E> From<Rule<S, E>> for SnapshotPolicy<S, E> {
    fn from(rule: Rule<S, E>) -> Self {
        Self(Arc::new(rule))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Policy = SnapshotPolicy<i64, &'static str>;

    fn since(events: u64, bytes: u64, seconds: u64) -> Since {
        Since { events, bytes, time: Duration::from_secs(seconds) }
    }

    fn at_event(policy: &Policy, since: Since) -> bool {
        policy.wants(&since, &Occasion::Event(&7, &"closed", SeqNr::FIRST))
    }

    fn at_stop(policy: &Policy, since: Since) -> bool {
        policy.wants(&since, &Occasion::Stop)
    }

    #[test]
    fn the_default_is_on() {
        let policy = Policy::default();
        assert!(!at_event(&policy, since(499, 1024 * 1024 - 1, 1_000_000)));
        assert!(at_event(&policy, since(500, 0, 0)));
        assert!(at_event(&policy, since(1, 1024 * 1024, 0)));
    }

    #[test]
    fn never_means_never() {
        assert!(!at_event(&Policy::never(), since(u64::MAX, u64::MAX, 1 << 40)));
        assert!(!at_stop(&Policy::never(), since(u64::MAX, u64::MAX, 1 << 40)));
    }

    #[test]
    fn time_counts_from_the_last_snapshot() {
        let policy = Policy::every(Duration::from_secs(60));
        assert!(!at_event(&policy, since(9, 9, 59)));
        assert!(at_event(&policy, since(1, 1, 60)));
    }

    #[test]
    fn a_predicate_sees_state_event_and_number_and_no_stop() {
        let policy =
            Policy::when(|state, event, seq_nr| *state == 7 && *event == "closed" && seq_nr == SeqNr::FIRST);
        assert!(at_event(&policy, since(1, 1, 0)));
        assert!(!policy.wants(&since(1, 1, 0), &Occasion::Event(&7, &"opened", SeqNr::FIRST)));
        assert!(!at_stop(&policy, since(1, 1, 0)));
    }

    #[test]
    fn combinations_nest() {
        let policy = Policy::every_events(100).or(Policy::on_stop().and(Policy::every_events(20)));
        assert!(!at_event(&policy, since(99, 0, 0)));
        assert!(at_event(&policy, since(100, 0, 0)));
        assert!(!at_stop(&policy, since(19, 0, 0)));
        assert!(at_stop(&policy, since(20, 0, 0)));
    }

    #[test]
    fn a_policy_reads_like_its_calls() {
        let policy = Policy::every_events(100).or(Policy::on_stop().and(Policy::every_bytes(0)));
        assert_eq!(format!("{policy:?}"), "(every 100 events or (on stop and every 1 bytes))");
    }
}
