use std::time::Duration;

use annals_journal::{SeqNr, Timestamp};

use crate::SnapshotPolicy;
use crate::policy::{Occasion, Since};

/// How far an entity has come since its last snapshot, and whether the next one is due: a state machine without I/O.
///
/// ```text
///               observe ... is_due              snapshot saved
///   quiet ───────────────────────▶ (take) saving ───────────────▶ quiet, counting from the snapshot taken
///     ▲                                      │ save failed
///     └── at the next event after a pause ◀──┘ due again, nothing is forgotten
/// ```
///
/// One save of an entity is under way at a time; what becomes due meanwhile is taken with the first event after it. A save that
/// failed is tried again with a newer state, after a pause that doubles from 1 s to 1 min, so that an outage of the store
/// does not make each event encode a state.
///
/// ```
/// use annals_journal::{SeqNr, Timestamp};
/// use annals_snapshot::{Cadence, SnapshotPolicy};
///
/// let policy = SnapshotPolicy::<i64, ()>::every_events(2);
/// let mut cadence = Cadence::new();
/// let now = Timestamp::now();
/// for number in 1..=2 {
///     cadence.observe(&policy, &0, &(), SeqNr::FIRST.plus(number - 1), 10, now);
/// }
/// assert!(cadence.is_due(now));
/// cadence.taken(now);      // encoded; handed to the store once its event is durable
/// assert!(!cadence.is_due(now));
/// cadence.saved();
/// ```
#[derive(Debug, Clone)]
pub struct Cadence {
    /// Since the last snapshot that was taken and has not failed.
    since: Counts,
    /// The policy has asked for a snapshot that was not taken yet.
    wanted: bool,
    save: Save,
}

impl Cadence {
    /// The pause after the first failed save.
    pub const FIRST_PAUSE: Duration = Duration::from_secs(1);
    /// The longest pause after a failed save.
    pub const LONGEST_PAUSE: Duration = Duration::from_secs(60);

    /// An entity without a snapshot.
    pub fn new() -> Self {
        Self { since: Counts { events: 0, bytes: 0, start: None }, wanted: false, save: Save::Idle }
    }

    /// An entity that recovers from a snapshot taken at `taken_at`.
    pub fn from_snapshot(taken_at: Timestamp) -> Self {
        Self { since: Counts::from(taken_at), ..Self::new() }
    }

    /// Counts an event that was replayed; `timestamp` is the event's own.
    pub fn replayed(&mut self, bytes: usize, timestamp: Timestamp) {
        self.since.count(bytes, timestamp);
    }

    /// Counts a new event that was applied, and asks the policy; `state` has seen its whole effect,
    /// `bytes` is its payload's size.
    ///
    /// Of an effect with several events observe each, then ask [`Cadence::is_due`] once: no snapshot is taken between events that are
    /// stored all or none.
    pub fn observe<S, E>(
        &mut self,
        policy: &SnapshotPolicy<S, E>,
        state: &S,
        event: &E,
        seq_nr: SeqNr,
        bytes: usize,
        now: Timestamp,
    ) {
        self.since.count(bytes, now);
        // A predicate is asked about every event, also while a snapshot is wanted already: what it sees never depends on a save.
        let wants = policy.wants(&self.since.at(now), &Occasion::Event(state, event, seq_nr));
        self.wanted |= wants;
    }

    /// Whether a snapshot is to be taken now, right after the events that were observed.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.wanted
            && match self.save {
                Save::Idle => true,
                Save::Running { .. } => false,
                Save::Failed { again_at, .. } => now >= again_at,
            }
    }

    /// Whether a snapshot is to be taken because the entity stops: its last opportunity, so no pause is kept.
    ///
    /// `false` while one is being saved: wait for that one, then ask again.
    pub fn is_due_on_stop<S, E>(&self, policy: &SnapshotPolicy<S, E>, now: Timestamp) -> bool {
        self.since.events > 0
            && !matches!(self.save, Save::Running { .. })
            && (self.wanted || policy.wants(&self.since.at(now), &Occasion::Stop))
    }

    /// Whether a snapshot was taken and its end was not reported yet.
    pub fn is_saving(&self) -> bool {
        matches!(self.save, Save::Running { .. })
    }

    /// A snapshot was taken of the state as it is now; report [`Cadence::saved`] or [`Cadence::failed`] later.
    pub fn taken(&mut self, now: Timestamp) {
        let failures = match self.save {
            Save::Idle | Save::Running { .. } => 0,
            Save::Failed { failures, .. } => failures,
        };
        let covered = std::mem::replace(&mut self.since, Counts::from(now));
        self.save = Save::Running { covered, failures };
        self.wanted = false;
    }

    /// The snapshot that was taken last is stored.
    pub fn saved(&mut self) {
        if matches!(self.save, Save::Running { .. }) {
            self.save = Save::Idle;
        }
    }

    /// The snapshot that was taken last is not stored: it is owed, and all counts from the one before it.
    pub fn failed(&mut self, now: Timestamp) {
        if let Save::Running { covered, failures } = self.save {
            let pause = (Self::FIRST_PAUSE * 2_u32.pow(failures.min(16))).min(Self::LONGEST_PAUSE);
            self.save = Save::Failed { failures: failures.saturating_add(1), again_at: now.plus(pause) };
            self.since = covered.and(self.since);
            self.wanted = true;
        }
    }
}

impl Default for Cadence {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Debug, Clone, Copy)]
enum Save {
    Idle,
    /// What the snapshot covers, and how many saves failed before it.
    Running {
        covered: Counts,
        failures: u32,
    },
    Failed {
        failures: u32,
        again_at: Timestamp,
    },
}

#[derive(Debug, Clone, Copy)]
struct Counts {
    events: u64,
    bytes: u64,
    /// When the last snapshot was taken, or else the time of the first event.
    start: Option<Timestamp>,
}

impl Counts {
    fn from(start: Timestamp) -> Self {
        Self { events: 0, bytes: 0, start: Some(start) }
    }

    fn count(&mut self, bytes: usize, now: Timestamp) {
        self.events = self.events.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes as u64);
        self.start.get_or_insert(now);
    }

    fn and(self, later: Self) -> Self {
        Self {
            events: self.events.saturating_add(later.events),
            bytes: self.bytes.saturating_add(later.bytes),
            start: self.start,
        }
    }

    fn at(&self, now: Timestamp) -> Since {
        let time = self.start.map_or(Duration::ZERO, |start| now.since(start));
        Since { events: self.events, bytes: self.bytes, time }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Policy = SnapshotPolicy<u64, u64>;

    const START: Timestamp = Timestamp::from_micros(1_000_000_000);

    fn at(seconds: u64) -> Timestamp {
        START.plus(Duration::from_secs(seconds))
    }

    /// Observes events whose state, event and number are all alike.
    fn observe(
        cadence: &mut Cadence,
        policy: &Policy,
        numbers: std::ops::RangeInclusive<u64>,
        now: Timestamp,
    ) {
        for number in numbers {
            cadence.observe(policy, &number, &number, SeqNr::new(number).unwrap(), 10, now);
        }
    }

    #[test]
    fn a_snapshot_is_due_at_the_nth_event_and_then_n_later() {
        let (policy, mut cadence) = (Policy::every_events(3), Cadence::new());
        observe(&mut cadence, &policy, 1..=2, START);
        assert!(!cadence.is_due(START));
        observe(&mut cadence, &policy, 3..=3, START);
        assert!(cadence.is_due(START));
        cadence.taken(START);
        cadence.saved();
        observe(&mut cadence, &policy, 4..=5, START);
        assert!(!cadence.is_due(START));
        observe(&mut cadence, &policy, 6..=6, START);
        assert!(cadence.is_due(START));
    }

    #[test]
    fn events_that_came_during_a_save_count_for_the_next() {
        let (policy, mut cadence) = (Policy::every_events(3), Cadence::new());
        observe(&mut cadence, &policy, 1..=3, START);
        cadence.taken(START);
        observe(&mut cadence, &policy, 4..=5, START);
        cadence.saved();
        assert!(!cadence.is_due(START));
        observe(&mut cadence, &policy, 6..=6, START);
        assert!(cadence.is_due(START));
    }

    #[test]
    fn events_of_a_save_that_failed_count_again() {
        let (policy, mut cadence) = (Policy::on_stop().and(Policy::every_events(5)), Cadence::new());
        observe(&mut cadence, &policy, 1..=4, START);
        cadence.taken(START);
        observe(&mut cadence, &policy, 5..=5, START);
        assert!(!cadence.is_due_on_stop(&policy, START));
        cadence.failed(START);
        assert!(cadence.is_due_on_stop(&policy, START));
    }

    #[test]
    fn one_save_is_under_way_at_a_time() {
        let (policy, mut cadence) = (Policy::every_events(1), Cadence::new());
        observe(&mut cadence, &policy, 1..=1, START);
        cadence.taken(START);
        observe(&mut cadence, &policy, 2..=9, START);
        assert!(!cadence.is_due(START) && !cadence.is_due_on_stop(&policy, START) && cadence.is_saving());
        cadence.saved();
        assert!(cadence.is_due(START), "what became due meanwhile is owed");
    }

    #[test]
    fn bytes_count_payloads_replayed_and_new() {
        let (policy, mut cadence) = (Policy::every_bytes(100), Cadence::from_snapshot(START));
        for _ in 0..9 {
            cadence.replayed(10, START);
        }
        assert!(!cadence.is_due(START), "replay alone takes none");
        observe(&mut cadence, &policy, 10..=10, START);
        assert!(cadence.is_due(START));
    }

    #[test]
    fn time_runs_from_the_snapshot_or_the_first_event() {
        let policy = Policy::every(Duration::from_secs(60));
        let mut fresh = Cadence::new();
        observe(&mut fresh, &policy, 1..=1, at(1_000));
        observe(&mut fresh, &policy, 2..=2, at(1_059));
        assert!(!fresh.is_due(at(1_059)));
        observe(&mut fresh, &policy, 3..=3, at(1_060));
        assert!(fresh.is_due(at(1_060)));
        let mut recovered = Cadence::from_snapshot(START);
        observe(&mut recovered, &policy, 9..=9, at(60));
        assert!(recovered.is_due(at(60)));
    }

    #[test]
    fn a_failed_save_is_owed_and_retried_after_a_growing_pause() {
        let (policy, mut cadence) = (Policy::when(|_, event, _| *event == 1), Cadence::new());
        observe(&mut cadence, &policy, 1..=1, START);
        let mut now = 0;
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert!(cadence.is_due(at(now)));
            cadence.taken(at(now));
            cadence.failed(at(now));
            observe(&mut cadence, &policy, 2..=2, at(now));
            assert!(!cadence.is_due(at(now + pause - 1)), "pause {pause}");
            now += pause;
        }
        cadence.taken(at(now));
        cadence.saved();
        observe(&mut cadence, &policy, 2..=2, at(now));
        assert!(!cadence.is_due(at(now + 1_000)), "the predicate was about event 1, which is covered");
    }

    #[test]
    fn stopping_is_the_last_opportunity_for_what_is_owed() {
        let (policy, mut cadence) = (Policy::every_events(1), Cadence::new());
        observe(&mut cadence, &policy, 1..=1, START);
        cadence.taken(START);
        cadence.failed(START);
        assert!(!cadence.is_due(START) && cadence.is_due_on_stop(&policy, START));
    }

    #[test]
    fn a_snapshot_that_is_overdue_after_a_replay_is_taken_at_the_stop() {
        let (policy, mut cadence) = (Policy::every_events(10), Cadence::new());
        for _ in 0..9 {
            cadence.replayed(10, START);
        }
        assert!(!cadence.is_due_on_stop(&policy, START));
        cadence.replayed(10, START);
        assert!(!cadence.is_due(START) && cadence.is_due_on_stop(&policy, START));
    }

    #[test]
    fn stopping_without_new_events_takes_none() {
        let (policy, mut cadence) = (Policy::on_stop(), Cadence::from_snapshot(START));
        assert!(!cadence.is_due_on_stop(&policy, START));
        observe(&mut cadence, &policy, 5..=5, START);
        assert!(!cadence.is_due(START) && cadence.is_due_on_stop(&policy, START));
        cadence.taken(START);
        cadence.saved();
        assert!(!cadence.is_due_on_stop(&policy, START));
    }

    #[test]
    fn a_clock_that_steps_back_makes_nothing_due() {
        let (policy, mut cadence) = (Policy::every(Duration::from_secs(1)), Cadence::from_snapshot(at(100)));
        observe(&mut cadence, &policy, 1..=1, START);
        assert!(!cadence.is_due(START));
    }
}
