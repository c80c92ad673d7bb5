//! The life of one actor as a state machine: starting, running, failing, restarting, draining, stopping.
//!
//! No clock, randomness, task or mailbox: an [`Input`] goes in, [`Action`]s come out, a driver performs them in order.
//!
//! ```text
//!            ┌────────────── pause over ──────────────┐
//!            ▼                                        │
//! begin ─→ Starting ─→ Running ─→ (fails) Clearing ─→ Resting
//!            │            │                │  ▲
//!            │            └─ stop, drained ┼──┘      Clearing: children stop
//!            └──── fails ─────────────────▲│         Resting:  waits to be restarted
//!                                          └─→ Stopped
//! ```
//!
//! `draining` goes along through restarts: an actor that fails while it drains is restarted and drains on.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::supervision::{Directive, Supervisor};
use super::{ActorFailure, SupervisorStrategy, TerminationReason};

#[derive(Debug)]
pub(crate) struct Lifecycle {
    phase: Phase,
    /// Told to stop once all messages that wait are handled.
    draining: bool,
    strategy: Arc<SupervisorStrategy>,
    /// From the first failure on: most actors have none.
    supervisor: Option<Box<Supervisor<Instant>>>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Phase {
    /// A new instance gets its first signal.
    Starting,
    /// Takes messages.
    Running,
    /// Waits until its children have stopped.
    Clearing(Then),
    /// Waits for its restart.
    Resting,
    Stopped,
}

/// What comes after the children are gone.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Then {
    Restart { after: Duration },
    Stop(Box<TerminationReason>),
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Input {
    /// Answer to [`Action::Start`].
    Started,
    /// Factory, handler or a signal failed, or a child escalated. `chance` from 0.0 to 1.0.
    Failed { failure: ActorFailure, now: Instant, chance: f64 },
    /// Stop when the messages that wait are handled.
    Drain,
    /// Stop after the message that is being handled.
    Stop,
    /// While it drains: no message waits.
    Drained,
    /// No child is left.
    ChildrenGone,
    /// The pause of [`Action::Rest`] is over.
    Rested,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// Make an instance and signal it [`Started`](super::Signal::Started).
    Start,
    /// Signal [`PreRestart`](super::Signal::PreRestart) to the instance and drop it, its timers, watches and subscriptions.
    DiscardForRestart,
    /// Signal [`PostStop`](super::Signal::PostStop) to the instance, if there is one, and drop it.
    DiscardForStop,
    /// Have all children stop, and say so when none is left.
    StopChildren,
    /// Say when this time is over.
    Rest(Duration),
    /// Tell operators what supervision decided.
    Report { failure: ActorFailure, directive: Directive },
    /// It is over.
    Finish(TerminationReason),
}

impl Lifecycle {
    /// Begins with [`Action::Start`].
    pub(crate) fn begin(strategy: impl Into<Arc<SupervisorStrategy>>) -> (Self, Action) {
        let strategy = strategy.into();
        let lifecycle = Self { phase: Phase::Starting, draining: false, strategy, supervisor: None };
        (lifecycle, Action::Start)
    }

    pub(crate) fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Whether it stops as soon as no message waits.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining
    }

    /// Takes in what happened, says what is to be done, in this order.
    pub(crate) fn step(&mut self, input: Input) -> Vec<Action> {
        match (&mut self.phase, input) {
            (Phase::Starting, Input::Started) => {
                self.phase = Phase::Running;
                Vec::new()
            }
            (Phase::Starting | Phase::Running, Input::Failed { failure, now, chance }) => {
                self.failed(failure, now, chance)
            }
            (Phase::Stopped, _) => Vec::new(),
            (_, Input::Drain) => {
                self.draining = true;
                Vec::new()
            }
            (Phase::Running, Input::Drained) if self.draining => self.clear(TerminationReason::Stopped),
            (Phase::Resting, Input::Drained) if self.draining => self.finish(TerminationReason::Stopped),
            (Phase::Starting | Phase::Running, Input::Stop) => self.clear(TerminationReason::Stopped),
            (Phase::Resting, Input::Stop) => self.finish(TerminationReason::Stopped),
            (Phase::Clearing(then), Input::Stop) => {
                // A reason to stop that is there already says more.
                if matches!(then, Then::Restart { .. }) {
                    *then = Then::Stop(Box::new(TerminationReason::Stopped));
                }
                Vec::new()
            }
            (Phase::Clearing(Then::Restart { after }), Input::ChildrenGone) => {
                let after = *after;
                self.phase = Phase::Resting;
                vec![Action::Rest(after)]
            }
            (Phase::Clearing(Then::Stop(reason)), Input::ChildrenGone) => {
                let reason = TerminationReason::clone(reason);
                self.finish(reason)
            }
            (Phase::Resting, Input::Rested) => {
                self.phase = Phase::Starting;
                vec![Action::Start]
            }
            // What fails on the way out changes nothing any more, and what comes late is of a phase that is over.
            _ => Vec::new(),
        }
    }

    fn failed(&mut self, failure: ActorFailure, now: Instant, chance: f64) -> Vec<Action> {
        let strategy = &self.strategy;
        let new = || Box::new(Supervisor::new(SupervisorStrategy::clone(strategy)));
        let directive = self.supervisor.get_or_insert_with(new).failed(now, chance);
        let mut actions = vec![Action::Report { failure: failure.clone(), directive }];
        match directive {
            Directive::Restart { after } => {
                self.phase = Phase::Clearing(Then::Restart { after });
                actions.extend([Action::DiscardForRestart, Action::StopChildren]);
            }
            Directive::Stop => actions.extend(self.clear(TerminationReason::Failed(failure))),
            Directive::Escalate => actions.extend(self.clear(TerminationReason::Escalated(failure))),
        }
        actions
    }

    fn clear(&mut self, reason: TerminationReason) -> Vec<Action> {
        self.phase = Phase::Clearing(Then::Stop(Box::new(reason)));
        vec![Action::StopChildren]
    }

    fn finish(&mut self, reason: TerminationReason) -> Vec<Action> {
        self.phase = Phase::Stopped;
        vec![Action::DiscardForStop, Action::Finish(reason)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plain::Backoff;

    const PAUSE: Duration = Duration::from_secs(1);

    fn failed() -> Input {
        let failure = ActorFailure::Panicked { message: "x".into() };
        Input::Failed { failure, now: Instant::now(), chance: 0.0 }
    }

    /// A lifecycle that was brought into a phase.
    fn at(phase: &str, strategy: SupervisorStrategy) -> Lifecycle {
        let (mut lifecycle, _) = Lifecycle::begin(strategy);
        let inputs: &[Input] = match phase {
            "Starting" => &[],
            "Running" => &[Input::Started],
            "Running, draining" => &[Input::Started, Input::Drain],
            "Clearing to restart" => &[Input::Started, failed()],
            "Clearing to stop" => &[Input::Started, Input::Stop],
            "Resting" => &[Input::Started, failed(), Input::ChildrenGone],
            "Resting, draining" => &[Input::Started, failed(), Input::ChildrenGone, Input::Drain],
            "Stopped" => &[Input::Started, Input::Stop, Input::ChildrenGone],
            other => panic!("{other}"),
        };
        for input in inputs {
            lifecycle.step(input.clone());
        }
        lifecycle
    }

    fn name(lifecycle: &Lifecycle) -> String {
        let phase = match &lifecycle.phase {
            Phase::Clearing(Then::Restart { .. }) => "Clearing to restart",
            Phase::Clearing(Then::Stop(_)) => "Clearing to stop",
            Phase::Starting => "Starting",
            Phase::Running => "Running",
            Phase::Resting => "Resting",
            Phase::Stopped => "Stopped",
        };
        let open = !matches!(lifecycle.phase, Phase::Stopped | Phase::Clearing(Then::Stop(_)));
        if lifecycle.draining && open { format!("{phase}, draining") } else { phase.to_owned() }
    }

    fn restart() -> SupervisorStrategy {
        SupervisorStrategy::restart().backoff(Backoff::new(PAUSE, PAUSE).jitter(0.0)).into()
    }

    const PHASES: [&str; 8] = [
        "Starting",
        "Running",
        "Running, draining",
        "Clearing to restart",
        "Clearing to stop",
        "Resting",
        "Resting, draining",
        "Stopped",
    ];

    fn inputs() -> [(&'static str, Input); 7] {
        [
            ("Started", Input::Started),
            ("Failed", failed()),
            ("Drain", Input::Drain),
            ("Stop", Input::Stop),
            ("Drained", Input::Drained),
            ("ChildrenGone", Input::ChildrenGone),
            ("Rested", Input::Rested),
        ]
    }

    /// Where each input leads from each phase; `-`: the driver never gives it there, and it changes nothing.
    const TABLE: [[&str; 7]; 8] = [
        // Started, Failed, Drain, Stop, Drained, ChildrenGone, Rested
        ["Running", "Clearing to restart", "Starting, draining", "Clearing to stop", "-", "-", "-"],
        ["-", "Clearing to restart", "Running, draining", "Clearing to stop", "-", "-", "-"],
        ["-", "Clearing to restart, draining", "=", "Clearing to stop", "Clearing to stop", "-", "-"],
        ["-", "=", "Clearing to restart, draining", "Clearing to stop", "-", "Resting", "-"],
        ["-", "=", "=", "=", "-", "Stopped", "-"],
        ["-", "-", "Resting, draining", "Stopped", "-", "-", "Starting"],
        ["-", "-", "=", "Stopped", "Stopped", "-", "Starting, draining"],
        ["-", "-", "=", "=", "-", "-", "-"],
    ];

    #[test]
    fn each_input_leads_where_the_table_says_from_each_phase() {
        for (phase, row) in PHASES.iter().zip(TABLE) {
            for ((input_name, input), expected) in inputs().into_iter().zip(row) {
                let mut lifecycle = at(phase, restart());
                assert_eq!(name(&lifecycle), *phase);
                let actions = lifecycle.step(input);
                println!("{phase:20} {input_name:13} -> {:30} {actions:?}", name(&lifecycle));
                if matches!(expected, "=" | "-") {
                    assert_eq!(name(&lifecycle), *phase, "{input_name}");
                    assert_eq!(actions, [], "{phase}, {input_name}");
                } else {
                    assert_eq!(name(&lifecycle), expected, "{phase}, {input_name}");
                }
            }
        }
    }

    #[test]
    fn a_failure_discards_the_instance_and_stops_the_children_before_the_pause() {
        let mut lifecycle = at("Running", restart());
        let actions = lifecycle.step(failed());
        assert!(
            matches!(&actions[..], [Action::Report { .. }, Action::DiscardForRestart, Action::StopChildren]),
            "{actions:?}"
        );
        assert_eq!(lifecycle.step(Input::ChildrenGone), [Action::Rest(PAUSE)]);
        assert_eq!(lifecycle.step(Input::Rested), [Action::Start]);
    }

    #[test]
    fn a_stop_lets_the_children_go_first() {
        let mut lifecycle = at("Running, draining", restart());
        assert_eq!(lifecycle.step(Input::Drained), [Action::StopChildren]);
        let end = lifecycle.step(Input::ChildrenGone);
        assert_eq!(end, [Action::DiscardForStop, Action::Finish(TerminationReason::Stopped)]);
    }

    #[test]
    fn the_reason_of_the_end_is_the_failure_that_led_to_it() {
        for (strategy, escalates) in [(SupervisorStrategy::Stop, false), (SupervisorStrategy::Escalate, true)]
        {
            let mut lifecycle = at("Running", strategy);
            lifecycle.step(failed());
            lifecycle.step(Input::Stop);
            let end = lifecycle.step(Input::ChildrenGone);
            let Some(Action::Finish(reason)) = end.last() else { panic!("{end:?}") };
            match reason {
                TerminationReason::Escalated(_) => assert!(escalates),
                TerminationReason::Failed(_) => assert!(!escalates),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn an_instance_that_never_starts_is_given_up_at_the_limit() {
        let strategy: SupervisorStrategy =
            SupervisorStrategy::restart().limit(3, Duration::from_secs(60)).into();
        let (mut lifecycle, _) = Lifecycle::begin(strategy);
        let mut starts = 1;
        loop {
            lifecycle.step(failed());
            lifecycle.step(Input::ChildrenGone);
            if *lifecycle.phase() == Phase::Stopped {
                break;
            }
            assert_eq!(lifecycle.step(Input::Rested), [Action::Start]);
            starts += 1;
        }
        assert_eq!(starts, 4);
    }
}
