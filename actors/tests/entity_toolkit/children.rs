//! Entities have plain actors as children.

use annals_actors::AskError;
use annals_actors::Failure;
use annals_actors::plain::{Published, TerminationReason};
use annals_actors::testing::TestNode;

use crate::kettle::*;
use crate::{MS, SEC, kitchen, notes};

fn spawn(name: &str, upbringing: Upbringing) -> Want {
    want(What::Spawn { name: name.into(), upbringing })
}

fn tell(name: &str, say: Say) -> Want {
    want(What::TellChild { name: name.into(), say })
}

#[tokio::test(start_paused = true)]
async fn a_child_runs_below_its_entity_and_tells_it() {
    let kit = kitchen().await;
    let kettle = kit.entity::<Kettle>("a");
    kettle.ask(spawn("lid", Upbringing::Restart)).await.unwrap();
    kettle.ask(tell("lid", Say::Hello)).await.unwrap();
    kit.advance(SEC).await;
    assert_eq!(notes(&kettle).await, ["lid started", "hello from lid"]);
    assert_eq!(kit.system().actors(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_child_of_a_command_that_is_not_stored_is_never_spawned() {
    let kit = kitchen().await;
    let kettle = kit.entity::<Kettle>("a");
    kettle.ask(Note("awake".into())).await.unwrap();
    kit.journal().next_append().is_rejected("on order");
    let what = What::Spawn { name: "lid".into(), upbringing: Upbringing::Restart };
    kettle.ask(Want { note: Some("refused".into()), what }).await.unwrap_err();
    kit.advance(SEC).await;
    assert_eq!(notes(&kettle).await, ["awake"]);
    assert_eq!(kit.system().actors(), 0);
}

#[tokio::test(start_paused = true)]
async fn names_are_unique_and_free_again_when_the_child_is_gone() {
    let kit = kitchen().await;
    let kettle = kit.entity::<Kettle>("a");
    for _ in 0..3 {
        kettle.ask(spawn("lid", Upbringing::Restart)).await.unwrap();
    }
    kit.advance(SEC).await;
    assert_eq!(notes(&kettle).await, ["lid started"], "the one that runs stays");
    kettle.ask(tell("lid", Say::Sleep(5 * SEC))).await.unwrap();
    kettle.ask(want(What::StopChild("lid".into()))).await.unwrap();
    kettle.ask(spawn("lid", Upbringing::Restart)).await.unwrap();
    assert_eq!(kit.system().actors(), 1, "the next one waits for the name");
    kit.advance(10 * SEC).await;
    assert_eq!(notes(&kettle).await, ["lid started", "lid started"]);
}

#[tokio::test(start_paused = true)]
async fn a_child_that_fails_is_restarted_or_stopped_as_its_props_say() {
    let kit = kitchen().await;
    let kettle = kit.entity::<Kettle>("a");
    kettle.ask(spawn("tough", Upbringing::Restart)).await.unwrap();
    kettle.ask(spawn("frail", Upbringing::Stop)).await.unwrap();
    kit.advance(SEC).await;
    for name in ["tough", "frail"] {
        kettle.ask(tell(name, Say::Fail)).await.unwrap();
    }
    kit.advance(60 * SEC).await;
    let mut letters = kit.system().dead_letters(10);
    for name in ["tough", "frail"] {
        kettle.ask(tell(name, Say::Hello)).await.unwrap();
    }
    kit.advance(SEC).await;
    let mut heard = notes(&kettle).await;
    heard.sort();
    assert_eq!(heard, ["frail started", "hello from tough", "tough started", "tough started"]);
    let Published::Event(letter) = letters.next().await else { panic!("a dead letter was expected") };
    assert_eq!((letter.recipient.name(), letter.reason.label()), ("frail", "stopped"));
}

#[tokio::test(start_paused = true)]
async fn a_child_that_escalates_makes_its_entity_fail_which_replays() {
    let kit = kitchen().await;
    let (kettle, neighbour) = (kit.entity::<Kettle>("a"), kit.entity::<Kettle>("b"));
    kettle.ask(Note("kept".into())).await.unwrap();
    kettle.ask(spawn("calm", Upbringing::Restart)).await.unwrap();
    kettle.ask(spawn("angry", Upbringing::Escalate)).await.unwrap();
    let later = What::Timer { key: "tea".into(), after: 5 * SEC, note: "tea".into() };
    kettle.ask(want(later)).await.unwrap();
    kit.advance(SEC).await;
    kettle.ask(tell("angry", Say::Fail)).await.unwrap();
    kit.advance(60 * SEC).await;
    assert_eq!(kit.system().actors(), 0, "its children and timers end as by a panic");
    assert_eq!(notes(&kettle).await, ["kept", "calm started", "angry started"]);
    neighbour.ask(Note("well".into())).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_entity_whose_children_escalate_too_often_is_left_alone_for_a_while() {
    use annals_actors::plain::SupervisorStrategy;
    let kind = || kettles().restart(SupervisorStrategy::restart().limit(1, 60 * SEC));
    let kit = TestNode::builder().kind(kind).start().await;
    let kettle = kit.entity::<Kettle>("a");
    for _ in 0..2 {
        kettle.ask(spawn("angry", Upbringing::Escalate)).await.unwrap();
        kettle.ask(tell("angry", Say::Fail)).await.unwrap();
        kit.advance(SEC).await;
    }
    let refused = kettle.ask(Notes).await;
    let Err(AskError::Failed(Failure::PanickedTooOften { message, .. })) = refused else {
        panic!("{refused:?}")
    };
    assert!(message.contains("on purpose"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn children_stop_before_the_stop_or_passivation_of_their_entity_is_complete() {
    for end in [What::Doze, What::Stop] {
        let kit = kitchen().await;
        let kettle = kit.entity::<Kettle>("a");
        kettle.ask(spawn("lid", Upbringing::Restart)).await.unwrap();
        kettle.ask(tell("lid", Say::Sleep(5 * SEC))).await.unwrap();
        kettle.ask(want(end)).await.unwrap();
        let began = kit.now();
        let reason = kettle.terminated().await.unwrap();
        assert!(matches!(reason, TerminationReason::Passivated | TerminationReason::Stopped), "{reason:?}");
        assert_eq!(kit.system().actors(), 0);
        assert!(kit.now().since(began) >= 4_900 * MS, "it waited for what its child had to do");
        assert_eq!(notes(&kettle).await, ["lid started"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_that_does_not_stop_is_aborted_in_the_end() {
    let kit = TestNode::builder().kind(|| kettles().work_limit(3 * SEC)).start().await;
    let kettle = kit.entity::<Kettle>("a");
    kettle.ask(spawn("lid", Upbringing::Restart)).await.unwrap();
    kettle.ask(tell("lid", Say::Sleep(100_000 * SEC))).await.unwrap();
    kettle.ask(want(What::Stop)).await.unwrap();
    let began = kit.now();
    kettle.terminated().await.unwrap();
    let took = kit.now().since(began);
    assert!(took >= 2_900 * MS && took < 10 * SEC, "{took:?}");
    assert_eq!(kit.system().actors(), 0);
}

#[tokio::test(start_paused = true)]
async fn children_end_with_a_panic_a_fencing_a_crash_and_the_node() {
    let kit = kitchen().await;
    let kettle = kit.entity::<Kettle>("a");
    kettle.ask(spawn("lid", Upbringing::Restart)).await.unwrap();
    kettle.ask(Burst).await.unwrap_err();
    kit.advance(SEC).await;
    assert_eq!(kit.system().actors(), 0, "by a panic");

    kettle.ask(spawn("lid", Upbringing::Restart)).await.unwrap();
    kit.advance(SEC).await;
    kit.journal().next_append().is_fenced();
    kettle.ask(Note("too late".into())).await.unwrap_err();
    kit.advance(SEC).await;
    assert_eq!(kit.system().actors(), 0, "by a fencing");
    let kettle = kit.entity::<Kettle>("b");

    kettle.ask(spawn("lid", Upbringing::Restart)).await.unwrap();
    kit.advance(SEC).await;
    assert!(kit.crash::<Kettle>("b").await);
    kit.advance(SEC).await;
    assert_eq!(kit.system().actors(), 0, "by a crash");

    kettle.ask(spawn("lid", Upbringing::Restart)).await.unwrap();
    kit.advance(SEC).await;
    let system = kit.system();
    kit.shutdown().await;
    assert_eq!(system.actors(), 0, "by the stop of the node");
}

#[tokio::test(start_paused = true)]
async fn a_message_of_another_type_and_one_to_nobody_are_dead_letters() {
    let kit = kitchen().await;
    let kettle = kit.entity::<Kettle>("a");
    let mut letters = kit.system().dead_letters(10);
    kettle.ask(spawn("lid", Upbringing::Restart)).await.unwrap();
    kettle.ask(want(What::TellChildNonsense("lid".into()))).await.unwrap();
    kettle.ask(tell("nobody", Say::Hello)).await.unwrap();
    for name in ["lid", "nobody"] {
        let Published::Event(letter) = letters.next().await else { panic!("a dead letter was expected") };
        assert_eq!((letter.recipient.name(), letter.reason.label()), (name, "stopped"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_blurs_paths_spawns_nobody_and_hurts_nobody() {
    let kit = kitchen().await;
    let kettle = kit.entity::<Kettle>("a");
    for name in ["", "a/b"] {
        kettle.ask(spawn(name, Upbringing::Restart)).await.unwrap();
        kettle.ask(tell(name, Say::Hello)).await.unwrap();
        kettle.ask(want(What::StopChild(name.into()))).await.unwrap();
    }
    assert_eq!(kit.system().actors(), 0);
    assert_eq!(notes(&kettle).await, [""; 0]);
}
