use std::fmt;
use std::time::Duration;

use super::{Phase, Reason, Signal};

/// What became of a shutdown.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Why.
    pub reason: Reason,
    /// All phases that had tasks, in order; also those that did not begin.
    pub phases: Vec<PhaseReport>,
    /// From the beginning to the end.
    pub took: Duration,
    /// A second signal broke it off.
    pub cut_short: Option<Signal>,
}

/// What became of a phase.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PhaseReport {
    /// Which.
    pub phase: Phase,
    /// How long it took.
    pub took: Duration,
    /// How long it might have taken.
    pub deadline: Duration,
    /// Its tasks, in the order in which they were registered.
    pub tasks: Vec<TaskReport>,
}

/// What became of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskReport {
    /// As it was registered.
    pub name: String,
    /// How long it took, or had.
    pub took: Duration,
    /// How it ended.
    pub outcome: TaskOutcome,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskOutcome {
    /// It is done.
    Done,
    /// It failed, and said why.
    Failed(String),
    /// It panicked.
    Panicked(String),
    /// It was not done at its deadline, or when a second signal came.
    Unfinished,
    /// A second signal came before its phase began.
    NotBegun,
}

impl Report {
    /// Everything was done, in time and without a failure.
    pub fn is_complete(&self) -> bool {
        self.cut_short.is_none() && self.phases.iter().all(PhaseReport::is_complete)
    }

    /// With which code the process exits: that of a [second signal](Signal::exit_code); else [that of the reason](Reason::exit_code); but 1
    /// when that is 0 and something did not finish.
    pub fn exit_code(&self) -> u8 {
        match (self.cut_short, self.reason.exit_code()) {
            (Some(signal), _) => signal.exit_code(),
            (None, 0) if !self.is_complete() => 1,
            (None, code) => code,
        }
    }

    /// The tasks that are not done, each with its phase.
    pub fn unfinished(&self) -> impl Iterator<Item = (Phase, &TaskReport)> {
        let of = |phase: &'_ PhaseReport| phase.phase;
        self.phases
            .iter()
            .flat_map(move |phase| phase.tasks.iter().map(move |task| (of(phase), task)))
            .filter(|(_, task)| task.outcome != TaskOutcome::Done)
    }
}

impl PhaseReport {
    /// All of its tasks are done.
    pub fn is_complete(&self) -> bool {
        self.tasks.iter().all(|task| task.outcome == TaskOutcome::Done)
    }
}

/// A line for each phase:
///
/// ```text
/// SIGTERM, 7.020 s
///   drain 7.000 s of 7 s: http unfinished after 7.000 s
///   flush 0.004 s of 3 s: node
/// ```
impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}, {:.3} s", self.reason, self.took.as_secs_f64())?;
        if let Some(signal) = self.cut_short {
            write!(formatter, ", broken off by {signal}")?;
        }
        self.phases.iter().try_for_each(|phase| write!(formatter, "\n  {phase}"))
    }
}

impl fmt::Display for PhaseReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {:.3} s of {:?}:", self.phase, self.took.as_secs_f64(), self.deadline)?;
        for (index, task) in self.tasks.iter().enumerate() {
            write!(formatter, "{} {task}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl fmt::Display for TaskReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, took, outcome } = self;
        match outcome {
            TaskOutcome::Done => formatter.write_str(name),
            TaskOutcome::Failed(why) => write!(formatter, "{name} failed: {why}"),
            TaskOutcome::Panicked(why) => write!(formatter, "{name} panicked: {why}"),
            TaskOutcome::Unfinished => {
                write!(formatter, "{name} unfinished after {:.3} s", took.as_secs_f64())
            }
            TaskOutcome::NotBegun => write!(formatter, "{name} not begun"),
        }
    }
}
