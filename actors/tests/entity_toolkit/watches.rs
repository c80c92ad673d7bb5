//! Entities watch plain actors, and are watched by them.

use annals_actors::plain::{
    Actor, ActorContext, ActorRef, BoxError, Mailbox, Props, Signal, Terminated, TerminationReason,
};
use annals_actors::testing::{Probe, TestNode};
use annals_actors::{EntityRef, Failure, Kind};

use crate::kettle::*;
use crate::{SEC, notes};

/// A kitchen whose kettles may watch a stove, and the stove.
async fn with_a_stove() -> (TestNode, Probe<String>) {
    let mut builder = TestNode::builder();
    let stove = builder.probe::<String>();
    let actor = stove.actor_ref();
    let kind = move || Kind::<Kettle>::new().service(Stove(Some(actor.clone())));
    (builder.kind(kind).start().await, stove)
}

async fn stopped(stove: &Probe<String>) {
    stove.actor_ref().stop();
    stove.expect_terminated(&stove.actor_ref()).await;
}

fn stove_notes(stove: &Probe<String>) -> Vec<String> {
    vec![format!("{} stopped", stove.actor_ref().path().name())]
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_watched_actor_is_a_command_once() {
    let (kit, stove) = with_a_stove().await;
    let kettle = kit.entity::<Kettle>("a");
    for _ in 0..2 {
        kettle.ask(want(What::Watch)).await.unwrap();
    }
    assert_eq!(notes(&kettle).await, [""; 0]);
    stopped(&stove).await;
    kit.advance(SEC).await;
    assert_eq!(notes(&kettle).await, stove_notes(&stove));
    kit.advance(60 * SEC).await;
    assert_eq!(notes(&kettle).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_has_ended_before_it_is_watched_is_told_at_once() {
    let (kit, stove) = with_a_stove().await;
    let kettle = kit.entity::<Kettle>("a");
    stopped(&stove).await;
    kettle.ask(want(What::Watch)).await.unwrap();
    kit.advance(SEC).await;
    assert_eq!(notes(&kettle).await, stove_notes(&stove));
}

#[tokio::test(start_paused = true)]
async fn after_unwatching_no_notice_comes_also_when_one_is_on_its_way() {
    let (kit, stove) = with_a_stove().await;
    let kettle = kit.entity::<Kettle>("a");
    kettle.ask(want(What::Watch)).await.unwrap();
    kit.journal().next_append().takes(3 * SEC);
    let unwatch = Want { note: Some("unwatched".into()), what: What::Unwatch };
    let unwatched = tokio::spawn(kettle.ask(unwatch).into_future());
    kit.advance(SEC).await;
    stopped(&stove).await;
    unwatched.await.unwrap().unwrap();
    kit.advance(60 * SEC).await;
    assert_eq!(notes(&kettle).await, ["unwatched"]);
}

#[tokio::test(start_paused = true)]
async fn a_notice_is_not_dropped_by_a_full_mailbox() {
    let mut builder = TestNode::builder();
    let stove = builder.probe::<String>();
    let actor = stove.actor_ref();
    let kind = move || Kind::<Kettle>::new().service(Stove(Some(actor.clone()))).mailbox(Mailbox::bounded(1));
    let kit = builder.kind(kind).start().await;
    let kettle = kit.entity::<Kettle>("a");
    kettle.ask(want(What::Watch)).await.unwrap();
    // The journal holds the entity up, and its mailbox is full.
    kit.journal().next_append().takes(3 * SEC);
    let noting = tokio::spawn(kettle.ask(Note("held".into())).into_future());
    kit.advance(SEC).await;
    while kettle.try_tell(Note("told".into())).is_ok() {}
    stopped(&stove).await;
    assert!(noting.await.unwrap().is_ok());
    kit.advance(60 * SEC).await;
    let heard = notes(&kettle).await;
    assert_eq!(heard.iter().filter(|note| **note == stove_notes(&stove)[0]).count(), 1, "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn watches_end_with_the_stay_in_memory_and_with_a_panic() {
    let (kit, stove) = with_a_stove().await;
    let (dozes, bursts) = (kit.entity::<Kettle>("dozes"), kit.entity::<Kettle>("bursts"));
    dozes.ask(want(What::Watch)).await.unwrap();
    dozes.ask(want(What::Doze)).await.unwrap();
    bursts.ask(want(What::Watch)).await.unwrap();
    bursts.ask(Burst).await.unwrap_err();
    kit.advance(SEC).await;
    stopped(&stove).await;
    kit.advance(60 * SEC).await;
    assert_eq!(notes(&dozes).await, [""; 0]);
    assert_eq!(notes(&bursts).await, [""; 0]);
}

/// A plain actor that watches an entity and passes on what it hears.
struct Cook {
    kettle: EntityRef<Kettle>,
    heard: ActorRef<TerminationReason>,
    unwatches: bool,
}

impl Actor for Cook {
    type Message = Terminated;

    async fn receive(&mut self, ended: Terminated, _: &mut ActorContext<Self>) -> Result<(), BoxError> {
        self.heard.tell(ended.reason).await?;
        Ok(())
    }

    async fn signal(&mut self, signal: Signal, ctx: &mut ActorContext<Self>) -> Result<(), BoxError> {
        match signal {
            Signal::Started => {
                ctx.watch_entity(&self.kettle)?;
                if self.unwatches {
                    ctx.unwatch_entity(&self.kettle)?;
                }
            }
            Signal::Terminated(terminated) => {
                assert!(terminated.path.name().starts_with("kettle|"));
                self.heard.tell(terminated.reason).await?;
            }
            _ => {}
        }
        Ok(())
    }
}

fn cook(kit: &TestNode, id: &str, heard: &Probe<TerminationReason>, unwatches: bool) {
    let (kettle, heard) = (kit.entity::<Kettle>(id), heard.actor_ref());
    let props = Props::new(move || Cook { kettle: kettle.clone(), heard: heard.clone(), unwatches });
    let name = format!("cook-{}", kit.system().actors());
    kit.system().spawn(&name, props).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_plain_actor_is_told_why_an_entity_leaves_memory() {
    let (kit, _stove) = with_a_stove().await;
    let kettle = kit.entity::<Kettle>("a");
    let mut heard = kit.probe::<TerminationReason>();
    cook(&kit, "a", &heard, false);
    assert_eq!(heard.receive().await, TerminationReason::NotInMemory);

    for (what, reason) in
        [(What::Doze, TerminationReason::Passivated), (What::Stop, TerminationReason::Stopped)]
    {
        kettle.ask(Note("awake".into())).await.unwrap();
        cook(&kit, "a", &heard, false);
        heard.expect_no_message(SEC).await;
        kettle.ask(want(what)).await.unwrap();
        assert_eq!(heard.receive().await, reason);
    }

    kettle.ask(Note("awake".into())).await.unwrap();
    cook(&kit, "a", &heard, false);
    kettle.ask(Burst).await.unwrap_err();
    heard.expect_no_message(10 * SEC).await;
    kit.journal().next_append().is_fenced();
    kettle.ask(Note("too late".into())).await.unwrap_err();
    assert_eq!(heard.receive().await, TerminationReason::Fenced);

    kit.entity::<Kettle>("b").ask(Note("awake".into())).await.unwrap();
    cook(&kit, "b", &heard, false);
    heard.expect_no_message(SEC).await;
    assert!(kit.crash::<Kettle>("b").await);
    assert_eq!(heard.receive().await, TerminationReason::Aborted);
}

#[tokio::test(start_paused = true)]
async fn an_entity_whose_history_cannot_be_read_has_failed() {
    let (kit, _stove) = with_a_stove().await;
    let kettle = kit.entity::<Kettle>("a");
    kettle.ask(Note("one".into())).await.unwrap();
    kettle.ask(want(What::Doze)).await.unwrap();
    kit.advance(SEC).await;
    kit.journal().next_replay().delayed(5 * SEC).is_corrupt("on order");
    let asked = tokio::spawn(kettle.ask(Notes).into_future());
    kit.advance(SEC).await;
    let mut heard = kit.probe::<TerminationReason>();
    cook(&kit, "a", &heard, false);
    heard.expect_no_message(SEC).await;
    asked.await.unwrap().unwrap_err();
    let TerminationReason::Failed(failure) = heard.receive().await else { panic!("it has failed") };
    assert!(failure.to_string().contains("on order"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn who_has_ended_its_watch_hears_nothing() {
    let (kit, _stove) = with_a_stove().await;
    let kettle = kit.entity::<Kettle>("a");
    kettle.ask(Note("awake".into())).await.unwrap();
    let mut heard = kit.probe::<TerminationReason>();
    cook(&kit, "a", &heard, true);
    kit.advance(SEC).await;
    kettle.ask(want(What::Stop)).await.unwrap();
    heard.expect_no_message(10 * SEC).await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_entity_can_be_awaited() {
    let (kit, _stove) = with_a_stove().await;
    let kettle = kit.entity::<Kettle>("a");
    assert_eq!(kettle.terminated().await, Ok(TerminationReason::NotInMemory));
    kettle.ask(Note("awake".into())).await.unwrap();
    let ends = tokio::spawn({
        let kettle = kettle.clone();
        async move { kettle.terminated().await }
    });
    kit.advance(SEC).await;
    kit.shutdown().await;
    assert_eq!(ends.await.unwrap(), Ok(TerminationReason::Stopped));
    let invalid = kit.entity::<Kettle>("");
    assert!(matches!(invalid.terminated().await, Err(Failure::InvalidId(_))));
}
