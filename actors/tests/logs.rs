//! What an operator reads of actors. Only one test runs them here, so that no other tells tracing that nobody listens.

#![allow(clippy::unwrap_used, reason = "a test may")]

#[allow(dead_code, reason = "shared with the node's stories")]
mod probe;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals_actors::plain::{
    Actor, ActorContext, ActorSystem, BoxError, Props, Published, Subscription, SupervisorStrategy,
};
use annals_actors::{Kind, Node, telemetry};
use probe::{Buy, BuyBlindly, PriceList, Priced, stores};
use tracing::field::{Field, Visit};
use tracing::span;

/// Fails at each message.
struct Bad;

impl Actor for Bad {
    type Message = u32;

    async fn receive(&mut self, number: u32, _: &mut ActorContext<Self>) -> Result<(), BoxError> {
        Err(format!("cannot do {number}").into())
    }
}

#[test]
fn failures_and_dead_letters_are_logged_with_reason_and_recipient_and_a_flood_is_not() {
    let lines = Lines::default();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    tracing::subscriber::with_default(lines.clone(), || runtime.block_on(story()));
    let lines = lines.0.lock().unwrap();
    let with = |text: &str| lines.iter().filter(|line| line.contains(text)).collect::<Vec<_>>();
    let [restart] = with("actor failed: restarts")[..] else { panic!("{lines:#?}") };
    assert!(restart.contains("actor=shop/bad") && restart.contains("failure=cannot do 1"), "{restart}");
    assert!(restart.contains("after=1"), "{restart}");
    let [stop] = with("actor failed: stops for good, spawn it again")[..] else { panic!("{lines:#?}") };
    assert!(stop.contains("failure=cannot do 2"), "{stop}");
    let [waits] = with("entity panicked: recovers, then commands wait")[..] else { panic!("{lines:#?}") };
    assert!(waits.contains("persistence_id=priced|tea") && waits.contains("reason=\"panic\""), "{waits}");
    assert!(waits.contains("is used but not declared") && waits.contains("pause=100ms"), "{waits}");
    let [refuses] = with("entity panicked too often: refuses commands for a while")[..] else {
        panic!("{lines:#?}")
    };
    assert!(refuses.contains("persistence_id=priced|tea"), "{refuses}");
    let letters = with("dead letter");
    assert_eq!(letters.len(), 12, "ten of the flood, one ten seconds later, and an entity's: {letters:#?}");
    let (entity, letters) = letters.split_last().unwrap();
    assert!(entity.contains("recipient=n/priced|tea") && entity.contains("panicked_too_often"), "{entity}");
    for letter in letters {
        assert!(letter.contains("recipient=shop/bad") && letter.contains("reason=\"stopped\""), "{letter}");
        assert!(letter.contains("message_type=\"u32\""), "{letter}");
    }
    assert!(letters[10].contains("not_logged_before=990"), "{}", letters[10]);
}

async fn story() {
    let system = ActorSystem::new("shop");
    let mut letters = system.dead_letters(2_000);
    let once = SupervisorStrategy::restart().limit(1, Duration::from_secs(60));
    let bad = system.spawn("bad", Props::new(|| Bad).supervisor(once)).unwrap();
    for number in [1, 2] {
        bad.tell(number).await.unwrap();
    }
    bad.terminated().await;
    for _ in 0..1_000 {
        bad.try_tell(3).unwrap_err();
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    bad.try_tell(3).unwrap_err();
    assert_eq!(heard(&mut letters), 1_001, "who listens hears of all");
    panic_twice().await;
}

async fn panic_twice() {
    let once = SupervisorStrategy::restart().limit(1, Duration::from_secs(60));
    let kind = Kind::<Priced>::new().service(PriceList(42)).service("a text").restart(once);
    let node = Node::builder("n").kind(kind).start(stores()).await.unwrap();
    let tea = node.entity::<Priced>("tea");
    for _ in 0..2 {
        tea.ask(BuyBlindly).await.unwrap_err();
    }
    tea.tell(Buy).await.unwrap_err();
}

fn heard<E>(letters: &mut Subscription<E>) -> usize {
    std::iter::from_fn(|| letters.try_next()).filter(|item| matches!(item, Published::Event(_))).count()
}

#[test]
fn the_guide_names_metrics_and_log_lines_that_exist() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guide/actors.md");
    // The packaged crate has no guide.
    let Ok(guide) = std::fs::read_to_string(page) else { return };
    let declared = include_str!("../src/telemetry.rs");
    let metrics: Vec<_> =
        guide.split('`').filter(|word| word.starts_with("annals_actor_") && !word.contains(' ')).collect();
    assert!(metrics.len() > 6 && metrics.contains(&telemetry::DEAD_LETTERS));
    for metric in metrics {
        assert!(declared.contains(&format!("\"{metric}\"")), "{metric}");
    }
    let logged = concat!(
        include_str!("../src/plain/runner.rs"),
        include_str!("../src/plain/dead_letters.rs"),
        include_str!("../src/driver/report.rs")
    );
    for line in guide.split("log line `").skip(1).filter_map(|rest| rest.split('`').next()) {
        assert!(logged.contains(line), "{line}");
    }
}

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Lines {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = String::new();
        event.record(&mut Line(&mut line));
        self.0.lock().unwrap().push(line);
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!(" {}={value:?}", field.name()));
    }
}
