//! One reader of a projection as a state machine: what is read, handed on, tried again, skipped, given up.
//!
//! No clock, task or store: a driver asks for the next [`Step`], does it, and says what came of it.
//!
//! ```text
//!            ┌── nothing left ──▶ Idle ─┐
//!  Reload ─▶ Read ─▶ Apply ─▶ … ─▶ Read │◀─ looked
//!    ▲         │       │ failed: the prefix, then one by one ─▶ Rest ─▶ Apply ─▶ … ─▶ Skip or End
//!    └─ Rest ◀─┴───────┴── interrupted: nobody knows what is stored
//! ```

use std::ops::Range;
use std::time::Duration;

use annals_journal::Offset;

use crate::FailurePolicy;
use crate::policy::Then;
use crate::progress::Progress;

#[derive(Debug)]
pub(crate) struct Worker {
    policy: FailurePolicy,
    /// As it is stored.
    progress: Progress,
    /// Up to where was read, and nothing is left to be done.
    position: Offset,
    page: Option<Open>,
    /// Events of others that were passed over since progress was stored.
    passed: usize,
    /// Failures of the unit at hand.
    failures: u32,
    /// In a row.
    interruptions: u32,
    rest: Option<Rest>,
    ended: Option<String>,
    idle: bool,
}

/// A page that is being projected.
#[derive(Debug)]
struct Open {
    offsets: Vec<Offset>,
    complete_to: Offset,
    done: usize,
    /// Units in front of this one are handed on one by one.
    alone_until: usize,
    error: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// Then it is tried again.
    Failed(Duration),
    /// Then what is stored is looked up.
    Interrupted(Duration),
    Reload,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Read a page behind this offset.
    Read(Offset),
    /// Hand these units to the view, and store that progress with them.
    Apply {
        units: Range<usize>,
        to: Progress,
    },
    /// Make this unit a dead letter, and store that progress with it.
    Skip {
        unit: usize,
        error: String,
        to: Progress,
    },
    /// Store how far was read, because much of it was nothing of ours.
    Save {
        to: Progress,
    },
    Rest(Duration),
    /// Ask the store for the progress.
    Reload,
    /// Wait until there may be more.
    Idle,
    /// Stop: this cannot be projected.
    End(String),
}

impl Worker {
    pub(crate) fn new(policy: FailurePolicy, progress: Progress) -> Self {
        Self {
            policy,
            position: progress.start(),
            progress,
            page: None,
            passed: 0,
            failures: 0,
            interruptions: 0,
            rest: None,
            ended: None,
            idle: false,
        }
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Whether everything was projected that was there at the last look.
    pub(crate) fn is_idle(&self) -> bool {
        self.idle && self.page.is_none() && self.rest.is_none()
    }

    pub(crate) fn next(&self) -> Step {
        if let Some(error) = &self.ended {
            return Step::End(error.clone());
        }
        match self.rest {
            Some(Rest::Failed(pause) | Rest::Interrupted(pause)) => return Step::Rest(pause),
            Some(Rest::Reload) => return Step::Reload,
            None => {}
        }
        let Some(page) = &self.page else {
            if self.passed >= PASSED_A_SAVE {
                return Step::Save { to: self.progress.advanced(self.position) };
            }
            return if self.idle { Step::Idle } else { Step::Read(self.position) };
        };
        let alone = page.done < page.alone_until;
        let end = if alone { page.done + 1 } else { page.offsets.len() };
        let to = self.progress_to(page, end);
        if alone && self.failures > self.policy.retries && self.policy.then == Then::Skip {
            return Step::Skip { unit: page.done, error: page.error.clone(), to };
        }
        Step::Apply { units: page.done..end, to }
    }

    /// Progress once the units in front of `end` are done.
    fn progress_to(&self, page: &Open, end: usize) -> Progress {
        let to = match end.checked_sub(1).map(|last| page.offsets[last]) {
            _ if end == page.offsets.len() => page.complete_to,
            Some(offset) => offset,
            None => return self.progress.clone(),
        };
        self.progress.advanced(to)
    }

    /// A page was read: the offsets of what is ours, how much was not, up to where it is complete, and whether there may be more.
    pub(crate) fn read(&mut self, offsets: Vec<Offset>, passed: usize, complete_to: Offset, more: bool) {
        self.interruptions = 0;
        self.idle = !more;
        self.passed += passed;
        if offsets.is_empty() {
            self.position = self.position.max(complete_to);
        } else {
            self.page = Some(Open { offsets, complete_to, done: 0, alone_until: 0, error: String::new() });
        }
    }

    /// There may be more.
    pub(crate) fn look(&mut self) {
        self.idle = false;
    }

    /// Units in front of `end` were projected, and this is stored.
    pub(crate) fn applied(&mut self, end: usize, progress: Progress) {
        self.interruptions = 0;
        self.failures = 0;
        self.passed = 0;
        self.progress = progress;
        let Some(page) = &mut self.page else { return };
        page.done = end;
        if page.done == page.offsets.len() {
            self.position = self.position.max(page.complete_to);
            self.page = None;
        }
    }

    /// What was passed over is stored.
    pub(crate) fn saved(&mut self, progress: Progress) {
        self.interruptions = 0;
        self.passed = 0;
        self.progress = progress;
    }

    /// The handler cannot take what it was given: `at` is the unit, when it is known. Nothing behind [`Worker::applied`] is stored.
    pub(crate) fn failed(&mut self, at: Option<usize>, error: String) {
        self.interruptions = 0;
        let Some(page) = &mut self.page else { return };
        page.error.clone_from(&error);
        let alone = page.done < page.alone_until || page.offsets.len() - page.done == 1;
        if !alone {
            // Which one it is, or that it fails at all, shows when each is alone.
            page.alone_until = at.map_or(page.offsets.len(), |at| at + 1);
            return;
        }
        page.alone_until = page.alone_until.max(page.done + 1);
        self.failures = self.failures.saturating_add(1);
        if self.failures <= self.policy.retries || self.policy.then == Then::Again {
            self.rest = Some(Rest::Failed(self.policy.pause(self.failures)));
        } else if self.policy.then == Then::Stop {
            self.ended = Some(error);
        }
    }

    /// The store or the journal could not be asked: what is stored is not known.
    pub(crate) fn interrupted(&mut self) {
        let doubled = 1_u32.checked_shl(self.interruptions).unwrap_or(u32::MAX);
        self.interruptions = self.interruptions.saturating_add(1);
        self.rest = Some(Rest::Interrupted(FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE)));
    }

    /// The pause is over.
    pub(crate) fn rested(&mut self) {
        self.rest = match self.rest {
            Some(Rest::Interrupted(_) | Rest::Reload) => Some(Rest::Reload),
            Some(Rest::Failed(_)) | None => None,
        };
    }

    /// This is what the store says.
    pub(crate) fn reloaded(&mut self, progress: Progress) {
        self.rest = None;
        if progress != self.progress {
            self.failures = 0;
        }
        // What is known of a unit that failed stays known: it is met again.
        self.position = progress.start();
        self.progress = progress;
        self.page = None;
        self.passed = 0;
        self.idle = false;
    }

    /// It cannot go on, however often it is tried.
    pub(crate) fn gave_up(&mut self, error: String) {
        self.ended = Some(error);
    }
}

/// So many events of others are read again after a crash.
const PASSED_A_SAVE: usize = 1_000;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use annals_journal::SliceRange;
    use proptest::prelude::*;

    use super::*;

    fn at(position: u64) -> Offset {
        Offset::of_position(position)
    }

    fn to(position: u64) -> Progress {
        Progress::beginning(SliceRange::ALL).advanced(at(position))
    }

    fn worker(policy: FailurePolicy) -> Worker {
        Worker::new(policy, Progress::beginning(SliceRange::ALL))
    }

    fn offsets(range: Range<u64>) -> Vec<Offset> {
        range.map(at).collect()
    }

    #[test]
    fn a_page_is_one_batch_and_takes_the_progress_to_its_end() {
        let mut worker = worker(FailurePolicy::stop());
        assert_eq!(worker.next(), Step::Read(Offset::BEGINNING));
        worker.read(offsets(1..4), 0, at(9), false);
        assert_eq!(worker.next(), Step::Apply { units: 0..3, to: to(9) });
        worker.applied(3, to(9));
        assert_eq!(worker.next(), Step::Idle);
        worker.look();
        assert_eq!(worker.next(), Step::Read(at(9)));
    }

    #[test]
    fn the_units_around_a_bad_one_are_projected() {
        let mut worker = worker(FailurePolicy::skip().retries(1));
        worker.read(offsets(1..6), 0, at(5), true);
        worker.failed(None, "bad".into());
        for unit in 0..2 {
            assert_eq!(worker.next(), Step::Apply { units: unit..unit + 1, to: to(unit as u64 + 1) });
            worker.applied(unit + 1, to(unit as u64 + 1));
        }
        for _ in 0..2 {
            assert_eq!(worker.next(), Step::Apply { units: 2..3, to: to(3) });
            worker.failed(Some(2), "bad".into());
            if let Step::Rest(_) = worker.next() {
                worker.rested();
            }
        }
        assert_eq!(worker.next(), Step::Skip { unit: 2, error: "bad".into(), to: to(3) });
        worker.applied(3, to(3));
        assert_eq!(worker.next(), Step::Apply { units: 3..4, to: to(4) });
    }

    #[test]
    fn a_unit_that_is_known_to_be_bad_is_met_by_itself() {
        let mut worker = worker(FailurePolicy::stop().retries(0));
        worker.read(offsets(1..6), 0, at(5), true);
        worker.failed(Some(1), "bad".into());
        worker.applied(1, to(1));
        assert_eq!(worker.next(), Step::Apply { units: 1..2, to: to(2) });
        worker.failed(Some(1), "bad".into());
        assert_eq!(worker.next(), Step::End("bad".into()));
    }

    #[test]
    fn who_retries_never_ends() {
        let mut worker = worker(FailurePolicy::retry().retries(0));
        worker.read(offsets(1..2), 0, at(1), false);
        for _ in 0..100 {
            worker.failed(Some(0), "bad".into());
            assert!(matches!(worker.next(), Step::Rest(_)));
            worker.rested();
            assert_eq!(worker.next(), Step::Apply { units: 0..1, to: to(1) });
        }
    }

    #[test]
    fn after_an_interruption_the_store_says_where_to_go_on() {
        let mut worker = worker(FailurePolicy::stop());
        worker.read(offsets(1..6), 0, at(5), false);
        worker.interrupted();
        assert!(matches!(worker.next(), Step::Rest(_)));
        worker.rested();
        assert_eq!(worker.next(), Step::Reload);
        // The commit whose answer was lost had been made.
        worker.reloaded(to(5));
        assert_eq!(worker.next(), Step::Read(at(5)));
    }

    #[test]
    fn events_of_others_move_the_progress_now_and_then() {
        let mut worker = worker(FailurePolicy::stop());
        worker.read(vec![], PASSED_A_SAVE - 1, at(500), true);
        assert_eq!(worker.next(), Step::Read(at(500)));
        worker.read(vec![], 1, at(600), true);
        assert_eq!(worker.next(), Step::Save { to: to(600) });
        worker.saved(to(600));
        assert_eq!(worker.next(), Step::Read(at(600)));
    }

    /// What happens to a step.
    #[derive(Debug, Clone, Copy)]
    enum Fate {
        Done,
        Fails,
        /// The commit was made, its answer lost.
        LostAnswer,
        NotDone,
    }

    proptest! {
        /// A view that is changed with the progress gets each event once, whatever fails and whichever answers are lost; bad ones are
        /// dead letters.
        #[test]
        fn every_event_is_projected_once_or_a_dead_letter(
            bad in prop::collection::btree_set(1_u64..40, 0..4),
            fates in prop::collection::vec(prop_oneof![
                6 => Just(Fate::Done), 1 => Just(Fate::Fails), 1 => Just(Fate::LostAnswer), 1 => Just(Fate::NotDone)
            ], 300),
            page in 1_usize..9,
        ) {
            let mut worker = worker(FailurePolicy::skip().retries(2));
            let (mut stored, mut view, mut letters) = (worker.progress().clone(), Vec::new(), Vec::new());
            let mut open = Vec::new();
            let mut fates = fates.into_iter().chain(std::iter::repeat(Fate::Done));
            for _ in 0..2_000 {
                match worker.next() {
                    Step::Read(after) => {
                        open = (after.minor + 1..=40).take(page).collect::<Vec<_>>();
                        let end = open.last().copied().unwrap_or(40);
                        worker.read(open.iter().copied().map(at).collect(), 0, at(end), open.len() == page);
                    }
                    Step::Apply { units, to } => {
                        let fate = fates.next().unwrap();
                        let found_bad = open[units.clone()].iter().position(|event| bad.contains(event));
                        match fate {
                            Fate::Done | Fate::LostAnswer if found_bad.is_none() => {
                                view.extend_from_slice(&open[units.clone()]);
                                stored = to.clone();
                                if matches!(fate, Fate::Done) {
                                    worker.applied(units.end, to);
                                } else {
                                    worker.interrupted();
                                }
                            }
                            Fate::NotDone => worker.interrupted(),
                            _ if found_bad.is_some() => {
                                worker.failed(found_bad.map(|n| units.start + n), "bad".into());
                            }
                            // A failure that passes must not make a dead letter of a good event in this model.
                            _ => worker.interrupted(),
                        }
                    }
                    Step::Skip { unit, to, .. } => {
                        let lost = matches!(fates.next().unwrap(), Fate::LostAnswer);
                        letters.push(open[unit]);
                        stored = to.clone();
                        if lost { worker.interrupted() } else { worker.applied(unit + 1, to) }
                    }
                    Step::Save { to } => { stored = to.clone(); worker.saved(to) }
                    Step::Rest(_) => worker.rested(),
                    Step::Reload => worker.reloaded(stored.clone()),
                    Step::Idle => break,
                    Step::End(error) => panic!("{error}"),
                }
            }
            prop_assert!(worker.is_idle(), "it came to the end");
            prop_assert_eq!(&letters, &bad.iter().copied().collect::<Vec<_>>());
            let good: Vec<_> = (1..=40).filter(|event| !bad.contains(event)).collect();
            prop_assert_eq!(view, good);
        }
    }
}
