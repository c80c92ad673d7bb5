//! A node stops its plain actors first, then its entities.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals_actors::plain::{
    Actor, ActorContext, ActorSystem, BoxError, DeadLetterReason, Props, Published, Signal,
};
use annals_actors::{AskError, EntityRef, Failure, Kind, Node};
use tokio::sync::Semaphore;

use crate::tank::*;

const SEC: Duration = Duration::from_secs(1);

/// Hears numbers.
pub(crate) struct Listener(Arc<Mutex<Vec<u64>>>);

pub(crate) fn listener() -> Props<Listener> {
    Props::new(|| Listener(Arc::default()))
}

impl Actor for Listener {
    type Message = u64;

    async fn receive(&mut self, number: u64, _: &mut ActorContext<Self>) -> Result<(), BoxError> {
        self.0.lock().unwrap().push(number);
        Ok(())
    }
}

/// Fills a tank and notes what it answers, once it may.
struct Filler {
    tank: EntityRef<Tank>,
    may: Arc<Semaphore>,
    answers: Arc<Mutex<Vec<Result<u64, String>>>>,
}

impl Actor for Filler {
    type Message = u64;

    async fn receive(&mut self, litres: u64, _: &mut ActorContext<Self>) -> Result<(), BoxError> {
        self.may.acquire().await?.forget();
        let answer = self.tank.ask(Fill(litres)).await.map_err(|error| error.to_string());
        self.answers.lock().unwrap().push(answer);
        Ok(())
    }

    async fn signal(&mut self, signal: Signal, _: &mut ActorContext<Self>) -> Result<(), BoxError> {
        if signal == Signal::PostStop {
            // On the way out, too.
            self.tank.tell(Fill(100)).await?;
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn entities_answer_while_plain_actors_drain() {
    let (plant, journal) = plant(|kind| kind);
    let node = started(plant, &journal).await;
    let (may, answers) = (Arc::new(Semaphore::new(0)), Arc::<Mutex<Vec<_>>>::default());
    let filler = node
        .system()
        .spawn("filler", {
            let (tank, may, answers) = (node.entity::<Tank>("a"), Arc::clone(&may), Arc::clone(&answers));
            Props::new(move || Filler {
                tank: tank.clone(),
                may: Arc::clone(&may),
                answers: Arc::clone(&answers),
            })
        })
        .unwrap();
    for litres in [1, 2, 3] {
        filler.tell(litres).await.unwrap();
    }
    let stopping = tokio::spawn({
        let node = node.clone();
        async move { node.shutdown().await }
    });
    // It has begun: the actor takes no more.
    while filler.try_tell(4).is_ok() {
        tokio::task::yield_now().await;
    }
    may.add_permits(10);
    stopping.await.unwrap();
    let answers = answers.lock().unwrap().clone();
    assert!(answers[..3].iter().eq(&[Ok(1), Ok(3), Ok(6)]), "{answers:?}");
    let late = node.entity::<Tank>("a").ask(Litres).await;
    assert!(matches!(late, Err(AskError::Failed(Failure::Stopping { .. }))), "{late:?}");
    let again = started(crate::tank::plant(|kind| kind).0, &journal).await;
    let litres = again.entity::<Tank>("a").ask(Litres).await.unwrap();
    assert!(litres >= 106, "{litres}: what it told on its way out was carried out");
}

#[tokio::test(start_paused = true)]
async fn a_side_effect_that_finds_its_plain_actor_stopped_leaves_a_dead_letter() {
    let system = ActorSystem::new("plant");
    let gauge = system.spawn("gauge", listener()).unwrap();
    let kind = Kind::<Tank>::new().service(system.clone()).service(Gauges(Some(gauge.clone())));
    let journal = Arc::new(crate::doctored::Doctored::new());
    let node = started(Node::builder("plant").kind(kind).system(system.clone()), &journal).await;
    let mut letters = node.system().dead_letters(10);
    let tank = node.entity::<Tank>("a");
    tank.ask(Litres).await.unwrap();
    // Decided, and held back by the journal while the plain actors stop.
    journal.silence();
    let filled = tokio::spawn(tank.ask(Fill(5)).into_future());
    let stopping = tokio::spawn({
        let node = node.clone();
        async move { node.shutdown().await }
    });
    gauge.terminated().await;
    journal.speak();
    stopping.await.unwrap();
    assert_eq!(filled.await.unwrap(), Ok(5), "what was decided is finished");
    let Published::Event(letter) = letters.next().await else { panic!() };
    assert_eq!((letter.recipient.as_str(), letter.reason), ("plant/gauge", DeadLetterReason::Stopped));
}

#[tokio::test(start_paused = true)]
async fn plain_actors_that_do_not_stop_in_time_do_not_keep_the_node() {
    let (plant, journal) = plant(|kind| kind);
    let node = started(plant.actors_stop_within(3 * SEC), &journal).await;
    let never = Arc::new(Semaphore::new(0));
    let filler = node
        .system()
        .spawn("filler", {
            let tank = node.entity::<Tank>("a");
            Props::new(move || Filler {
                tank: tank.clone(),
                may: Arc::clone(&never),
                answers: Arc::default(),
            })
        })
        .unwrap();
    filler.tell(1).await.unwrap();
    node.entity::<Tank>("b").ask(Fill(1)).await.unwrap();
    node.shutdown().await;
    assert_eq!(node.system().actors(), 0);
    assert!(node.entity::<Tank>("b").ask(Litres).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_nobody_waits_for_goes_on_and_another_call_waits_for_it() {
    let (plant, journal) = plant(|kind| kind);
    let node = started(plant, &journal).await;
    let gauge = node.system().spawn("gauge", listener()).unwrap();
    node.entity::<Tank>("a").ask(Fill(1)).await.unwrap();
    // Polled once, and dropped.
    assert!(futures::poll!(std::pin::pin!(node.shutdown())).is_pending());
    gauge.terminated().await;
    node.shutdown().await;
    assert!(matches!(node.entity::<Tank>("a").try_tell(Fill(1)), Err(Failure::Stopping { .. })));
}

#[tokio::test(start_paused = true)]
async fn what_an_entity_publishes_is_heard_on_the_nodes_event_stream() {
    let (plant, journal) = plant(|kind| kind);
    let node = started(plant, &journal).await;
    let mut totals = node.system().event_stream().subscribe::<Total>(10);
    for litres in [1, 2] {
        node.entity::<Tank>("a").ask(Fill(litres)).await.unwrap();
    }
    assert_eq!(totals.next().await, Published::Event(Total(1)));
    assert_eq!(totals.next().await, Published::Event(Total(3)));
}
