use std::time::Duration;

use tokio::time::Instant;

use crate::plain::Backoff;

/// The state machine of a breaker: no clock, no chance of its own.
#[derive(Debug)]
pub(super) struct Breaker {
    settings: Settings,
    pub(super) state: State,
    /// Counts changes of state: a call that was let through in an earlier one says nothing about this one.
    period: u64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) max_failures: u32,
    pub(super) call_timeout: Duration,
    pub(super) reset: Backoff,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Closed { failures: u32 },
    Open { until: Instant, times: u32 },
    HalfOpen { trial: bool, times: u32 },
}

/// Lets one call through.
#[derive(Debug)]
pub(super) struct Pass {
    period: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Succeeded,
    Failed,
    Abandoned,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    Opened { pause: Duration },
    Closed,
}

impl Breaker {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, state: State::Closed { failures: 0 }, period: 0 }
    }

    /// `Err`: not now; when to come back.
    pub(super) fn enter(&mut self, now: Instant) -> Result<Pass, Duration> {
        match self.state {
            State::Closed { .. } => {}
            State::Open { until, .. } if now < until => return Err(until - now),
            State::Open { times, .. } => self.turn(State::HalfOpen { trial: true, times }),
            State::HalfOpen { trial: true, .. } => return Err(Duration::ZERO),
            State::HalfOpen { trial: false, times } => self.state = State::HalfOpen { trial: true, times },
        }
        Ok(Pass { period: self.period })
    }

    pub(super) fn leave(
        &mut self,
        pass: Pass,
        outcome: Outcome,
        now: Instant,
        chance: f64,
    ) -> Option<Change> {
        if pass.period != self.period {
            return None;
        }
        match (self.state, outcome) {
            (State::Closed { .. }, Outcome::Succeeded) => self.state = State::Closed { failures: 0 },
            (State::Closed { failures }, Outcome::Failed) if failures + 1 >= self.settings.max_failures => {
                return Some(self.open(0, now, chance));
            }
            (State::Closed { failures }, Outcome::Failed) => {
                self.state = State::Closed { failures: failures + 1 };
            }
            (State::HalfOpen { .. }, Outcome::Succeeded) => {
                self.turn(State::Closed { failures: 0 });
                return Some(Change::Closed);
            }
            (State::HalfOpen { times, .. }, Outcome::Failed) => {
                return Some(self.open(times.saturating_add(1), now, chance));
            }
            (State::HalfOpen { times, .. }, Outcome::Abandoned) => {
                self.state = State::HalfOpen { trial: false, times };
            }
            (State::Closed { .. }, Outcome::Abandoned) => {}
            // No call is let through while it is open, so none of this period ends.
            (State::Open { .. }, _) => {}
        }
        None
    }

    fn open(&mut self, times: u32, now: Instant, chance: f64) -> Change {
        let pause = self.settings.reset.pause(times, chance);
        self.turn(State::Open { until: now + pause, times });
        Change::Opened { pause }
    }

    fn turn(&mut self, state: State) {
        self.state = state;
        self.period += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEC: Duration = Duration::from_secs(1);

    fn breaker() -> (Breaker, Instant) {
        let reset = Backoff::new(SEC, 4 * SEC).jitter(0.0);
        let settings = Settings { max_failures: 2, call_timeout: SEC, reset };
        (Breaker::new(settings), Instant::now())
    }

    fn fail(breaker: &mut Breaker, now: Instant) -> Option<Change> {
        let pass = breaker.enter(now).unwrap();
        breaker.leave(pass, Outcome::Failed, now, 0.0)
    }

    fn opened(now: Instant, breaker: &mut Breaker) {
        fail(breaker, now);
        assert_eq!(fail(breaker, now), Some(Change::Opened { pause: SEC }));
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_does_not() {
        let (mut breaker, now) = breaker();
        for _ in 0..5 {
            assert_eq!(fail(&mut breaker, now), None);
            let pass = breaker.enter(now).unwrap();
            assert_eq!(breaker.leave(pass, Outcome::Succeeded, now, 0.0), None);
        }
        opened(now, &mut breaker);
        assert_eq!(breaker.enter(now).unwrap_err(), SEC);
    }

    #[test]
    fn half_open_lets_one_through_which_decides() {
        let (mut breaker, now) = breaker();
        opened(now, &mut breaker);
        let trial = breaker.enter(now + SEC).unwrap();
        assert_eq!(breaker.enter(now + SEC).unwrap_err(), Duration::ZERO);
        assert_eq!(breaker.leave(trial, Outcome::Succeeded, now + SEC, 0.0), Some(Change::Closed));
        assert_eq!(breaker.state, State::Closed { failures: 0 });
    }

    #[test]
    fn pauses_grow_while_trials_fail_and_are_short_again_after_a_success() {
        let (mut breaker, mut now) = breaker();
        opened(now, &mut breaker);
        for pause in [2, 4, 4] {
            now += 10 * SEC;
            assert_eq!(fail(&mut breaker, now), Some(Change::Opened { pause: pause * SEC }));
        }
        now += 10 * SEC;
        let trial = breaker.enter(now).unwrap();
        breaker.leave(trial, Outcome::Succeeded, now, 0.0);
        opened(now, &mut breaker);
    }

    #[test]
    fn a_trial_that_is_abandoned_makes_way_for_another() {
        let (mut breaker, now) = breaker();
        opened(now, &mut breaker);
        let trial = breaker.enter(now + SEC).unwrap();
        assert_eq!(breaker.leave(trial, Outcome::Abandoned, now + SEC, 0.0), None);
        assert!(breaker.enter(now + SEC).is_ok());
    }

    #[test]
    fn a_call_of_an_earlier_period_decides_nothing() {
        let (mut breaker, now) = breaker();
        let slow = [breaker.enter(now).unwrap(), breaker.enter(now).unwrap()];
        opened(now, &mut breaker);
        let trial = breaker.enter(now + SEC).unwrap();
        for pass in slow {
            assert_eq!(breaker.leave(pass, Outcome::Failed, now + SEC, 0.0), None);
        }
        assert_eq!(breaker.leave(trial, Outcome::Succeeded, now + SEC, 0.0), Some(Change::Closed));
    }

    const STATES: [&str; 5] = ["Closed", "Open", "Open, pause over", "HalfOpen, trial under way", "HalfOpen"];

    /// A breaker in this state, with a call of its period where there is one, and one of an earlier period where there was one.
    fn at(state: &str) -> (Breaker, Option<Pass>, Option<Pass>, Instant) {
        let (mut breaker, mut now) = breaker();
        let mut pass = breaker.enter(now).ok();
        let mut earlier = None;
        if state != "Closed" {
            earlier = pass.take();
            opened(now, &mut breaker);
        }
        if state != "Open" {
            now += SEC;
        }
        if state.starts_with("HalfOpen") {
            pass = breaker.enter(now).ok();
        }
        if state == "HalfOpen" {
            breaker.leave(pass.take().unwrap(), Outcome::Abandoned, now, 0.0);
        }
        (breaker, pass, earlier, now)
    }

    fn name(breaker: &Breaker, now: Instant) -> &'static str {
        match breaker.state {
            State::Closed { .. } => "Closed",
            State::Open { until, .. } if now < until => "Open",
            State::Open { .. } => "Open, pause over",
            State::HalfOpen { trial: true, .. } => "HalfOpen, trial under way",
            State::HalfOpen { trial: false, .. } => "HalfOpen",
        }
    }

    #[test]
    fn each_input_leads_where_the_table_says_from_each_state() {
        // A call comes; the call under way succeeds, fails, is abandoned; a call of an earlier period fails.
        // `=`: it stays. `no`: refused, and it stays. `-`: impossible, no such call can be under way.
        const TABLE: [[&str; 5]; 5] = [
            ["=", "=", "Open", "=", "-"],
            ["no", "-", "-", "-", "="],
            ["HalfOpen, trial under way", "-", "-", "-", "="],
            ["no", "Closed", "Open", "HalfOpen", "="],
            ["HalfOpen, trial under way", "-", "-", "-", "="],
        ];
        for (state, row) in STATES.iter().zip(TABLE) {
            for (input, expected) in
                ["call", "succeeds", "fails", "abandoned", "earlier fails"].iter().zip(row)
            {
                let (mut breaker, pass, earlier, now) = at(state);
                assert_eq!(name(&breaker, now), *state);
                if (*state, *input) == ("Closed", "fails") {
                    // The second in a row is one too many.
                    assert_eq!(fail(&mut breaker, now), None);
                }
                let outcome = match *input {
                    "succeeds" => Some(Outcome::Succeeded),
                    "fails" | "earlier fails" => Some(Outcome::Failed),
                    "abandoned" => Some(Outcome::Abandoned),
                    _ => None,
                };
                let call = if *input == "earlier fails" { earlier } else { pass };
                let came = match (outcome, call) {
                    (None, _) => breaker.enter(now).map(|_| ()).map_err(|_| "no"),
                    (Some(_), None) => Err("-"),
                    (Some(outcome), Some(call)) => {
                        breaker.leave(call, outcome, now, 0.0);
                        Ok(())
                    }
                };
                let to = name(&breaker, now);
                let found = came.map_or_else(|why| why, |()| if to == *state { "=" } else { to });
                println!("{state:25} {input:13} {found}");
                assert_eq!(found, expected, "{state}, {input}");
                assert!(came.is_ok() || to == *state);
            }
        }
    }
}
