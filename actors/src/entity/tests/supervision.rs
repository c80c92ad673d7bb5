//! What panics and failed recoveries cost.

use std::time::Duration;

use annals_journal::JournalError;

use super::rig::*;
use crate::entity::{Action, Entity, Input, StopReason};
use crate::{AskError, Failure};

const SEC: Duration = Duration::from_secs(1);

/// One more panic; the entity has recovered from it.
fn panic_once(rig: &mut Rig) {
    let mut culprit = rig.ask(Explode::Handle);
    assert!(matches!(culprit.try_recv().unwrap(), Err(AskError::Failed(Failure::Panicked { .. }))));
    let token = rig.reclaim();
    rig.answer_claim(token, 0, 0);
    assert!(matches!(rig.take(), Action::Ready { .. }));
}

#[test]
fn pauses_between_restarts_grow_and_commands_wait_for_their_end() {
    let mut rig = Rig::running();
    for pause in [100, 200, 400] {
        panic_once(&mut rig);
        assert!(!rig.entity.accepts_commands() && !rig.entity.is_idle());
        let mut waits = rig.ask(Get);
        assert!(waits.try_recv().is_err());
        rig.rest(pause);
        assert_eq!(waits.try_recv().unwrap(), Ok(0));
    }
}

#[test]
fn one_panic_more_than_the_limit_and_the_entity_leaves_with_a_typed_failure() {
    let mut rig = Rig::running();
    let mut stashed = rig.ask(WhenOpen(1));
    for pause in [100, 200, 400] {
        panic_once(&mut rig);
        rig.rest(pause);
    }
    let mut culprit = rig.ask(Explode::Reply);
    assert!(matches!(culprit.try_recv().unwrap(), Err(AskError::Failed(Failure::Panicked { .. }))));
    let Err(AskError::Failed(failure)) = stashed.try_recv().unwrap() else { panic!() };
    let Failure::PanickedTooOften { message, retry_after, .. } = &failure else { panic!("{failure:?}") };
    assert_eq!((message.as_str(), *retry_after), ("reply", 30 * SEC));
    assert!(failure.is_transient() && failure.to_string().contains("starts again in 30s"), "{failure}");
    assert!(matches!(rig.take(), Action::ForgetWrites));
    assert!(matches!(rig.take(), Action::RefuseMailbox(Failure::PanickedTooOften { .. })));
    assert!(matches!(rig.take(), Action::Stop(StopReason::GivenUp)));
    assert!(rig.quiet(), "it does not claim, replay or pause");
    assert_eq!(rig.left_alone, [30 * SEC]);
}

#[test]
fn panics_long_ago_do_not_count() {
    let mut rig = Rig::running();
    for _ in 0..10 {
        panic_once(&mut rig);
        rig.rest(100);
        rig.now = rig.now.plus(61 * SEC);
    }
}

#[test]
fn an_entity_that_is_woken_after_it_was_given_up_has_no_more_chances_than_before() {
    let mut rig = Rig::running();
    for pause in [100, 200, 400] {
        panic_once(&mut rig);
        rig.rest(pause);
    }
    rig.ask(Explode::Handle);
    rig.woken();
    rig.now = rig.now.plus(30 * SEC);
    rig.claimed(0);
    rig.take();
    rig.ask(Explode::Handle);
    assert!(matches!(rig.take(), Action::ForgetWrites));
    assert!(matches!(rig.take(), Action::RefuseMailbox(Failure::PanickedTooOften { .. })));
    assert!(matches!(rig.take(), Action::Stop(StopReason::GivenUp)));
}

#[test]
fn what_may_be_stored_is_settled_before_the_pause_and_before_the_end() {
    for given_up in [false, true] {
        let mut rig = Rig::running();
        if given_up {
            for pause in [100, 200, 400] {
                panic_once(&mut rig);
                rig.rest(pause);
            }
        }
        let mut before = rig.ask(Add(vec![5]));
        let sent = rig.append();
        rig.ask(Explode::Handle);
        let token = rig.reclaim();
        rig.answer_claim(token, 1, 0);
        rig.replay(&sent.events);
        assert_eq!(before.try_recv().unwrap().unwrap().0, 5);
        assert!(matches!(rig.take(), Action::Ready { .. }));
        match rig.take() {
            Action::Rest(_) => assert!(!given_up),
            Action::RefuseMailbox(Failure::PanickedTooOften { .. }) => {
                assert!(given_up);
                assert!(matches!(rig.take(), Action::Stop(StopReason::GivenUp)));
            }
            other => panic!("{}", name(&other)),
        }
    }
}

#[test]
fn a_stop_ends_a_pause() {
    let mut rig = Rig::running();
    panic_once(&mut rig);
    assert!(matches!(rig.take(), Action::Rest(_)));
    let mut waits = rig.ask(Get);
    rig.step(Input::Stop);
    assert!(matches!(waits.try_recv().unwrap(), Err(AskError::Failed(Failure::Stopping { .. }))));
    assert!(matches!(rig.take(), Action::RefuseMailbox(_)));
    assert!(matches!(rig.take(), Action::Stop(StopReason::Stopped)));
}

#[test]
fn a_stop_that_comes_before_the_pause_has_begun_lets_it_not_begin() {
    let mut rig = Rig::running();
    let mut before = rig.ask(Add(vec![5]));
    let sent = rig.append();
    rig.ask(Explode::Handle);
    let token = rig.reclaim();
    rig.step(Input::Stop);
    rig.answer_claim(token, 1, 0);
    rig.replay(&sent.events);
    assert_eq!(before.try_recv().unwrap().unwrap().0, 5);
    assert!(matches!(rig.take(), Action::Ready { .. }));
    assert!(matches!(rig.take(), Action::RefuseMailbox(Failure::Stopping { .. })));
    assert!(matches!(rig.take(), Action::Stop(StopReason::Stopped)));
}

#[test]
fn a_history_that_cannot_be_read_is_left_alone_longer_each_time_until_it_can() {
    let mut rig = Rig::claiming(annals_snapshot::SnapshotPolicy::never());
    for _ in 0..2 {
        for expected in [100, 200, 400] {
            let mut waiting = rig.ask(Get);
            rig.claimed(1);
            rig.no_snapshot();
            rig.take();
            rig.step(Input::Replayed(Err(JournalError::corrupt(&id(), seq(1), "checksum"))));
            let Err(AskError::Failed(failure)) = waiting.try_recv().unwrap() else { panic!() };
            let expected = Duration::from_millis(expected);
            assert!(
                matches!(failure, Failure::RecoveryFailed { retry_after, .. } if retry_after == expected),
                "{failure:?}"
            );
            assert_eq!(rig.left_alone, [expected]);
            rig.woken();
        }
        rig.claimed(0);
        assert!(matches!(rig.take(), Action::Ready { .. }));
        // Repaired: the next failure is the first again.
        rig.woken();
    }
}

impl Rig {
    /// The entity is gone, and a command wakes it after it was left alone.
    fn woken(&mut self) {
        let supervision = self.entity.take_supervision();
        self.asked.clear();
        self.left_alone.clear();
        let (identity, rules) = (self.entity.identity.clone(), self.entity.rules.clone());
        self.entity = Entity::start_after(identity, rules, supervision);
        self.perform();
    }
}
