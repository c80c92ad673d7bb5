//! Snapshots are taken in the entity's turn and stored behind their event.

use annals_snapshot::SnapshotPolicy;

use super::rig::*;
use crate::entity::{Action, Input, StopReason};

#[test]
fn a_snapshot_is_stored_only_when_its_last_event_is_durable() {
    let mut rig = Rig::running_with(SnapshotPolicy::every_events(2));
    rig.ask(Add(vec![1, 2]));
    rig.append();
    rig.ask(Add(vec![4]));
    rig.append();
    assert!(rig.quiet());
    rig.written();
    let Action::Save(snapshot) = rig.take() else { panic!("no snapshot") };
    assert_eq!(snapshot.seq_nr, seq(2));
    assert_eq!(&snapshot.payload[..], br#"{"sum":3,"open":false}"#, "the state right after event 2");
}

#[test]
fn a_snapshot_names_the_digest_of_its_last_event() {
    let mut rig = Rig::running_with(SnapshotPolicy::every_events(1));
    rig.ask(Add(vec![1]));
    let append = rig.append();
    rig.written();
    let Action::Save(snapshot) = rig.take() else { panic!("no snapshot") };
    assert_eq!(snapshot.last_event, append.events[0].digest());
    assert_eq!(snapshot.token, append.token);
}

#[test]
fn a_snapshot_goes_with_the_state_that_is_thrown_away() {
    let mut rig = Rig::running_with(SnapshotPolicy::every_events(1));
    rig.ask(Add(vec![1]));
    rig.append();
    rig.refused(conflict());
    let token = rig.reclaim();
    rig.answer_claim(token, 1, 0);
    rig.no_snapshot();
    rig.replay(&[foreign(1, 100)]);
    rig.take();
    rig.append();
    rig.written();
    let Action::Save(snapshot) = rig.take() else { panic!("no snapshot") };
    assert_eq!(snapshot.seq_nr, seq(2));
}

#[test]
fn one_save_at_a_time_and_a_failed_one_is_owed() {
    let mut rig = Rig::running_with(SnapshotPolicy::every_events(1));
    rig.ask(Add(vec![1]));
    rig.append();
    rig.written();
    assert!(matches!(rig.take(), Action::Save(_)));
    rig.ask(Add(vec![1]));
    rig.append();
    rig.written();
    assert!(rig.quiet(), "the first save is on its way");
    rig.step(Input::Saved { stored: false });
    rig.now = rig.now.plus(std::time::Duration::from_secs(120));
    rig.ask(Add(vec![1]));
    rig.append();
    rig.written();
    assert!(matches!(rig.take(), Action::Save(snapshot) if snapshot.seq_nr == seq(3)));
}

#[test]
fn a_last_snapshot_is_taken_at_the_stop_and_its_failure_does_not_hold_it_up() {
    for stored in [true, false] {
        let mut rig = Rig::running_with(SnapshotPolicy::on_stop());
        rig.ask(Leave::Passivate);
        rig.append();
        rig.written();
        assert!(matches!(rig.take(), Action::Save(_)));
        assert!(rig.quiet());
        rig.step(Input::Saved { stored });
        assert!(matches!(rig.take(), Action::Stop(StopReason::Passivated)));
    }
}
