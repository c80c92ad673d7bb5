//! Lost races, unknown outcomes, panics: the state is thrown away, nobody notices who need not.

use super::rig::*;
use crate::entity::{Action, Input, StopReason};
use crate::{AskError, Failure};

#[test]
fn after_a_lost_race_commands_are_decided_again_with_the_same_time_and_ids() {
    let mut rig = Rig::running();
    let first_time = rig.now;
    let mut answer = rig.ask(Add(vec![5]));
    let lost = rig.append();
    rig.refused(conflict());
    let token = rig.reclaim();
    assert!(token > lost.token);
    rig.now = rig.now.plus(std::time::Duration::from_secs(60));
    rig.answer_claim(token, 1, 0);
    rig.no_snapshot();
    rig.replay(&[foreign(1, 100)]);
    assert!(matches!(rig.take(), Action::Ready { replayed: 1, .. }));
    let again = rig.append();
    assert_eq!((again.expected.get(), again.token), (1, token));
    assert_eq!(again.events[0].timestamp, first_time);
    rig.written();
    assert_eq!(answer.try_recv().unwrap().unwrap().0, 105);
}

#[test]
fn ids_are_drawn_once_a_command() {
    let mut rig = Rig::running();
    let mut held = rig.ask(Add(vec![5]));
    rig.append();
    rig.refused(conflict());
    let token = rig.reclaim();
    rig.answer_claim(token, 0, 0);
    rig.take();
    rig.append();
    rig.refused(conflict());
    let token = rig.reclaim();
    rig.answer_claim(token, 0, 0);
    rig.take();
    rig.append();
    rig.written();
    let (_, id) = held.try_recv().unwrap().unwrap();
    assert_eq!(id.get_version_num(), 7);
}

#[test]
fn an_unknown_outcome_that_was_stored_is_answered_as_decided() {
    let mut rig = Rig::running();
    let mut first = rig.ask(Add(vec![5]));
    let mut read = rig.ask(Get);
    let mut second = rig.ask(Add(vec![1]));
    let sent = rig.append();
    rig.append();
    rig.refused(unknown());
    let token = rig.reclaim();
    assert!(first.try_recv().is_err());
    rig.answer_claim(token, 1, 0);
    rig.replay(&sent.events);
    assert!(matches!(rig.take(), Action::Ready { .. }));
    assert_eq!(first.try_recv().unwrap().unwrap().0, 5);
    assert_eq!(read.try_recv().unwrap(), Ok(5));
    assert!(second.try_recv().is_err(), "its event is not there: decided again");
    assert_eq!(rig.append().expected.get(), 1);
    rig.written();
    assert_eq!(second.try_recv().unwrap().unwrap().0, 6);
}

#[test]
fn an_unknown_outcome_that_was_not_stored_is_decided_again() {
    let mut rig = Rig::running();
    let mut answer = rig.ask(Add(vec![5]));
    rig.append();
    rig.refused(unknown());
    let token = rig.reclaim();
    rig.answer_claim(token, 1, 0);
    rig.replay(&[foreign(1, 100)]);
    rig.take();
    assert_eq!(rig.append().expected.get(), 1);
    rig.written();
    assert_eq!(answer.try_recv().unwrap().unwrap().0, 105);
}

#[test]
fn each_unknown_outcome_takes_a_new_activation() {
    let mut rig = Rig::running();
    let mut answer = rig.ask(Add(vec![5]));
    let sent = rig.append();
    rig.refused(unknown());
    let second = rig.reclaim();
    rig.step(Input::Claimed(Err(unknown())));
    assert!(matches!(rig.take(), Action::Rest(_)));
    rig.step(Input::Rested);
    let third = rig.claim();
    assert!(sent.token < second && second < third);
    rig.answer_claim(third, 0, 0);
    rig.take();
    rig.append();
    rig.written();
    assert_eq!(answer.try_recv().unwrap().unwrap().0, 5);
}

#[test]
fn a_caller_whose_outcome_is_unknown_cannot_conclude_that_nothing_happened() {
    let mut rig = Rig::running();
    let (_answer, progress) = rig.send(Add(vec![5]), false);
    rig.append();
    rig.refused(unknown());
    assert!(!progress.give_up(), "it may be stored");
}

#[test]
fn a_caller_whose_append_was_certainly_not_stored_may_give_up() {
    let mut rig = Rig::running();
    let (_answer, progress) = rig.send(Add(vec![5]), false);
    rig.append();
    rig.refused(unavailable());
    assert!(progress.give_up());
    let token = rig.reclaim();
    rig.answer_claim(token, 0, 0);
    assert!(matches!(rig.take(), Action::Ready { .. }));
    assert!(rig.quiet(), "it is not decided again");
}

#[test]
fn a_fenced_entity_stops_and_says_so() {
    let mut rig = Rig::running();
    let mut held = rig.ask(Add(vec![5]));
    let mut stashed = rig.ask(WhenOpen(1));
    rig.append();
    rig.refused(fenced());
    for answer in [held.try_recv().unwrap().map(|_| 0), stashed.try_recv().unwrap()] {
        assert!(matches!(answer, Err(AskError::Failed(Failure::Fenced { .. }))), "{answer:?}");
    }
    assert!(matches!(rig.take(), Action::ForgetWrites));
    assert!(matches!(rig.take(), Action::RefuseMailbox(Failure::Fenced { .. })));
    assert!(matches!(rig.take(), Action::Stop(StopReason::Fenced)));
}

#[test]
fn fenced_while_unknown_settles_what_is_stored_before_it_stops() {
    let mut rig = Rig::running();
    let mut stored = rig.ask(Add(vec![5]));
    let mut not_stored = rig.ask(Add(vec![6]));
    let sent = rig.append();
    rig.append();
    rig.refused(unknown());
    rig.reclaim();
    rig.step(Input::Claimed(Err(fenced())));
    rig.replay(&[sent.events[0].clone(), foreign(2, 1)]);
    assert_eq!(stored.try_recv().unwrap().unwrap().0, 5);
    assert!(matches!(not_stored.try_recv().unwrap(), Err(AskError::Failed(Failure::Fenced { .. }))));
    assert!(matches!(rig.take(), Action::RefuseMailbox(_)));
    assert!(matches!(rig.take(), Action::Stop(StopReason::Fenced)));
}

#[test]
fn superseded_by_maintenance_it_claims_above_and_goes_on() {
    let mut rig = Rig::running();
    let mut answer = rig.ask(Add(vec![5]));
    rig.append();
    rig.refused(superseded(50));
    let token = rig.reclaim();
    if token.activation <= 50 {
        rig.step(Input::Claimed(Err(superseded(50))));
        let token = rig.claim();
        assert_eq!(token.activation, 51);
        rig.answer_claim(token, 0, 0);
    }
    rig.take();
    rig.append();
    rig.written();
    assert_eq!(answer.try_recv().unwrap().unwrap().0, 5);
}

#[test]
fn a_rejected_append_fails_its_command_and_spares_the_others() {
    let mut rig = Rig::running();
    let mut culprit = rig.ask(Add(vec![5]));
    let mut other = rig.ask(Add(vec![1]));
    rig.append();
    rig.append();
    rig.refused(annals_journal::JournalError::rejected(id(), "no such thing"));
    assert!(matches!(culprit.try_recv().unwrap(), Err(AskError::Failed(Failure::NotStorable { .. }))));
    let token = rig.reclaim();
    rig.answer_claim(token, 0, 0);
    rig.take();
    assert_eq!(rig.append().expected.get(), 0);
    rig.written();
    assert_eq!(other.try_recv().unwrap().unwrap().0, 1);
}

#[test]
fn a_panic_anywhere_prevents_the_write_and_fails_only_its_command() {
    for explode in [Explode::Handle, Explode::Apply, Explode::Reply] {
        let mut rig = Rig::running();
        let mut before = rig.ask(Add(vec![5]));
        let sent = rig.append();
        let mut culprit = rig.ask(explode);
        assert!(matches!(culprit.try_recv().unwrap(), Err(AskError::Failed(Failure::Panicked { .. }))));
        let token = rig.reclaim();
        rig.answer_claim(token, 1, 0);
        rig.replay(&sent.events);
        assert_eq!(before.try_recv().unwrap().unwrap().0, 5);
        rig.take();
        rig.rest(100);
        assert_eq!(rig.ask(Get).try_recv().unwrap(), Ok(5));
    }
}

#[test]
fn commands_stashed_on_a_lost_state_are_decided_again_in_their_old_order() {
    let mut rig = Rig::running();
    let mut stashed = rig.ask(WhenOpen(1));
    let mut opened = rig.ask(Open);
    rig.append();
    rig.append();
    rig.refused(conflict());
    let token = rig.reclaim();
    rig.answer_claim(token, 0, 0);
    rig.take();
    // WhenOpen came first, so it is stashed first, opened by Open, and added after it.
    assert_eq!(rig.append().events.len(), 1);
    rig.append();
    rig.written();
    assert_eq!(opened.try_recv().unwrap(), Ok(()));
    rig.written();
    assert_eq!(stashed.try_recv().unwrap(), Ok(1));
}

#[test]
fn work_under_way_is_begun_again_after_a_setback() {
    let mut rig = Rig::running();
    let (_read, _) = rig.send(Get, true);
    rig.take();
    let mut fetched = rig.ask(Fetch(7));
    rig.refused(superseded(0));
    let token = rig.reclaim();
    rig.answer_claim(token, 0, 0);
    assert!(matches!(rig.take(), Action::Ready { .. }));
    rig.take();
    rig.written();
    assert!(matches!(rig.take(), Action::Work(..)));
    rig.step(Input::Worked(crate::entity::WorkOutput::Done(Box::new(7_i64))));
    rig.append();
    rig.written();
    assert_eq!(fetched.try_recv().unwrap(), Ok(7));
}

#[test]
fn a_journal_that_cannot_be_asked_is_tried_with_growing_pauses_then_said() {
    let mut rig = Rig::claiming(annals_snapshot::SnapshotPolicy::never());
    let mut waiting = rig.ask(Add(vec![5]));
    let mut pauses = Vec::new();
    loop {
        rig.claim();
        rig.step(Input::Claimed(Err(unavailable())));
        match rig.take() {
            Action::Rest(pause) => {
                pauses.push(pause.as_millis());
                rig.now = rig.now.plus(pause);
                rig.step(Input::Rested);
            }
            Action::RefuseMailbox(Failure::JournalUnavailable { .. }) => break,
            other => panic!("{}", name(&other)),
        }
    }
    assert_eq!(pauses, [50, 100, 200, 400, 800, 1600]);
    assert!(matches!(waiting.try_recv().unwrap(), Err(AskError::Failed(Failure::JournalUnavailable { .. }))));
    assert!(matches!(rig.take(), Action::Stop(StopReason::Unavailable)));
}

#[test]
fn what_may_be_stored_is_not_given_up_when_the_journal_is_away() {
    let mut rig = Rig::running();
    let mut maybe = rig.ask(Add(vec![5]));
    let sent = rig.append();
    rig.refused(unknown());
    rig.reclaim();
    rig.now = rig.now.plus(std::time::Duration::from_secs(1));
    rig.step(Input::Claimed(Err(unavailable())));
    rig.now = rig.now.plus(std::time::Duration::from_secs(60));
    rig.take();
    rig.step(Input::Rested);
    rig.claim();
    rig.step(Input::Claimed(Err(unavailable())));
    assert!(maybe.try_recv().is_err());
    assert!(matches!(rig.take(), Action::RefuseMailbox(_)));
    assert!(matches!(rig.take(), Action::Rest(_)));
    rig.step(Input::Rested);
    let token = rig.claim();
    rig.answer_claim(token, 1, 0);
    rig.replay(&sent.events);
    assert_eq!(maybe.try_recv().unwrap().unwrap().0, 5);
}
