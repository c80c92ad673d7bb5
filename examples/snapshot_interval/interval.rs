use std::time::Duration;

/// What one thing costs on this machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Costs {
    /// Waking an entity that has no events.
    pub(crate) wake: Duration,
    /// Replaying one event.
    pub(crate) replay: Duration,
    /// Storing one event, when many are stored at a time.
    pub(crate) store: Duration,
    /// Encoding and saving one snapshot.
    pub(crate) save: Duration,
    /// Loading and decoding one snapshot.
    pub(crate) load: Duration,
}

/// What is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish {
    /// An entity answers within this time after it was asleep.
    pub(crate) recovery: Duration,
    /// Snapshots cost at most this part of what storing the events costs.
    pub(crate) share: f64,
    /// How many events an entity stores between two recoveries.
    pub(crate) events_a_recovery: f64,
}

/// After how many events a snapshot is worth its cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interval {
    /// More, and recovery takes longer than is wanted; 0: it does so with any number.
    pub(crate) at_most: u64,
    /// Fewer, and snapshots cost more than is wanted.
    pub(crate) at_least: u64,
    /// Saving and replaying together cost least.
    pub(crate) cheapest: u64,
}

impl Interval {
    /// See docs/guide/tuning.md, which has the same three lines.
    pub(crate) fn of(costs: &Costs, wish: &Wish) -> Self {
        let left = wish.recovery.saturating_sub(costs.wake + costs.load).as_secs_f64();
        let (replay, store, save) = (seconds(costs.replay), seconds(costs.store), costs.save.as_secs_f64());
        Self {
            at_most: whole(left / replay),
            at_least: whole((save / (wish.share * store)).ceil()),
            cheapest: whole((2.0 * wish.events_a_recovery * save / replay).sqrt()),
        }
    }

    /// The cheapest within the bounds; where they contradict each other, the recovery is kept short.
    pub(crate) fn advice(&self) -> u64 {
        self.cheapest.max(self.at_least).min(self.at_most).max(1)
    }
}

/// A cost that is too small to measure is not nothing.
fn seconds(cost: Duration) -> f64 {
    cost.as_secs_f64().max(1e-9)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, which is meant")]
fn whole(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSTS: Costs = Costs {
        wake: Duration::from_millis(1),
        replay: Duration::from_micros(2),
        store: Duration::from_micros(10),
        save: Duration::from_micros(400),
        load: Duration::from_millis(1),
    };
    const WISH: Wish = Wish { recovery: Duration::from_millis(10), share: 0.05, events_a_recovery: 10_000.0 };

    #[test]
    fn each_bound_is_what_its_line_says() {
        // (10 - 1 - 1) ms / 2 µs; 400 µs / (0.05 * 10 µs); sqrt(2 * 10,000 * 400 µs / 2 µs)
        assert_eq!(Interval::of(&COSTS, &WISH), Interval { at_most: 4_000, at_least: 800, cheapest: 2_000 });
        assert_eq!(Interval::of(&COSTS, &WISH).advice(), 2_000);
    }

    #[test]
    fn a_short_recovery_goes_before_cheap_writes() {
        let wish = Wish { recovery: Duration::from_micros(2_100), ..WISH };
        let interval = Interval::of(&COSTS, &wish);
        assert_eq!((interval.at_most, interval.advice()), (50, 50));
    }

    #[test]
    fn a_wish_that_cannot_be_met_is_told_by_a_zero() {
        let wish = Wish { recovery: Duration::from_millis(1), ..WISH };
        let interval = Interval::of(&COSTS, &wish);
        assert_eq!((interval.at_most, interval.advice()), (0, 1));
    }
}
