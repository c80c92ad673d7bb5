//! Events whose version others must be asked about.

use std::sync::Arc;

use annals_journal::Manifest;
use annals_migrations::{Permission, Written, WrittenForms};
use annals_snapshot::SnapshotPolicy;

use super::rig::*;
use crate::entity::{Action, Input, WorkOutput};
use crate::{AskError, Failure};

fn added() -> Manifest {
    Manifest::new("counter.added").unwrap()
}

fn asking() -> (Rig, Arc<WrittenForms>) {
    let forms = Arc::new(WrittenForms::new());
    forms.set(added(), Permission { written: Written::Today, ask: true });
    let mut rig = Rig::claiming_writing(SnapshotPolicy::never(), Arc::clone(&forms));
    rig.claimed(0);
    assert!(matches!(rig.take(), Action::Ready { .. }));
    (rig, forms)
}

fn known(rig: &mut Rig, known: Result<(), String>) {
    rig.step(Input::Worked(WorkOutput::Done(Box::new(known))));
}

fn asked(rig: &mut Rig) {
    assert!(matches!(rig.take(), Action::Work(..)));
    assert!(rig.quiet(), "nothing is written before the answer");
}

#[test]
fn the_first_event_of_a_version_waits_until_it_is_known_who_reads_it() {
    let (mut rig, forms) = asking();
    let mut first = rig.ask(Add(vec![1, 2]));
    asked(&mut rig);
    let mut second = rig.ask(Get);
    assert!(second.try_recv().is_err(), "it waits behind the first");
    forms.set(added(), Permission { written: Written::Today, ask: false });
    known(&mut rig, Ok(()));
    assert_eq!(rig.append().events.len(), 2);
    rig.written();
    assert_eq!(first.try_recv().unwrap().unwrap().0, 3);
    assert_eq!(second.try_recv().unwrap().unwrap(), 3);
}

#[test]
fn what_may_not_be_written_after_all_fails_and_leaves_the_state() {
    let (mut rig, forms) = asking();
    let mut refused = rig.ask(Add(vec![1]));
    asked(&mut rig);
    forms.set(added(), Permission { written: Written::Refused("b reads nothing".into()), ask: false });
    known(&mut rig, Ok(()));
    let failure = refused.try_recv().unwrap().unwrap_err();
    assert!(matches!(failure, AskError::Failed(Failure::NotStorable { .. })), "{failure:?}");
    assert_eq!(rig.ask(Get).try_recv().unwrap().unwrap(), 0);
}

#[test]
fn without_an_answer_the_command_fails_and_may_be_repeated() {
    let (mut rig, _) = asking();
    for output in [WorkOutput::Done(Box::new(Err::<(), _>("no disk".to_owned()))), WorkOutput::TimedOut] {
        let mut failed = rig.ask(Add(vec![1]));
        asked(&mut rig);
        rig.step(Input::Worked(output));
        let Err(AskError::Failed(failure)) = failed.try_recv().unwrap() else { panic!("it must fail") };
        assert!(failure.is_transient(), "{failure}");
    }
    assert_eq!(rig.ask(Get).try_recv().unwrap().unwrap(), 0);
}

#[test]
fn a_caller_may_give_up_while_it_is_asked() {
    let (mut rig, forms) = asking();
    let (_answer, progress) = rig.send(Add(vec![1]), false);
    asked(&mut rig);
    assert!(progress.give_up());
    forms.set(added(), Permission { written: Written::Today, ask: false });
    known(&mut rig, Ok(()));
    assert!(rig.quiet());
    assert_eq!(rig.ask(Get).try_recv().unwrap().unwrap(), 0);
}

#[test]
fn the_question_does_not_wait_for_writes_on_their_way() {
    let (mut rig, forms) = asking();
    let _opened = rig.ask(Open);
    rig.append();
    let mut added_one = rig.ask(Add(vec![1]));
    asked(&mut rig);
    forms.set(added(), Permission { written: Written::Today, ask: false });
    known(&mut rig, Ok(()));
    rig.append();
    rig.written();
    rig.written();
    assert!(added_one.try_recv().unwrap().is_ok());
}
