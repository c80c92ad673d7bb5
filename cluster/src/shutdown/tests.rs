use std::convert::Infallible;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::procedure::{Action, Input, Procedure, TaskId};
use super::*;
use crate::Moment;

const SECOND: Duration = Duration::from_secs(1);

fn at(millis: u64) -> Moment {
    Moment::from_millis(millis)
}

/// A procedure with tasks, each named by its phase and registered before it begins.
fn procedure(phases: &[Phase]) -> (Procedure, Vec<TaskId>) {
    let mut procedure = Procedure::new(ShutdownSettings::default());
    let ids = phases
        .iter()
        .map(|phase| {
            let (id, actions) = procedure.register(at(0), *phase, phase.name().into()).unwrap();
            assert_eq!(actions, []);
            id
        })
        .collect();
    (procedure, ids)
}

fn ran(actions: &[Action]) -> Vec<TaskId> {
    actions.iter().filter_map(|action| if let Action::Run(id) = action { Some(*id) } else { None }).collect()
}

fn report(actions: &[Action]) -> Option<&Report> {
    actions.iter().find_map(|action| if let Action::End(report) = action { Some(report) } else { None })
}

fn outcomes(report: &Report) -> Vec<(Phase, &str, &TaskOutcome)> {
    let of = |phase: &'_ PhaseReport| phase.phase;
    report
        .phases
        .iter()
        .flat_map(|phase| phase.tasks.iter().map(move |task| (of(phase), &*task.name, &task.outcome)))
        .collect()
}

#[test]
fn phases_come_in_their_order_whatever_the_order_of_registration() {
    let mut backwards = Phase::ALL;
    backwards.reverse();
    let (mut procedure, ids) = procedure(&backwards);
    let mut actions = procedure.step(at(10), Input::Begin(Reason::Left));
    for (index, id) in ids.iter().rev().enumerate() {
        assert_eq!(ran(&actions), [*id], "{}", Phase::ALL[index]);
        actions = procedure.step(at(20 + index as u64), Input::Ended(*id, TaskOutcome::Done));
    }
    let report = report(&actions).expect("it has ended");
    assert_eq!(report.phases.iter().map(|phase| phase.phase).collect::<Vec<_>>(), Phase::ALL);
    assert!(report.is_complete());
    assert_eq!((report.took, report.exit_code()), (Duration::from_millis(17), 0));
    assert_eq!(report.phases[1].took, Duration::from_millis(1));
}

#[test]
fn tasks_of_a_phase_run_together_and_the_next_waits_for_all() {
    let (mut procedure, ids) = procedure(&[Phase::Drain, Phase::Drain, Phase::Close]);
    let actions = procedure.step(at(0), Input::Begin(Reason::Left));
    assert_eq!(ran(&actions), ids[..2]);
    assert_eq!(procedure.step(at(5), Input::Ended(ids[1], TaskOutcome::Done)), []);
    let actions = procedure.step(at(9), Input::Ended(ids[0], TaskOutcome::Done));
    assert_eq!(ran(&actions), ids[2..]);
}

#[test]
fn without_tasks_it_ends_at_once() {
    let (mut procedure, _) = procedure(&[]);
    let actions = procedure.step(at(3), Input::Signal(Signal::Terminate));
    let report = report(&actions).expect("it has ended");
    assert_eq!(report.phases, []);
    assert_eq!(report.reason, Reason::Signal(Signal::Terminate));
    assert!(procedure.has_ended());
}

#[test]
fn what_is_not_done_at_the_deadline_is_dropped_and_told_and_the_rest_comes_all_the_same() {
    let (mut procedure, ids) = procedure(&[Phase::Drain, Phase::Drain, Phase::Flush]);
    procedure.step(at(1_000), Input::Begin(Reason::Left));
    procedure.step(at(1_500), Input::Ended(ids[1], TaskOutcome::Done));
    assert_eq!(procedure.deadline(), Some(at(8_000)));
    assert_eq!(procedure.step(at(7_999), Input::Tick), []);
    let actions = procedure.step(at(8_000), Input::Tick);
    assert!(actions.contains(&Action::Drop(ids[0])), "{actions:?}");
    assert_eq!(ran(&actions), [ids[2]]);
    // It ended although it was dropped: too late.
    assert_eq!(procedure.step(at(8_001), Input::Ended(ids[0], TaskOutcome::Done)), []);
    let actions = procedure.step(at(8_010), Input::Ended(ids[2], TaskOutcome::Done));
    let report = report(&actions).expect("it has ended");
    assert_eq!(
        outcomes(report),
        [
            (Phase::Drain, "drain", &TaskOutcome::Unfinished),
            (Phase::Drain, "drain", &TaskOutcome::Done),
            (Phase::Flush, "flush", &TaskOutcome::Done)
        ]
    );
    assert_eq!(report.phases[0].tasks[0].took, 7 * SECOND);
    assert_eq!(report.exit_code(), 1, "asked for, and something did not finish");
    assert_eq!(
        report.to_string(),
        "left the cluster, 7.010 s\n  drain 7.000 s of 7s: drain unfinished after 7.000 s, drain\n  flush 0.010 s of 3s: flush"
    );
}

#[test]
fn a_failure_and_a_panic_hold_nothing_up() {
    let (mut procedure, ids) = procedure(&[Phase::Announce, Phase::Drain, Phase::Close]);
    procedure.step(at(0), Input::Begin(Reason::Downed));
    let failed = TaskOutcome::Failed("no space".into());
    let actions = procedure.step(at(1), Input::Ended(ids[0], failed.clone()));
    assert_eq!(ran(&actions), [ids[1]]);
    let panicked = TaskOutcome::Panicked("gone".into());
    let actions = procedure.step(at(2), Input::Ended(ids[1], panicked.clone()));
    assert_eq!(ran(&actions), [ids[2]]);
    let actions = procedure.step(at(3), Input::Ended(ids[2], TaskOutcome::Done));
    let report = report(&actions).expect("it has ended");
    let not_done: Vec<_> = report.unfinished().map(|(phase, task)| (phase, task.outcome.clone())).collect();
    assert_eq!(not_done, [(Phase::Announce, failed), (Phase::Drain, panicked)]);
    assert_eq!(report.exit_code(), 75, "the reason's own code says more");
}

#[test]
fn the_first_reason_counts() {
    let (mut procedure, ids) = procedure(&[Phase::Close]);
    procedure.step(at(0), Input::Begin(Reason::Downed));
    assert_eq!(procedure.step(at(1), Input::Begin(Reason::Left)), []);
    // Whoever sends a signal may not know that it has begun: the first is no second.
    assert_eq!(procedure.step(at(2), Input::Signal(Signal::Terminate)), []);
    let actions = procedure.step(at(3), Input::Ended(ids[0], TaskOutcome::Done));
    assert_eq!(report(&actions).map(|report| report.reason.clone()), Some(Reason::Downed));
}

#[test]
fn the_second_signal_breaks_it_off() {
    for (first, second, code) in [
        (Signal::Interrupt, Signal::Interrupt, 130),
        (Signal::Terminate, Signal::Terminate, 143),
        (Signal::Terminate, Signal::Interrupt, 130),
    ] {
        let (mut procedure, ids) = procedure(&[Phase::StopAccepting, Phase::Drain, Phase::Close]);
        procedure.step(at(0), Input::Signal(first));
        procedure.step(at(1), Input::Ended(ids[0], TaskOutcome::Done));
        let actions = procedure.step(at(9), Input::Signal(second));
        assert!(actions.contains(&Action::Drop(ids[1])), "{actions:?}");
        assert_eq!(ran(&actions), []);
        let report = report(&actions).expect("it has ended");
        assert_eq!(
            outcomes(report),
            [
                (Phase::StopAccepting, "stop-accepting", &TaskOutcome::Done),
                (Phase::Drain, "drain", &TaskOutcome::Unfinished),
                (Phase::Close, "close", &TaskOutcome::NotBegun)
            ]
        );
        assert_eq!((report.cut_short, report.exit_code()), (Some(second), code));
        assert_eq!(procedure.step(at(10), Input::Signal(second)), [Action::Exit(second)]);
    }
}

#[test]
fn a_task_may_be_registered_late_but_not_for_a_phase_that_is_over() {
    let (mut procedure, ids) = procedure(&[Phase::Drain]);
    procedure.step(at(0), Input::Begin(Reason::Left));
    let (now, actions) = procedure.register(at(5_000), Phase::Drain, "now".into()).unwrap();
    assert_eq!(actions, [Action::Run(now)]);
    let (later, actions) = procedure.register(at(5_000), Phase::Close, "later".into()).unwrap();
    assert_eq!(actions, []);
    let late = procedure.register(at(5_000), Phase::Announce, "late".into()).unwrap_err();
    assert_eq!(late, TooLate { task: "late".into(), phase: Phase::Announce });

    assert_eq!(procedure.step(at(5_100), Input::Ended(ids[0], TaskOutcome::Done)), []);
    // It has what is left of the phase's time.
    let actions = procedure.step(at(7_000), Input::Tick);
    assert!(actions.contains(&Action::Drop(now)), "{actions:?}");
    let actions = procedure.step(at(7_001), Input::Ended(later, TaskOutcome::Done));
    let report = report(&actions).expect("it has ended");
    assert_eq!(report.phases[0].tasks[1].took, 2 * SECOND);
    assert!(procedure.register(at(7_002), Phase::Close, "after".into()).is_err());
}

#[test]
fn a_task_is_taken_back_until_it_begins() {
    let (mut procedure, ids) = procedure(&[Phase::Drain, Phase::Close]);
    assert!(procedure.cancel(ids[1]));
    assert!(!procedure.cancel(ids[1]));
    procedure.step(at(0), Input::Begin(Reason::Left));
    assert!(!procedure.cancel(ids[0]));
    let actions = procedure.step(at(1), Input::Ended(ids[0], TaskOutcome::Done));
    assert_eq!(report(&actions).map(|report| report.phases.len()), Some(1));
}

#[test]
fn deadlines_fit_the_grace_period_or_are_refused() {
    ShutdownSettings::default().check().unwrap();
    for grace in [Duration::from_millis(1), SECOND, 600 * SECOND] {
        let settings = ShutdownSettings::within(grace);
        settings.check().unwrap();
        let sum: Duration = Phase::ALL.into_iter().map(|phase| settings.deadline_of(phase)).sum();
        assert!(sum > grace.mul_f64(0.9), "{grace:?}: {sum:?}");
    }
    let long = ShutdownSettings::default().deadline(Phase::Drain, 9 * SECOND);
    assert_eq!(long.check(), Err(DeadlinesTooLong { sum: 31 * SECOND, grace: 30 * SECOND }));
    let said = long.check().unwrap_err().to_string();
    assert!(
        said.contains("31s") && said.contains("30s") && said.contains("terminationGracePeriodSeconds"),
        "{said}"
    );
    long.deadline(Phase::Flush, Duration::MAX).without_grace_period().check().unwrap();
}

#[test]
fn each_reason_has_its_exit_code() {
    let text = || "why".to_owned();
    let codes = [
        Reason::Signal(Signal::Terminate),
        Reason::Signal(Signal::Interrupt),
        Reason::Requested(text()),
        Reason::Left,
        Reason::Failed(text()),
        Reason::JoinFailed(text()),
        Reason::Downed,
        Reason::Incompatible(text()),
    ]
    .map(|reason| reason.exit_code());
    assert_eq!(codes, [0, 0, 0, 0, 1, 69, 75, 78]);
}

fn quiet() -> ShutdownSettings {
    ShutdownSettings::default().signals(false).exits(false)
}

#[tokio::test]
async fn tasks_run_in_order_and_everyone_who_waits_gets_the_report() {
    let shutdown = CoordinatedShutdown::start(quiet()).unwrap();
    let done = Arc::new(Mutex::new(Vec::new()));
    for phase in Phase::ALL.into_iter().rev() {
        let done = Arc::clone(&done);
        shutdown
            .register(phase, phase.name(), async move {
                tokio::task::yield_now().await;
                done.lock().unwrap().push(phase);
                Ok::<(), Infallible>(())
            })
            .unwrap();
    }
    assert_eq!(shutdown.reason(), None);
    let waits: Vec<_> = (0..3)
        .map(|_| {
            let shutdown = shutdown.clone();
            tokio::spawn(async move { (shutdown.begun().await, shutdown.ended().await) })
        })
        .collect();
    let triggers: Vec<_> = (0..4)
        .map(|number| {
            let shutdown = shutdown.clone();
            std::thread::spawn(move || shutdown.begin(Reason::Requested(format!("by {number}"))))
        })
        .collect();
    let report = shutdown.ended().await;
    assert!(report.is_complete(), "{report}");
    assert_eq!(*done.lock().unwrap(), Phase::ALL);
    for wait in waits {
        let (reason, same) = wait.await.unwrap();
        assert_eq!((reason, same), (report.reason.clone(), Arc::clone(&report)));
    }
    triggers.into_iter().for_each(|trigger| trigger.join().unwrap());
    assert_eq!(shutdown.reason().as_ref(), Some(&report.reason));
}

#[tokio::test]
async fn a_task_that_hangs_fails_or_panics_is_told_by_its_name() {
    let settings = quiet().deadline(Phase::Drain, Duration::from_millis(30));
    let shutdown = CoordinatedShutdown::start(settings).unwrap();
    let dropped = Arc::new(());
    let held = Arc::clone(&dropped);
    shutdown
        .register(Phase::Drain, "hangs", async move {
            let _held = held;
            pending::<Result<(), Infallible>>().await
        })
        .unwrap();
    shutdown.register(Phase::Flush, "fails", async { Err("disk full") }).unwrap();
    shutdown
        .register(Phase::Flush, "panics", async {
            Vec::<Result<(), Infallible>>::new().pop().expect("it was there before")
        })
        .unwrap();
    shutdown.begin(Reason::Left);
    let report = shutdown.ended().await;
    assert_eq!(
        outcomes(&report),
        [
            (Phase::Drain, "hangs", &TaskOutcome::Unfinished),
            (Phase::Flush, "fails", &TaskOutcome::Failed("disk full".into())),
            (Phase::Flush, "panics", &TaskOutcome::Panicked("it was there before".into()))
        ]
    );
    while Arc::strong_count(&dropped) > 1 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_task_may_register_another_one_and_begin_it_again() {
    let shutdown = CoordinatedShutdown::start(quiet()).unwrap();
    let again = shutdown.clone();
    shutdown
        .register(Phase::Drain, "first", async move {
            again.begin(Reason::Downed);
            again.register(Phase::Drain, "second", async { Ok::<(), Infallible>(()) })?;
            again.register(Phase::Close, "third", async { Ok::<(), Infallible>(()) })?;
            let late = again.register(Phase::Announce, "late", async { Ok::<(), Infallible>(()) });
            late.map(drop)
        })
        .unwrap();
    shutdown.begin(Reason::Left);
    let report = shutdown.ended().await;
    let said = TooLate { task: "late".into(), phase: Phase::Announce }.to_string();
    assert_eq!(
        outcomes(&report),
        [
            (Phase::Drain, "first", &TaskOutcome::Failed(said)),
            (Phase::Drain, "second", &TaskOutcome::Done),
            (Phase::Close, "third", &TaskOutcome::Done)
        ]
    );
    assert_eq!(report.reason, Reason::Left);
}

#[test]
fn a_runtime_whose_threads_are_blocked_holds_nothing_up() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let (unblock, blocked) = std::sync::mpsc::channel::<()>();
    let shutdown = runtime.block_on(async {
        let settings = quiet().deadline(Phase::Drain, Duration::from_millis(20));
        let settings = settings.deadline(Phase::Close, Duration::from_millis(20));
        CoordinatedShutdown::start(settings).unwrap()
    });
    shutdown
        .register(Phase::Drain, "blocks", async move {
            let _ = blocked.recv();
            Ok::<(), Infallible>(())
        })
        .unwrap();
    shutdown.register(Phase::Close, "never polled", async { Ok::<(), Infallible>(()) }).unwrap();
    shutdown.begin(Reason::Left);
    let waiting = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let report = waiting.block_on(shutdown.ended());
    assert_eq!(
        outcomes(&report),
        [
            (Phase::Drain, "blocks", &TaskOutcome::Unfinished),
            (Phase::Close, "never polled", &TaskOutcome::Unfinished)
        ]
    );
    drop(unblock);
}

#[test]
fn tasks_of_a_runtime_that_is_gone_do_not_hold_it_up() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let shutdown = runtime.block_on(async { CoordinatedShutdown::start(quiet()).unwrap() });
    shutdown.register(Phase::Drain, "late", async { Ok::<(), Infallible>(()) }).unwrap();
    drop(runtime);
    shutdown.begin(Reason::Left);
    let waiting = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let report = waiting.block_on(shutdown.ended());
    let why = TaskOutcome::Failed("its runtime ended before it".into());
    assert_eq!(outcomes(&report), [(Phase::Drain, "late", &why)]);
}

#[tokio::test]
async fn whoever_waits_for_a_phase_goes_on_when_those_before_it_are_over() {
    let shutdown = CoordinatedShutdown::start(quiet()).unwrap();
    let (finish, finished) = tokio::sync::oneshot::channel::<()>();
    shutdown.register(Phase::Drain, "waits", finished).unwrap();
    let (one, other) = (shutdown.clone(), shutdown.clone());
    let leaves = tokio::spawn(async move { one.reached(Phase::Leave).await });
    shutdown.begin(Reason::Left);
    other.reached(Phase::Drain).await;
    assert!(!leaves.is_finished());
    finish.send(()).unwrap();
    leaves.await.unwrap();
    assert!(shutdown.ended().await.is_complete());
}

#[tokio::test]
async fn a_registration_is_taken_back() {
    let shutdown = CoordinatedShutdown::start(quiet()).unwrap();
    let registration = shutdown.register(Phase::Drain, "no", pending::<Result<(), Infallible>>()).unwrap();
    assert!(registration.cancel());
    shutdown.begin(Reason::Left);
    let report = shutdown.ended().await;
    assert_eq!(report.phases, []);
    assert!(!registration.cancel());
}

#[test]
fn it_says_what_it_needs() {
    assert!(matches!(CoordinatedShutdown::start(quiet()), Err(StartError::NoRuntime)));
    let long = quiet().deadline(Phase::Leave, 60 * SECOND);
    assert!(matches!(CoordinatedShutdown::start(long), Err(StartError::DeadlinesTooLong(_))));
}
