//! Stop and passivation.

use annals_snapshot::SnapshotPolicy;

use super::rig::*;
use crate::entity::{Action, Input, StopReason, WorkOutput};
use crate::{AskError, Failure};

#[test]
fn an_idle_entity_leaves_memory() {
    let mut rig = Rig::running();
    rig.step(Input::Idle);
    assert!(matches!(rig.take(), Action::Stop(StopReason::Passivated)));
}

#[test]
fn an_entity_with_work_or_stash_is_not_idle() {
    let mut rig = Rig::running();
    let _stashed = rig.ask(WhenOpen(1));
    rig.step(Input::Idle);
    assert!(rig.quiet());
    let mut rig = Rig::running();
    let _answer = rig.ask(Add(vec![1]));
    rig.append();
    rig.step(Input::Idle);
    assert!(rig.quiet());
}

#[test]
fn passivation_by_effect_waits_for_the_disk_and_keeps_the_stash() {
    let mut rig = Rig::running();
    let mut stashed = rig.ask(WhenOpen(1));
    let mut left = rig.ask(Leave::Passivate);
    rig.append();
    assert!(rig.quiet());
    rig.written();
    assert_eq!(left.try_recv().unwrap(), Ok(1));
    assert!(matches!(rig.take(), Action::Stop(StopReason::PassivatedWhileNeeded)));
    assert!(stashed.try_recv().is_err());
    rig.step(Input::WakeAgain);
    let token = rig.claim();
    rig.answer_claim(token, 1, 0);
    rig.no_snapshot();
    rig.replay(&[foreign(1, 1)]);
    rig.take();
    rig.ask(Open);
    rig.append();
    rig.append();
    rig.written();
    rig.written();
    assert_eq!(stashed.try_recv().unwrap(), Ok(2));
}

#[test]
fn a_stop_finishes_what_was_decided_and_refuses_the_rest() {
    let mut rig = Rig::running();
    let mut decided = rig.ask(Add(vec![1]));
    let mut stashed = rig.ask(WhenOpen(1));
    rig.append();
    rig.step(Input::Stop);
    let mut late = rig.ask(Get);
    assert!(rig.quiet());
    rig.written();
    assert!(decided.try_recv().unwrap().is_ok());
    for answer in [stashed.try_recv().unwrap(), late.try_recv().unwrap()] {
        assert!(matches!(answer, Err(AskError::Failed(Failure::Stopping { .. }))), "{answer:?}");
    }
    assert!(matches!(rig.take(), Action::RefuseMailbox(Failure::Stopping { .. })));
    assert!(matches!(rig.take(), Action::Stop(StopReason::Stopped)));
}

#[test]
fn a_stop_by_effect_refuses_the_stash() {
    let mut rig = Rig::running();
    let mut stashed = rig.ask(WhenOpen(1));
    rig.ask(Leave::Stop);
    rig.append();
    rig.written();
    assert!(matches!(stashed.try_recv().unwrap(), Err(AskError::Failed(Failure::Stopping { .. }))));
}

#[test]
fn a_stop_while_recovering_is_at_once() {
    let mut rig = Rig::claiming(SnapshotPolicy::never());
    let mut waiting = rig.ask(Get);
    rig.claim();
    rig.step(Input::Stop);
    assert!(matches!(waiting.try_recv().unwrap(), Err(AskError::Failed(Failure::Stopping { .. }))));
    rig.take();
    assert!(matches!(rig.take(), Action::Stop(StopReason::Stopped)));
}

#[test]
fn a_stop_while_an_outcome_is_unknown_settles_it_first() {
    let mut rig = Rig::running();
    let mut maybe = rig.ask(Add(vec![5]));
    let sent = rig.append();
    rig.refused(unknown());
    let token = rig.reclaim();
    rig.step(Input::Stop);
    rig.answer_claim(token, 1, 0);
    rig.replay(&sent.events);
    assert_eq!(maybe.try_recv().unwrap().unwrap().0, 5);
    assert!(matches!(rig.take(), Action::Ready { .. }));
    assert!(matches!(rig.take(), Action::RefuseMailbox(_)));
    assert!(matches!(rig.take(), Action::Stop(StopReason::Stopped)));
}

#[test]
fn a_stop_under_work_refuses_the_command_that_works() {
    let mut rig = Rig::running();
    let mut fetched = rig.ask(Fetch(7));
    rig.take();
    rig.step(Input::Stop);
    assert!(matches!(fetched.try_recv().unwrap(), Err(AskError::Failed(Failure::Stopping { .. }))));
}

#[test]
fn a_stop_does_not_wait_for_ever_for_a_journal_that_is_away() {
    let mut rig = Rig::running();
    let mut maybe = rig.ask(Add(vec![5]));
    rig.append();
    rig.refused(unknown());
    rig.reclaim();
    rig.step(Input::Stop);
    rig.step(Input::Claimed(Err(unavailable())));
    assert!(matches!(rig.take(), Action::Rest(_)));
    rig.now = rig.now.plus(bounds().patience);
    rig.step(Input::Rested);
    rig.claim();
    rig.step(Input::Claimed(Err(unavailable())));
    assert!(matches!(maybe.try_recv().unwrap(), Err(AskError::Unknown(_))));
    assert!(matches!(rig.take(), Action::RefuseMailbox(_)));
    assert!(matches!(rig.take(), Action::Stop(StopReason::Unavailable)));
}

#[test]
fn a_passivation_that_loses_a_race_fails_nobody() {
    for error in [conflict(), unknown()] {
        let mut rig = Rig::running();
        let mut stashed = rig.ask(WhenOpen(1));
        let mut left = rig.ask(Leave::Passivate);
        rig.append();
        rig.refused(error);
        let token = rig.reclaim();
        rig.answer_claim(token, 0, 0);
        while !rig.quiet() {
            if matches!(rig.take(), Action::Stop(StopReason::PassivatedWhileNeeded)) {
                rig.step(Input::WakeAgain);
                rig.claimed(0);
            }
        }
        rig.written();
        assert_eq!(left.try_recv().unwrap(), Ok(1));
        assert!(stashed.try_recv().is_err(), "it still waits");
    }
}

/// It has stopped, and leaves nobody behind.
fn stopped(rig: &mut Rig) {
    assert!(matches!(rig.take(), Action::RefuseMailbox(Failure::Stopping { .. })));
    assert!(matches!(rig.take(), Action::Stop(StopReason::Stopped)));
}

#[test]
fn a_drain_waits_for_the_disk_and_refuses_the_stash_only() {
    let mut rig = Rig::running();
    let mut decided = rig.ask(Add(vec![1]));
    let mut stashed = rig.ask(WhenOpen(1));
    rig.append();
    rig.step(Input::Drain);
    assert!(rig.quiet());
    assert!(stashed.try_recv().is_err());
    rig.written();
    assert_eq!(decided.try_recv().unwrap().unwrap().0, 1);
    assert!(matches!(stashed.try_recv().unwrap(), Err(AskError::Failed(Failure::Stopping { .. }))));
    stopped(&mut rig);
}

#[test]
fn a_drain_of_an_entity_with_nothing_to_do_is_at_once() {
    let mut rig = Rig::running();
    rig.step(Input::Drain);
    stopped(&mut rig);
    let mut rig = Rig::claiming(SnapshotPolicy::never());
    rig.claim();
    rig.step(Input::Drain);
    stopped(&mut rig);
}

#[test]
fn what_waits_at_a_drain_survives_a_lost_race() {
    for error in [conflict(), unknown()] {
        let mut rig = Rig::running();
        let mut decided = rig.ask(Add(vec![1]));
        rig.append();
        rig.step(Input::Drain);
        rig.refused(error);
        let token = rig.reclaim();
        rig.answer_claim(token, 1, 0);
        if matches!(rig.asked.first(), Some(Action::Load(_))) {
            rig.no_snapshot();
        }
        rig.replay(&[foreign(1, 5)]);
        assert!(matches!(rig.take(), Action::Ready { .. }));
        rig.append();
        assert!(rig.quiet());
        rig.written();
        assert_eq!(decided.try_recv().unwrap().unwrap().0, 6);
        stopped(&mut rig);
    }
}

#[test]
fn a_drain_waits_for_work_before_a_decision() {
    let mut rig = Rig::running();
    let mut fetched = rig.ask(Fetch(7));
    assert!(matches!(rig.take(), Action::Work(..)));
    rig.step(Input::Drain);
    assert!(rig.quiet());
    rig.step(Input::Worked(WorkOutput::Done(Box::new(7_i64))));
    rig.append();
    rig.written();
    assert_eq!(fetched.try_recv().unwrap(), Ok(7));
    stopped(&mut rig);
}

#[test]
fn who_waits_for_the_pause_after_a_panic_is_carried_out_before_a_drain_ends() {
    let mut rig = Rig::running();
    let mut held = rig.ask(Add(vec![1]));
    rig.append();
    // It is decided again after the recovery, when the pause is over.
    let _panicked = rig.ask(Explode::Handle);
    rig.step(Input::Drain);
    let token = rig.reclaim();
    rig.answer_claim(token, 0, 0);
    rig.step(Input::Replayed(Ok(None)));
    rig.asked.retain(|action| matches!(action, Action::Rest(_)));
    rig.rest(100);
    rig.append();
    rig.written();
    assert_eq!(held.try_recv().unwrap().unwrap().0, 1);
    stopped(&mut rig);
}

#[test]
fn a_drain_without_time_refuses_who_waits() {
    let mut rig = Rig::running();
    let mut fetched = rig.ask(Fetch(7));
    rig.take();
    rig.step(Input::Drain);
    rig.step(Input::Stop);
    assert!(matches!(fetched.try_recv().unwrap(), Err(AskError::Failed(Failure::Stopping { .. }))));
    stopped(&mut rig);
}

#[test]
fn a_drain_does_not_wait_for_ever_for_a_journal_that_is_away() {
    let mut rig = Rig::running();
    let mut maybe = rig.ask(Add(vec![5]));
    rig.append();
    rig.step(Input::Drain);
    rig.refused(unknown());
    rig.reclaim();
    rig.step(Input::Claimed(Err(unavailable())));
    assert!(matches!(rig.take(), Action::Rest(_)));
    rig.now = rig.now.plus(bounds().patience);
    rig.step(Input::Rested);
    rig.claim();
    rig.step(Input::Claimed(Err(unavailable())));
    assert!(matches!(maybe.try_recv().unwrap(), Err(AskError::Unknown(_))));
    assert!(matches!(rig.take(), Action::RefuseMailbox(_)));
    assert!(matches!(rig.take(), Action::Stop(StopReason::Unavailable)));
}
