use std::collections::VecDeque;
use std::time::Duration;

use super::phi::milli_phi;
use crate::{DetectorSettings, Moment};

/// The answers of one node to heartbeats, and how surprising its silence is.
#[derive(Debug, Clone)]
pub(crate) struct Pulse {
    last: Moment,
    answered: bool,
    intervals: VecDeque<u32>,
    sum: u64,
    squares: u64,
}

impl Pulse {
    /// Nothing heard yet; silence counts from now.
    pub(crate) const fn new(now: Moment) -> Self {
        Self { last: now, answered: false, intervals: VecDeque::new(), sum: 0, squares: 0 }
    }

    /// An answer came.
    pub(crate) fn beat(&mut self, now: Moment, settings: &DetectorSettings) {
        if self.answered {
            // A pause that was put up with says nothing about the rhythm.
            let longest = settings.heartbeat_interval + settings.acceptable_pause;
            self.count(millis(now.since(self.last).min(longest)), settings.samples);
        }
        self.answered = true;
        self.last = now;
    }

    fn count(&mut self, interval: u64, samples: usize) {
        self.intervals.push_back(u32::try_from(interval).unwrap_or(u32::MAX));
        self.sum += interval;
        self.squares += interval * interval;
        if self.intervals.len() > samples
            && let Some(oldest) = self.intervals.pop_front()
        {
            let oldest = u64::from(oldest);
            self.sum -= oldest;
            self.squares -= oldest * oldest;
        }
    }

    /// Silence counts from now: whoever should have listened was not there.
    pub(crate) fn excuse(&mut self, now: Moment) {
        self.last = now;
    }

    /// Whether an answer came since `moment`.
    pub(crate) fn answered_since(&self, moment: Moment) -> bool {
        self.answered && self.last >= moment
    }

    /// Suspicion, in thousandths.
    pub(crate) fn milli_phi(&self, now: Moment, settings: &DetectorSettings) -> u64 {
        let count = self.intervals.len() as u64;
        let expected = millis(settings.heartbeat_interval);
        // As long as little was heard: the settings, with a quarter as deviation.
        let (mean, deviation) = if count < 3 {
            (expected, expected / 4)
        } else {
            let mean = self.sum / count;
            let variance = (self.squares / count).saturating_sub(mean * mean);
            (mean, variance.isqrt())
        };
        let pause = millis(settings.acceptable_pause);
        milli_phi(millis(now.since(self.last)), mean + pause, deviation.max(millis(settings.least_deviation)))
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    #[test]
    fn a_steady_pulse_is_missed_after_its_pause_and_not_before() {
        let settings = DetectorSettings::default();
        let mut pulse = Pulse::new(at(0));
        (1..100).for_each(|beat| pulse.beat(at(beat * 1_000), &settings));
        let phi = |silence: u64| pulse.milli_phi(at(99_000 + silence), &settings);
        assert!(phi(3_900) < 1_000, "{}", phi(3_900));
        assert!(phi(4_700) > settings.threshold_milli, "{}", phi(4_700));
    }

    #[test]
    fn an_uneven_pulse_is_waited_for_longer() {
        let settings = DetectorSettings::default();
        let (mut steady, mut uneven) = (Pulse::new(at(0)), Pulse::new(at(0)));
        for beat in 1..50 {
            steady.beat(at(beat * 1_000), &settings);
            uneven.beat(at(beat * 1_000 + beat % 2 * 900), &settings);
        }
        assert!(uneven.milli_phi(at(54_500), &settings) < steady.milli_phi(at(54_500), &settings));
    }

    #[test]
    fn who_never_answered_is_missed_too() {
        let settings = DetectorSettings::default();
        let pulse = Pulse::new(at(0));
        assert!(pulse.milli_phi(at(7_000), &settings) > settings.threshold_milli);
    }

    #[test]
    fn memory_and_sums_stay_those_of_the_last_samples() {
        let settings = DetectorSettings { samples: 10, ..DetectorSettings::default() };
        let mut pulse = Pulse::new(at(0));
        (1..1_000).for_each(|beat| pulse.beat(at(beat * beat), &settings));
        assert_eq!(pulse.intervals.len(), 10);
        assert_eq!(pulse.sum, pulse.intervals.iter().map(|interval| u64::from(*interval)).sum::<u64>());
    }
}
