use std::collections::BTreeMap;
use std::time::Duration;

use super::{Phase, PhaseReport, Reason, Report, ShutdownSettings, Signal, TaskOutcome, TaskReport};
use crate::Moment;

/// Which phase a shutdown is in, and what comes next: a state machine without clock or task.
///
/// ```text
/// idle ── reason ──→ announce … close ──→ ended
///                        └── second signal ──↗
/// ```
#[derive(Debug)]
pub(super) struct Procedure {
    settings: ShutdownSettings,
    tasks: BTreeMap<TaskId, Task>,
    next_task: u64,
    signals: u8,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TaskId(u64);

#[derive(Debug)]
struct Task {
    phase: Phase,
    name: String,
    life: Life,
}

#[derive(Debug)]
enum Life {
    Registered,
    Running { since: Moment },
    Ended { took: Duration, outcome: TaskOutcome },
}

#[derive(Debug)]
enum Stage {
    Idle,
    In(Course),
    Ended,
}

#[derive(Debug)]
struct Course {
    reason: Reason,
    begun: Moment,
    phase: Phase,
    since: Moment,
    past: Vec<PhaseReport>,
}

#[derive(Debug)]
pub(super) enum Input {
    Begin(Reason),
    /// Begins it; the second breaks it off.
    Signal(Signal),
    /// A task that was run has ended.
    Ended(TaskId, TaskOutcome),
    /// Time has passed: at [`Procedure::deadline`].
    Tick,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// It has begun.
    Begun(Reason),
    /// Run the task.
    Run(TaskId),
    /// Drop it.
    Drop(TaskId),
    /// Tell of a phase that had tasks.
    PhaseEnded(PhaseReport),
    /// It has ended.
    End(Report),
    /// A signal came when all had ended, and the process is still there.
    Exit(Signal),
}

impl Procedure {
    pub(super) fn new(settings: ShutdownSettings) -> Self {
        Self { settings, tasks: BTreeMap::new(), next_task: 0, signals: 0, stage: Stage::Idle }
    }

    /// A task of a phase that has begun is run at once, and has what is left of the phase's time.
    pub(super) fn register(
        &mut self,
        now: Moment,
        phase: Phase,
        name: String,
    ) -> Result<(TaskId, Vec<Action>), TooLate> {
        let runs = match &self.stage {
            Stage::Idle => false,
            Stage::In(course) if course.phase > phase => return Err(TooLate { task: name, phase }),
            Stage::In(course) => course.phase == phase,
            Stage::Ended => return Err(TooLate { task: name, phase }),
        };
        let id = TaskId(self.next_task);
        self.next_task += 1;
        let life = if runs { Life::Running { since: now } } else { Life::Registered };
        self.tasks.insert(id, Task { phase, name, life });
        Ok((id, if runs { vec![Action::Run(id)] } else { Vec::new() }))
    }

    /// Forgets a task that has not begun; `false`: it has.
    pub(super) fn cancel(&mut self, id: TaskId) -> bool {
        let waits = self.tasks.get(&id).is_some_and(|task| matches!(task.life, Life::Registered));
        if waits {
            self.tasks.remove(&id);
        }
        waits
    }

    /// When the phase ends that it is in.
    pub(super) fn deadline(&self) -> Option<Moment> {
        match &self.stage {
            Stage::In(course) => Some(course.since + self.settings.deadline_of(course.phase)),
            Stage::Idle | Stage::Ended => None,
        }
    }

    /// In which phase it is, the last when it has ended.
    pub(super) fn phase(&self) -> Option<Phase> {
        match &self.stage {
            Stage::Idle => None,
            Stage::In(course) => Some(course.phase),
            Stage::Ended => Some(Phase::Close),
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended)
    }

    pub(super) fn settings(&self) -> &ShutdownSettings {
        &self.settings
    }

    pub(super) fn step(&mut self, now: Moment, input: Input) -> Vec<Action> {
        let mut out = Vec::new();
        match input {
            Input::Begin(reason) => self.begin(now, reason, &mut out),
            Input::Signal(signal) => self.signal(now, signal, &mut out),
            Input::Ended(id, outcome) => {
                if let Some(task) = self.tasks.get_mut(&id)
                    && let Life::Running { since } = task.life
                {
                    task.life = Life::Ended { took: now.since(since), outcome };
                }
            }
            Input::Tick => {}
        }
        self.advance(now, &mut out);
        out
    }

    fn begin(&mut self, now: Moment, reason: Reason, out: &mut Vec<Action>) {
        if !matches!(self.stage, Stage::Idle) {
            return;
        }
        out.push(Action::Begun(reason.clone()));
        let phase = Phase::ALL[0];
        self.stage = Stage::In(Course { reason, begun: now, phase, since: now, past: Vec::new() });
        self.run(now, phase, out);
    }

    fn signal(&mut self, now: Moment, signal: Signal, out: &mut Vec<Action>) {
        self.signals = self.signals.saturating_add(1);
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Idle => self.begin(now, Reason::Signal(signal), out),
            // Whoever sends it may not know of another reason, and has asked once.
            Stage::In(course) if self.signals < 2 => self.stage = Stage::In(course),
            Stage::In(course) => self.break_off(now, course, signal, out),
            Stage::Ended => {
                self.stage = Stage::Ended;
                out.push(Action::Exit(signal));
            }
        }
    }

    fn run(&mut self, now: Moment, phase: Phase, out: &mut Vec<Action>) {
        for (id, task) in self.tasks.iter_mut().filter(|(_, task)| task.phase == phase) {
            task.life = Life::Running { since: now };
            out.push(Action::Run(*id));
        }
    }

    /// Ends phases for as long as nothing is left to wait for.
    fn advance(&mut self, now: Moment, out: &mut Vec<Action>) {
        while let Stage::In(course) = &self.stage {
            let (phase, since) = (course.phase, course.since);
            let late = now >= since + self.settings.deadline_of(phase);
            let runs = |task: &Task| task.phase == phase && matches!(task.life, Life::Running { .. });
            if self.tasks.values().any(runs) && !late {
                return;
            }
            let ended = self.take(now, phase, now.since(since), out);
            let Stage::In(course) = &mut self.stage else { return };
            if let Some(ended) = ended {
                out.push(Action::PhaseEnded(ended.clone()));
                course.past.push(ended);
            }
            match phase.next() {
                Some(next) => {
                    (course.phase, course.since) = (next, now);
                    self.run(now, next, out);
                }
                None => {
                    let Stage::In(course) = std::mem::replace(&mut self.stage, Stage::Ended) else { return };
                    out.push(Action::End(course.report(now, None)));
                }
            }
        }
    }

    fn break_off(&mut self, now: Moment, mut course: Course, signal: Signal, out: &mut Vec<Action>) {
        let now_in = course.phase;
        for phase in Phase::ALL.into_iter().filter(|phase| *phase >= now_in) {
            let took = if phase == now_in { now.since(course.since) } else { Duration::ZERO };
            course.past.extend(self.take(now, phase, took, out));
        }
        self.stage = Stage::Ended;
        out.push(Action::End(course.report(now, Some(signal))));
    }

    /// What became of a phase; its tasks that run are dropped.
    fn take(
        &mut self,
        now: Moment,
        phase: Phase,
        took: Duration,
        out: &mut Vec<Action>,
    ) -> Option<PhaseReport> {
        let tasks: Vec<_> = self
            .tasks
            .extract_if(.., |_, task| task.phase == phase)
            .map(|(id, task)| {
                let (took, outcome) = match task.life {
                    Life::Ended { took, outcome } => (took, outcome),
                    Life::Running { since } => {
                        out.push(Action::Drop(id));
                        (now.since(since), TaskOutcome::Unfinished)
                    }
                    Life::Registered => (Duration::ZERO, TaskOutcome::NotBegun),
                };
                TaskReport { name: task.name, took, outcome }
            })
            .collect();
        let deadline = self.settings.deadline_of(phase);
        (!tasks.is_empty()).then_some(PhaseReport { phase, took, deadline, tasks })
    }
}

impl Course {
    fn report(self, now: Moment, cut_short: Option<Signal>) -> Report {
        Report { reason: self.reason, phases: self.past, took: now.since(self.begun), cut_short }
    }
}

/// A task was registered for a phase that is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "task {task:?} comes too late for phase {phase}, which is over: do now what it was to do, or register it earlier"
)]
pub struct TooLate {
    /// The task's name.
    pub task: String,
    /// Its phase.
    pub phase: Phase,
}
