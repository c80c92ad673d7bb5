//! Timers of one actor as a state machine: no clock, no task. They end with the actor because they are part of it.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::environment::FOR_EVER;

/// What tells the timers of an actor apart: starting one under a key that is in use replaces it.
pub type TimerKey = Cow<'static, str>;

/// Makes the messages of a periodic timer.
pub(crate) type Make<M> = Box<dyn FnMut() -> M + Send>;

pub(crate) struct Timers<M> {
    by_key: HashMap<TimerKey, Timer<M>>,
    /// Keys by when they are due; the number tells timers of one moment apart, in the order in which they were started.
    by_time: BTreeMap<(Instant, u64), TimerKey>,
    started: u64,
}

struct Timer<M> {
    due: (Instant, u64),
    kind: Kind<M>,
}

enum Kind<M> {
    Single(M),
    /// The next one is due this long after the last was handed over.
    FixedDelay(Duration, Make<M>),
    /// Due at multiples of the period; those that were missed are skipped.
    FixedRate(Duration, Make<M>),
}

impl<M> Timers<M> {
    pub(crate) fn new() -> Self {
        Self { by_key: HashMap::new(), by_time: BTreeMap::new(), started: 0 }
    }

    pub(crate) fn single(&mut self, now: Instant, key: TimerKey, after: Duration, message: M) {
        self.insert(key, now + after.min(FOR_EVER), Kind::Single(message));
    }

    pub(crate) fn fixed_delay(&mut self, now: Instant, key: TimerKey, every: Duration, make: Make<M>) {
        let every = every.clamp(SHORTEST, FOR_EVER);
        self.insert(key, now + every, Kind::FixedDelay(every, make));
    }

    pub(crate) fn fixed_rate(&mut self, now: Instant, key: TimerKey, every: Duration, make: Make<M>) {
        let every = every.clamp(SHORTEST, FOR_EVER);
        self.insert(key, now + every, Kind::FixedRate(every, make));
    }

    /// `false`: there was none.
    pub(crate) fn cancel(&mut self, key: &str) -> bool {
        match self.by_key.remove(key) {
            Some(timer) => self.by_time.remove(&timer.due).is_some(),
            None => false,
        }
    }

    pub(crate) fn is_active(&self, key: &str) -> bool {
        self.by_key.contains_key(key)
    }

    pub(crate) fn clear(&mut self) {
        self.by_key.clear();
        self.by_time.clear();
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_time.is_empty()
    }

    /// The key of the one that is due next.
    pub(crate) fn next_key(&self) -> Option<&TimerKey> {
        self.by_time.first_key_value().map(|(_, key)| key)
    }

    /// When the next one is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.by_time.first_key_value().map(|((at, _), _)| *at)
    }

    /// The message of the timer that is due longest, if it was due at `until`.
    pub(crate) fn due(&mut self, until: Instant, now: Instant) -> Option<M> {
        let (at, _) = *self.by_time.first_key_value()?.0;
        if at > until {
            return None;
        }
        let (_, key) = self.by_time.pop_first()?;
        // Both maps hold the same timers.
        let timer = self.by_key.remove(&key)?;
        match timer.kind {
            Kind::Single(message) => Some(message),
            Kind::FixedDelay(every, mut make) => {
                let message = make();
                self.insert(key, now + every, Kind::FixedDelay(every, make));
                Some(message)
            }
            Kind::FixedRate(every, mut make) => {
                let message = make();
                let missed = now.saturating_duration_since(at).as_nanos() / every.as_nanos();
                let periods = u32::try_from(missed).unwrap_or(u32::MAX - 1) + 1;
                self.insert(key, at + every.saturating_mul(periods), Kind::FixedRate(every, make));
                Some(message)
            }
        }
    }

    fn insert(&mut self, key: TimerKey, at: Instant, kind: Kind<M>) {
        self.cancel(&key);
        self.started += 1;
        let due = (at, self.started);
        self.by_time.insert(due, key.clone());
        self.by_key.insert(key, Timer { due, kind });
    }
}

impl<M> fmt::Debug for Timers<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.by_time.values()).finish()
    }
}

/// Of a period, so that no timer keeps its actor from its mailbox.
const SHORTEST: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    const SEC: Duration = Duration::from_secs(1);

    fn due<M>(timers: &mut Timers<M>, now: Instant) -> Option<M> {
        timers.due(now, now)
    }

    #[test]
    fn a_single_timer_comes_once_and_not_too_soon() {
        let (mut timers, now) = (Timers::new(), Instant::now());
        timers.single(now, "a".into(), SEC, 1);
        assert_eq!(due(&mut timers, now), None);
        assert_eq!(timers.next(), Some(now + SEC));
        assert_eq!(due(&mut timers, now + SEC), Some(1));
        assert_eq!((due(&mut timers, now + 9 * SEC), timers.next()), (None, None));
    }

    #[test]
    fn timers_come_in_order_of_time_then_of_start() {
        let (mut timers, now) = (Timers::new(), Instant::now());
        timers.single(now, "late".into(), 2 * SEC, 3);
        timers.single(now, "first".into(), SEC, 1);
        timers.single(now, "second".into(), SEC, 2);
        let all: Vec<_> = std::iter::from_fn(|| due(&mut timers, now + 5 * SEC)).collect();
        assert_eq!(all, [1, 2, 3]);
    }

    #[test]
    fn a_key_in_use_is_replaced_and_a_cancelled_timer_never_comes() {
        let (mut timers, now) = (Timers::new(), Instant::now());
        timers.single(now, "a".into(), SEC, "old");
        timers.single(now, "a".into(), 2 * SEC, "new");
        assert_eq!(due(&mut timers, now + SEC), None);
        assert!(timers.is_active("a"));
        assert!(timers.cancel("a") && !timers.cancel("a"));
        assert_eq!(due(&mut timers, now + 9 * SEC), None);
    }

    #[test]
    fn a_fixed_delay_counts_from_when_it_came_a_fixed_rate_from_the_start() {
        let (mut timers, now) = (Timers::new(), Instant::now());
        timers.fixed_delay(now, "delay".into(), 2 * SEC, Box::new(|| "delay"));
        assert_eq!(due(&mut timers, now + 3 * SEC), Some("delay"));
        assert_eq!(timers.next(), Some(now + 5 * SEC));
        timers.clear();
        timers.fixed_rate(now, "rate".into(), 2 * SEC, Box::new(|| "rate"));
        assert_eq!(due(&mut timers, now + 3 * SEC), Some("rate"));
        assert_eq!(timers.next(), Some(now + 4 * SEC));
        assert_eq!(due(&mut timers, now + 11 * SEC), Some("rate"), "what was missed comes once");
        assert_eq!(timers.next(), Some(now + 12 * SEC));
    }

    #[test]
    fn a_period_of_nothing_does_not_spin() {
        let (mut timers, now) = (Timers::new(), Instant::now());
        timers.fixed_rate(now, "a".into(), Duration::ZERO, Box::new(|| ()));
        assert!(due(&mut timers, now).is_none());
        assert!(due(&mut timers, now + SHORTEST).is_some());
        assert!(due(&mut timers, now + SHORTEST).is_none());
    }

    #[test]
    fn a_timer_without_end_does_not_come() {
        let (mut timers, now) = (Timers::new(), Instant::now());
        timers.single(now, "single".into(), Duration::MAX, ());
        timers.fixed_delay(now, "delay".into(), Duration::MAX, Box::new(|| ()));
        timers.fixed_rate(now, "rate".into(), Duration::MAX, Box::new(|| ()));
        assert!(["single", "delay", "rate"].iter().all(|key| timers.is_active(key)));
        assert!(due(&mut timers, now + FOR_EVER / 2).is_none());
    }

    #[test]
    fn a_timer_that_is_always_late_is_not_due_again_at_a_moment_that_has_passed() {
        let (mut timers, now) = (Timers::new(), Instant::now());
        timers.fixed_rate(now, "a".into(), SEC, Box::new(|| ()));
        let began = now + SEC;
        assert!(timers.due(began, now + 5 * SEC).is_some());
        assert!(timers.due(began, now + 9 * SEC).is_none(), "so that others get their turn");
        assert!(timers.due(now + 9 * SEC, now + 9 * SEC).is_some());
    }
}
