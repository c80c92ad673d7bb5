//! Memory is bounded (I14).

use super::rig::*;

#[test]
fn an_entity_takes_no_command_while_too_many_events_are_not_durable() {
    let mut rig = Rig::running();
    for _ in 0..4 {
        assert!(rig.entity.accepts_commands());
        rig.ask(Add(vec![1]));
    }
    assert!(!rig.entity.accepts_commands());
    rig.written();
    assert!(rig.entity.accepts_commands());
}

#[test]
fn an_entity_takes_no_command_while_too_many_bytes_are_not_durable() {
    let mut rig = Rig::running();
    rig.ask(Bulk(4_900));
    assert!(rig.entity.accepts_commands());
    rig.ask(Bulk(4_900));
    assert!(rig.entity.accepts_commands());
    rig.ask(Bulk(4_900));
    assert!(!rig.entity.accepts_commands());
}

#[test]
fn an_entity_takes_no_command_while_too_many_replies_are_held() {
    let mut rig = Rig::running();
    rig.ask(Add(vec![1]));
    let _reads: Vec<_> = (0..7).map(|_| rig.ask(Get)).collect();
    assert!(!rig.entity.accepts_commands());
    assert_eq!(rig.entity.held(), 8);
    rig.written();
    assert_eq!(rig.entity.held(), 0);
}
