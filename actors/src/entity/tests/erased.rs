//! An entity whose key was destroyed on purpose: told so at its claim, at a write, or in between; and the new life behind it.

use std::time::Duration;

use annals_journal::{Head, JournalError, Replayed, Token};
use annals_snapshot::{SnapshotError, SnapshotPolicy};

use super::rig::*;
use crate::entity::{Action, Input, StopReason};
use crate::{AskError, Failure};

fn erased() -> JournalError {
    JournalError::Erased { persistence_id: id(), seq_nr: None }
}

/// It refuses what waits with the failure of its own, leaves memory, and is left alone for a while.
fn assert_left(rig: &mut Rig) {
    let refused = rig.take();
    let Action::RefuseMailbox(Failure::Erased { persistence_id, retry_after }) = refused else {
        panic!("{}", name(&refused))
    };
    assert_eq!((persistence_id, retry_after), (id(), Duration::from_millis(100)));
    assert!(matches!(rig.take(), Action::Stop(StopReason::Erased)));
    assert!(rig.quiet(), "it tries nothing more");
    assert_eq!(rig.left_alone, [Duration::from_millis(100)]);
}

/// Claimed when its events up to a number were erased.
fn claimed_behind(head: u64, erased_to: u64) -> (Rig, Token) {
    let mut rig = Rig::claiming(SnapshotPolicy::never());
    let token = rig.claim();
    let head = Head { seq_nr: seq(head), token, erased_to: seq(erased_to), ..Head::EMPTY };
    rig.step(Input::Claimed(Ok(head)));
    (rig, token)
}

#[test]
fn erased_before_its_claim_it_is_told_at_once_and_claims_no_more() {
    let mut rig = Rig::claiming(SnapshotPolicy::never());
    let mut waiting = rig.ask(Add(vec![1]));
    rig.claim();
    rig.step(Input::Claimed(Err(erased())));
    assert!(matches!(waiting.try_recv().unwrap(), Err(AskError::Failed(Failure::Erased { .. }))));
    assert_left(&mut rig);
}

#[test]
fn a_running_owner_is_superseded_and_then_told_what_it_had_decided_is_not_carried_out() {
    let mut rig = Rig::running();
    let mut decided = rig.ask(Add(vec![1]));
    rig.append();
    rig.refused(superseded(9));
    rig.reclaim();
    rig.step(Input::Claimed(Err(erased())));
    assert!(matches!(decided.try_recv().unwrap(), Err(AskError::Failed(Failure::Erased { .. }))));
    assert_left(&mut rig);
}

#[test]
fn erased_between_claim_and_replay_it_never_goes_on_with_an_empty_state() {
    for item in [Ok(Some(Replayed::Erased { from: seq(1), to: seq(3) })), Err(erased())] {
        let (mut rig, _) = claimed_behind(3, 0);
        assert!(matches!(rig.take(), Action::Load(_)));
        let seq_nr = seq(3);
        rig.step(Input::Loaded(Err(SnapshotError::Erased { persistence_id: id(), seq_nr })));
        assert!(matches!(rig.take(), Action::Replay(from, _) if from == seq(1)));
        rig.step(Input::Replayed(item));
        assert_left(&mut rig);
    }
}

#[test]
fn an_id_without_events_is_told_at_its_first_append() {
    let mut rig = Rig::running();
    let mut decided = rig.ask(Add(vec![1]));
    rig.append();
    rig.refused(erased());
    assert!(matches!(rig.take(), Action::ForgetWrites));
    assert!(matches!(decided.try_recv().unwrap(), Err(AskError::Failed(Failure::Erased { .. }))));
    assert_left(&mut rig);
}

#[test]
fn a_new_life_begins_empty_behind_what_was_erased() {
    let (mut rig, _) = claimed_behind(3, 3);
    assert!(
        matches!(rig.take(), Action::Ready { replayed: 0, .. }),
        "neither a snapshot nor an event is read"
    );
    assert_eq!(rig.ask(Get).try_recv().unwrap(), Ok(0));
    let mut added = rig.ask(Add(vec![5]));
    let append = rig.append();
    assert_eq!((append.expected, append.events[0].seq_nr), (seq(3), seq(4)));
    rig.written();
    assert!(added.try_recv().unwrap().is_ok());
}

#[test]
fn a_new_life_goes_on_from_its_own_events_whatever_snapshots_the_old_one_left() {
    let left = || SnapshotError::Erased { persistence_id: id(), seq_nr: seq(2) };
    for snapshot in [Err(left()), Ok(Some(snapshot_of(&foreign(2, 2), 30)))] {
        let (mut rig, _) = claimed_behind(5, 3);
        assert!(matches!(rig.take(), Action::Load(at_most) if at_most == seq(5)));
        rig.step(Input::Loaded(snapshot));
        rig.replay(&[foreign(4, 7), foreign(5, 1)]);
        assert!(matches!(rig.take(), Action::Ready { replayed: 2, .. }));
        assert_eq!(rig.ask(Get).try_recv().unwrap(), Ok(8));
    }
}
