//! Deciding on the newest state, holding replies.

use annals_journal::Write;

use super::rig::*;
use crate::entity::{Action, Input, WorkOutput};
use crate::{AskError, Failure};

#[test]
fn a_reply_waits_until_its_event_is_durable() {
    let mut rig = Rig::running();
    let mut answer = rig.ask(Add(vec![5]));
    let append = rig.append();
    assert_eq!((append.expected.get(), append.events.len()), (0, 1));
    assert_eq!(append.events[0].writer, WRITER);
    assert_eq!(append.events[0].timestamp, rig.now);
    assert!(answer.try_recv().is_err());
    rig.written();
    assert_eq!(answer.try_recv().unwrap().unwrap().0, 5);
}

#[test]
fn an_entity_goes_on_deciding_while_its_append_is_on_the_way() {
    let mut rig = Rig::running();
    let mut first = rig.ask(Add(vec![5]));
    let mut second = rig.ask(Add(vec![1, 2]));
    assert_eq!(rig.append().expected.get(), 0);
    let append = rig.append();
    assert_eq!((append.expected.get(), append.last().get()), (1, 3));
    rig.written();
    assert_eq!(first.try_recv().unwrap().unwrap().0, 5);
    assert!(second.try_recv().is_err());
    rig.written();
    assert_eq!(second.try_recv().unwrap().unwrap().0, 8);
}

#[test]
fn reads_and_rejections_wait_for_the_events_they_rest_on() {
    let mut rig = Rig::running();
    let mut added = rig.ask(Add(vec![5]));
    let mut read = rig.ask(Get);
    let mut rejected = rig.ask(Never);
    assert!(read.try_recv().is_err() && rejected.try_recv().is_err());
    rig.written();
    assert!(added.try_recv().is_ok());
    assert_eq!(read.try_recv().unwrap(), Ok(5));
    assert_eq!(rejected.try_recv().unwrap(), Err(AskError::Rejected(5)));
}

#[test]
fn a_read_on_durable_state_is_answered_at_once() {
    let mut rig = Rig::running();
    assert_eq!(rig.ask(Get).try_recv().unwrap(), Ok(0));
    assert!(rig.quiet());
}

#[test]
fn an_empty_list_of_events_writes_nothing() {
    let mut rig = Rig::running();
    assert_eq!(rig.ask(Add(vec![])).try_recv().unwrap().unwrap().0, 0);
    assert!(rig.quiet());
}

#[test]
fn a_confirmed_read_waits_for_a_verification() {
    let mut rig = Rig::running();
    let (mut read, _) = rig.send(Get, true);
    assert!(matches!(rig.take(), Action::Write(Write::Verify { .. })));
    assert!(read.try_recv().is_err());
    rig.written();
    assert_eq!(read.try_recv().unwrap(), Ok(0));
}

#[test]
fn a_confirmed_write_needs_no_verification_besides_its_append() {
    let mut rig = Rig::running();
    let (mut answer, _) = rig.send(Add(vec![1]), true);
    rig.append();
    assert!(rig.quiet());
    rig.written();
    assert!(answer.try_recv().unwrap().is_ok());
}

#[test]
fn a_confirmed_read_that_meets_a_newer_activation_is_decided_again() {
    let mut rig = Rig::running();
    let (mut read, _) = rig.send(Get, true);
    rig.take();
    rig.refused(superseded(9));
    let token = rig.reclaim();
    rig.answer_claim(token, 1, 0);
    rig.no_snapshot();
    rig.replay(&[foreign(1, 40)]);
    assert!(matches!(rig.take(), Action::Ready { .. }));
    assert!(matches!(rig.take(), Action::Write(Write::Verify { .. })));
    rig.written();
    assert_eq!(read.try_recv().unwrap(), Ok(40));
}

#[test]
fn a_command_whose_caller_gave_up_is_not_decided() {
    let mut rig = Rig::claiming(annals_snapshot::SnapshotPolicy::never());
    let (_answer, progress) = rig.send(Add(vec![5]), false);
    assert!(progress.give_up());
    rig.claimed(0);
    assert!(matches!(rig.take(), Action::Ready { .. }));
    assert!(rig.quiet());
}

#[test]
fn a_caller_cannot_give_up_once_its_command_is_decided() {
    let mut rig = Rig::running();
    let (_answer, progress) = rig.send(Add(vec![5]), false);
    assert!(!progress.give_up());
}

#[test]
fn an_event_that_is_too_large_leaves_the_state_untouched() {
    let mut rig = Rig::running();
    let mut answer = rig.ask(Bulk(6_000));
    assert!(matches!(answer.try_recv().unwrap(), Err(AskError::Failed(Failure::NotStorable { .. }))));
    assert!(rig.quiet(), "nothing was written, nothing thrown away");
    assert!(matches!(
        rig.ask(Add(vec![1, 2, 3, 4])).try_recv().unwrap(),
        Err(AskError::Failed(Failure::NotStorable { .. }))
    ));
    assert_eq!(rig.ask(Get).try_recv().unwrap(), Ok(0));
}

#[test]
fn stashed_commands_come_back_in_their_order_before_others() {
    let mut rig = Rig::running();
    let mut one = rig.ask(WhenOpen(1));
    let mut ten = rig.ask(WhenOpen(10));
    assert!(rig.quiet());
    rig.ask(Open);
    let expected: Vec<_> = (0..3).map(|_| rig.append().expected.get()).collect();
    assert_eq!(expected, [0, 1, 2]);
    (0..3).for_each(|_| rig.written());
    assert_eq!((one.try_recv().unwrap(), ten.try_recv().unwrap()), (Ok(1), Ok(11)));
}

#[test]
fn a_full_stash_fails_the_command() {
    let mut rig = Rig::running();
    let _kept = (rig.ask(WhenOpen(1)), rig.ask(WhenOpen(2)));
    let mut third = rig.ask(WhenOpen(3));
    assert!(matches!(
        third.try_recv().unwrap(),
        Err(AskError::Failed(Failure::StashFull { capacity: 2, .. }))
    ));
}

#[test]
fn work_begins_when_all_it_rests_on_is_durable_and_others_wait() {
    let mut rig = Rig::running();
    let mut added = rig.ask(Add(vec![5]));
    rig.append();
    let mut fetched = rig.ask(Fetch(7));
    assert!(rig.quiet(), "the work must not begin before event 1 is durable");
    assert!(!rig.entity.accepts_commands());
    rig.written();
    assert!(added.try_recv().is_ok());
    assert!(matches!(rig.take(), Action::Work(..)));
    let mut read = rig.ask(Get);
    rig.step(Input::Worked(WorkOutput::Done(Box::new(7_i64))));
    assert_eq!(rig.append().expected.get(), 1);
    rig.written();
    assert_eq!(fetched.try_recv().unwrap(), Ok(12));
    assert_eq!(read.try_recv().unwrap(), Ok(12));
}

#[test]
fn work_that_takes_too_long_fails_its_command_only() {
    let mut rig = Rig::running();
    let mut fetched = rig.ask(Fetch(7));
    rig.take();
    rig.step(Input::Worked(WorkOutput::TimedOut));
    assert!(matches!(fetched.try_recv().unwrap(), Err(AskError::Failed(Failure::WorkTimedOut { .. }))));
    assert_eq!(rig.ask(Get).try_recv().unwrap(), Ok(0));
}
