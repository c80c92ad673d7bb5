use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::time::Duration;

use annals_journal::SeqNr;

/// Which snapshots are kept once a newer one is saved, and whether the events that they cover are.
///
/// The default keeps the two newest snapshots and every event.
///
/// ```
/// use std::time::Duration;
/// use annals_snapshot::Retention;
///
/// let short = Retention::keep(3).delete_events().wait_for_readers(Duration::from_secs(3 * 24 * 3600));
/// assert_ne!(short, Retention::default());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    keep: NonZeroUsize,
    delete_events: bool,
    reader_limit: Duration,
}

impl Retention {
    /// How many snapshots the default keeps.
    pub const DEFAULT_KEPT: usize = 2;
    /// How long events are kept for a registered reader that does not advance: 7 days.
    pub const DEFAULT_READER_LIMIT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

    /// Keeps this many snapshots of an entity, the newest; 0 counts as 1. Deletes no events.
    ///
    /// With 1, a snapshot that cannot be read leaves only the events; with `delete_events` not even these.
    pub fn keep(snapshots: usize) -> Self {
        Self {
            keep: NonZeroUsize::new(snapshots).unwrap_or(NonZeroUsize::MIN),
            delete_events: false,
            reader_limit: Self::DEFAULT_READER_LIMIT,
        }
    }

    /// Deletes the events that are older than every kept snapshot, for good.
    ///
    /// Not before as many snapshots are there as are kept, and not before the oldest of them was read back and found to be of the
    /// journal's history. That one's own last event stays, so that each later recovery can check the same.
    #[must_use]
    pub fn delete_events(self) -> Self {
        Self { delete_events: true, ..self }
    }

    /// How long events that are to be deleted are kept for a registered reader that has not passed them and has not
    /// advanced. Default: [`Retention::DEFAULT_READER_LIMIT`]; deleting past a reader is logged with its name.
    #[must_use]
    pub fn wait_for_readers(self, limit: Duration) -> Self {
        Self { reader_limit: limit, ..self }
    }

    /// How many snapshots are kept.
    pub fn kept(&self) -> usize {
        self.keep.get()
    }

    /// Whether events are deleted.
    pub fn deletes_events(&self) -> bool {
        self.delete_events
    }

    /// See [`Retention::wait_for_readers`].
    pub fn reader_limit(&self) -> Duration {
        self.reader_limit
    }

    /// What may go once `saved` is stored; `listed` are the numbers of the entity's snapshots, lowest first.
    ///
    /// Snapshots above `saved` are another owner's: they are not counted and not touched. To be done in the order of
    /// the plan's fields; whatever of it fails, everything that is left still recovers.
    ///
    /// ```text
    ///   snapshots      40        60        80       100 = saved, keep 2
    ///                  └── deleted ┘        │ oldest kept
    ///   events   1 ......................79 │80 ...... 100
    ///            └──────── deleted ───────┘  └ stays: snapshot 80 is checked against it
    /// ```
    pub fn plan(&self, listed: &[SeqNr], saved: SeqNr) -> PrunePlan {
        let known: Vec<SeqNr> = listed.iter().copied().filter(|number| *number <= saved).collect();
        let Some(first_kept) = known.len().checked_sub(self.keep.get()) else { return PrunePlan::NOTHING };
        let Some(&oldest_kept) = known.get(first_kept) else { return PrunePlan::NOTHING };
        let events = (self.delete_events && oldest_kept > SeqNr::FIRST)
            .then(|| EventPrune { to: oldest_kept.previous(), covered_by: oldest_kept });
        let snapshots = (first_kept > 0).then(|| SeqNr::ZERO..=oldest_kept.previous());
        PrunePlan { events, snapshots }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self::keep(Self::DEFAULT_KEPT)
    }
}

/// What retention deletes, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrunePlan {
    /// Events, if no reader needs them and the snapshot that covers them is sound.
    pub events: Option<EventPrune>,
    /// Snapshots with these numbers.
    pub snapshots: Option<RangeInclusive<SeqNr>>,
}

impl PrunePlan {
    /// Nothing goes.
    pub const NOTHING: Self = Self { events: None, snapshots: None };
}

/// Events that may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventPrune {
    /// Up to this number.
    pub to: SeqNr,
    /// The oldest snapshot that is kept, which must be sound before anything goes.
    pub covered_by: SeqNr,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(numbers: &[u64]) -> Vec<SeqNr> {
        numbers.iter().map(|number| SeqNr::new(*number).unwrap()).collect()
    }

    fn nr(number: u64) -> SeqNr {
        SeqNr::new(number).unwrap()
    }

    #[test]
    fn the_newest_are_kept_and_all_below_go() {
        let plan = Retention::default().plan(&numbers(&[40, 60, 80, 100]), nr(100));
        assert_eq!(plan, PrunePlan { events: None, snapshots: Some(SeqNr::ZERO..=nr(79)) });
    }

    #[test]
    fn events_go_up_to_the_one_before_the_oldest_kept() {
        let plan = Retention::keep(2).delete_events().plan(&numbers(&[80, 100]), nr(100));
        assert_eq!(plan.events, Some(EventPrune { to: nr(79), covered_by: nr(80) }));
        assert_eq!(plan.snapshots, None);
    }

    #[test]
    fn nothing_goes_before_enough_snapshots_are_there() {
        let retention = Retention::keep(2).delete_events();
        assert_eq!(retention.plan(&numbers(&[100]), nr(100)), PrunePlan::NOTHING);
        assert_eq!(retention.plan(&[], nr(100)), PrunePlan::NOTHING);
    }

    #[test]
    fn one_kept_snapshot_covers_at_once() {
        let plan = Retention::keep(0).delete_events().plan(&numbers(&[100]), nr(100));
        assert_eq!(plan.events, Some(EventPrune { to: nr(99), covered_by: nr(100) }));
    }

    #[test]
    fn a_snapshot_of_the_first_event_covers_no_other() {
        assert_eq!(Retention::keep(1).delete_events().plan(&numbers(&[1]), nr(1)), PrunePlan::NOTHING);
    }

    #[test]
    fn newer_snapshots_than_the_saved_one_are_not_touched_and_not_counted() {
        let retention = Retention::keep(2).delete_events();
        assert_eq!(retention.plan(&numbers(&[100, 200, 300]), nr(100)), PrunePlan::NOTHING);
        let plan = retention.plan(&numbers(&[60, 80, 100, 200, 300]), nr(100));
        assert_eq!(plan.snapshots, Some(SeqNr::ZERO..=nr(79)));
        assert_eq!(plan.events, Some(EventPrune { to: nr(79), covered_by: nr(80) }));
    }
}
