//! From a claim to a running entity.

use annals_journal::{Codec, JournalError, Manifest, Replayed};
use annals_snapshot::{SnapshotError, SnapshotPolicy};

use super::rig::*;
use crate::entity::{Action, Input, StopReason};
use crate::{AskError, Failure, RecoveryError};

fn recovery_error(rig: &mut Rig) -> RecoveryError {
    let Action::RefuseMailbox(Failure::RecoveryFailed { reason, .. }) = rig.take() else {
        panic!("recovery went on")
    };
    assert!(matches!(rig.take(), Action::Stop(StopReason::RecoveryFailed)));
    reason
}

fn claimed(head: u64, deleted_to: u64) -> Rig {
    let mut rig = Rig::claiming(SnapshotPolicy::never());
    let token = rig.claim();
    rig.answer_claim(token, head, deleted_to);
    rig
}

#[test]
fn a_new_id_needs_nothing_but_its_claim() {
    let mut rig = claimed(0, 0);
    assert!(matches!(rig.take(), Action::Ready { replayed: 0, .. }));
    assert!(rig.quiet());
}

#[test]
fn commands_wait_for_recovery() {
    let mut rig = claimed(2, 0);
    assert!(!rig.entity.accepts_commands());
    let mut read = rig.ask(Get);
    rig.no_snapshot();
    assert!(read.try_recv().is_err());
    rig.replay(&[foreign(1, 1), foreign(2, 2)]);
    assert_eq!(read.try_recv().unwrap(), Ok(3));
}

#[test]
fn a_snapshot_spares_the_events_it_covers() {
    let mut rig = claimed(3, 0);
    assert!(matches!(rig.take(), Action::Load(at_most) if at_most == seq(3)));
    rig.step(Input::Loaded(Ok(Some(snapshot_of(&foreign(2, 2), 30)))));
    match rig.take() {
        Action::Replay(from, to) => assert_eq!((from, to), (seq(2), seq(3)), "its last event is compared"),
        other => panic!("{}", name(&other)),
    }
    rig.step(Input::Replayed(Ok(Some(stored(&foreign(2, 2))))));
    rig.step(Input::Replayed(Ok(Some(stored(&foreign(3, 4))))));
    rig.step(Input::Replayed(Ok(None)));
    assert!(matches!(rig.take(), Action::Ready { replayed: 1, snapshot } if snapshot == seq(2)));
    assert_eq!(rig.ask(Get).try_recv().unwrap(), Ok(34));
}

#[test]
fn an_unreadable_snapshot_falls_back_to_an_older_one_then_to_events() {
    let mut rig = claimed(3, 0);
    rig.take();
    let reason = "torn".to_owned();
    rig.step(Input::Loaded(Err(SnapshotError::Corrupt { persistence_id: id(), seq_nr: seq(3), reason })));
    assert!(matches!(rig.take(), Action::Load(at_most) if at_most == seq(2)));
    let mut other_version = snapshot_of(&foreign(2, 2), 30);
    other_version.schema_version = 99;
    rig.step(Input::Loaded(Ok(Some(other_version))));
    assert!(matches!(rig.take(), Action::Load(at_most) if at_most == seq(1)));
    rig.step(Input::Loaded(Ok(None)));
    rig.replay(&[foreign(1, 1), foreign(2, 2), foreign(3, 3)]);
    assert!(matches!(rig.take(), Action::Ready { replayed: 3, .. }));
}

#[test]
fn a_snapshot_of_another_history_is_unreadable() {
    let mut rig = claimed(2, 0);
    rig.take();
    let mut alien = foreign(2, 2);
    alien.token.activation = 77;
    let mut snapshot = snapshot_of(&alien, 1_000);
    snapshot.token = foreign(2, 2).token;
    rig.step(Input::Loaded(Ok(Some(snapshot))));
    rig.take();
    rig.step(Input::Replayed(Ok(Some(stored(&foreign(2, 2))))));
    assert!(matches!(rig.take(), Action::Load(at_most) if at_most == seq(1)));
    rig.step(Input::Loaded(Ok(None)));
    rig.replay(&[foreign(1, 1), foreign(2, 2)]);
    rig.take();
    assert_eq!(rig.ask(Get).try_recv().unwrap(), Ok(3));
}

#[test]
fn a_snapshot_with_a_token_newer_than_the_journals_is_unreadable() {
    let mut rig = claimed(2, 0);
    rig.take();
    let mut ahead = snapshot_of(&foreign(2, 2), 1_000);
    ahead.token = annals_journal::Token::new(annals_journal::Epoch(99), 1);
    rig.step(Input::Loaded(Ok(Some(ahead))));
    assert!(matches!(rig.take(), Action::Load(at_most) if at_most == seq(1)));
}

#[test]
fn missing_events_without_a_snapshot_are_an_error_never_an_empty_state() {
    let mut rig = claimed(3, 2);
    let mut waiting = rig.ask(Get);
    rig.no_snapshot();
    // Had a newer owner deleted them, this claim would be fenced.
    let token = rig.claim();
    rig.answer_claim(token, 3, 2);
    rig.no_snapshot();
    assert_eq!(recovery_error(&mut rig), RecoveryError::EventsMissing { to: seq(2) });
    assert!(matches!(waiting.try_recv().unwrap(), Err(AskError::Failed(Failure::RecoveryFailed { .. }))));
}

#[test]
fn a_snapshot_at_the_deleted_end_is_enough() {
    let mut rig = claimed(3, 2);
    rig.take();
    rig.step(Input::Loaded(Ok(Some(snapshot_of(&foreign(2, 2), 30)))));
    rig.replay(&[foreign(3, 3)]);
    rig.take();
    assert_eq!(rig.ask(Get).try_recv().unwrap(), Ok(33));
}

#[test]
fn a_snapshot_store_that_is_away_costs_a_full_replay_when_events_are_whole() {
    let away = || SnapshotError::Unavailable { reason: "away".into(), source: None };
    let mut rig = claimed(1, 0);
    rig.take();
    rig.step(Input::Loaded(Err(away())));
    rig.replay(&[foreign(1, 1)]);
    assert!(matches!(rig.take(), Action::Ready { .. }));

    let mut rig = claimed(2, 1);
    rig.take();
    rig.step(Input::Loaded(Err(away())));
    assert!(matches!(rig.take(), Action::Rest(_)), "without it the state cannot be known: try again");
}

#[test]
fn a_gap_or_a_short_replay_is_an_error() {
    let mut rig = claimed(3, 0);
    rig.no_snapshot();
    rig.take();
    rig.step(Input::Replayed(Ok(Some(stored(&foreign(1, 1))))));
    rig.step(Input::Replayed(Ok(Some(stored(&foreign(3, 1))))));
    assert_eq!(recovery_error(&mut rig), RecoveryError::Gap { expected: seq(2), found: seq(3) });

    let mut rig = claimed(3, 0);
    rig.no_snapshot();
    rig.replay(&[foreign(1, 1)]);
    assert!(matches!(recovery_error(&mut rig), RecoveryError::Gap { .. }));
}

#[test]
fn an_event_that_cannot_be_read_names_its_number() {
    let mut unknown_manifest = foreign(1, 1);
    unknown_manifest.manifest = Manifest::new("counter.vanished").unwrap();
    let mut from_the_future = foreign(1, 1);
    from_the_future.schema_version = 9;
    let mut wrong_codec = foreign(1, 1);
    wrong_codec.codec = Codec::Protobuf;
    let mut rubbish = foreign(1, 1);
    rubbish.payload = bytes::Bytes::from_static(b"{\"by\": \"many\"}");
    for event in [unknown_manifest, from_the_future, wrong_codec, rubbish] {
        let mut rig = claimed(1, 0);
        rig.no_snapshot();
        rig.take();
        rig.step(Input::Replayed(Ok(Some(stored(&event)))));
        let error = recovery_error(&mut rig);
        assert!(matches!(error, RecoveryError::Event { seq_nr, .. } if seq_nr == seq(1)), "{error}");
    }
}

#[test]
fn an_apply_that_panics_in_replay_is_a_typed_error() {
    use annals_migrations::EventAdapter;
    let adapter = annals_migrations::KindAdapter::<Change>::new("counter").unwrap();
    let poison = adapter.to_journal(&Change::Poison).unwrap();
    let mut event = foreign(1, 1);
    (event.manifest, event.payload) = (poison.manifest, poison.payload);
    let mut rig = claimed(1, 0);
    rig.no_snapshot();
    rig.take();
    rig.step(Input::Replayed(Ok(Some(stored(&event)))));
    assert!(matches!(recovery_error(&mut rig), RecoveryError::Panicked { .. }));
}

#[test]
fn a_corrupt_event_stops_the_entity_and_a_silent_journal_does_not() {
    let mut rig = claimed(1, 0);
    rig.no_snapshot();
    rig.take();
    rig.step(Input::Replayed(Err(JournalError::corrupt(&id(), seq(1), "checksum"))));
    assert!(matches!(recovery_error(&mut rig), RecoveryError::Journal { .. }));

    let mut rig = claimed(1, 0);
    rig.no_snapshot();
    rig.take();
    rig.step(Input::Replayed(Err(unavailable())));
    assert!(matches!(rig.take(), Action::Rest(_)));
}

#[test]
fn events_deleted_while_replaying_send_it_back_to_the_snapshots() {
    let mut rig = claimed(3, 0);
    rig.no_snapshot();
    rig.take();
    rig.step(Input::Replayed(Ok(Some(Replayed::Deleted { from: seq(1), to: seq(2) }))));
    assert!(matches!(rig.take(), Action::Load(_)));
    rig.step(Input::Loaded(Ok(Some(snapshot_of(&foreign(3, 3), 6)))));
    rig.replay(&[foreign(3, 3)]);
    rig.take();
    assert_eq!(rig.ask(Get).try_recv().unwrap(), Ok(6));
}

#[test]
fn fenced_at_its_claim_it_stops() {
    let mut rig = Rig::claiming(SnapshotPolicy::never());
    let mut waiting = rig.ask(Get);
    rig.claim();
    rig.step(Input::Claimed(Err(fenced())));
    assert!(matches!(waiting.try_recv().unwrap(), Err(AskError::Failed(Failure::Fenced { .. }))));
    rig.take();
    assert!(matches!(rig.take(), Action::Stop(StopReason::Fenced)));
}
