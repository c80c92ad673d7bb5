//! Pools and groups behind routers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use annals_actors::plain::{
    Actor, ActorContext, ActorSystem, BoxError, DeadLetterReason, NoAnswer, Props, Published, ReplyTo,
    Router, SpawnError, Undeliverable,
};

use crate::probe::*;

/// Says who it is.
struct Teller;

struct Who {
    account: u32,
    reply_to: ReplyTo<Arc<str>>,
}

impl Actor for Teller {
    type Message = Who;

    async fn receive(&mut self, who: Who, ctx: &mut ActorContext<Self>) -> Result<(), BoxError> {
        if who.account == 666 {
            panic!("cursed");
        }
        who.reply_to.send(ctx.path().name().into());
        Ok(())
    }
}

async fn who(router: &Router<Who>, account: u32) -> String {
    router.ask(|reply_to| Who { account, reply_to }, SEC).await.unwrap().to_string()
}

#[tokio::test]
async fn round_robin_takes_the_next_and_passes_over_who_has_stopped() {
    let system = ActorSystem::new("bank");
    let pool = system.spawn_pool("teller", 3, Props::new(|| Teller)).unwrap();
    let second = pool.routees()[1].clone();
    let router = pool.round_robin();
    let mut asked = Vec::new();
    for _ in 0..4 {
        asked.push(who(&router, 0).await);
    }
    assert_eq!(asked, ["teller-1", "teller-2", "teller-3", "teller-1"]);
    second.stop();
    let rest: BTreeSet<_> = [who(&router, 0).await, who(&router, 0).await, who(&router, 0).await].into();
    assert_eq!(rest, BTreeSet::from(["teller-1".into(), "teller-3".into()]));
}

#[tokio::test]
async fn a_key_stays_with_its_routee_and_moves_only_when_that_stops() {
    let system = ActorSystem::new("bank");
    let pool = system.spawn_pool("teller", 4, Props::new(|| Teller)).unwrap();
    let tellers = pool.routees().to_vec();
    let router = pool.by_key(|who| who.account);
    let mut before = BTreeMap::new();
    for account in 0..400 {
        before.insert(account, who(&router, account).await);
    }
    let again = system.group("again", tellers.clone()).unwrap().by_key(|who| who.account);
    for teller in ["teller-1", "teller-2", "teller-3", "teller-4"] {
        let share = before.values().filter(|by| *by == teller).count();
        assert!((50..150).contains(&share), "{teller} has {share} of 400");
    }
    tellers[2].stop();
    for (account, by) in &before {
        let now = who(&router, *account).await;
        assert_eq!(now, who(&again, *account).await, "two routers of the same actors agree");
        assert!(if by == "teller-3" { now != *by } else { now == *by }, "{account}: {by} -> {now}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_routee_that_is_restarted_keeps_its_keys() {
    let system = ActorSystem::new("bank");
    let router =
        system.spawn_pool("teller", 4, Props::new(|| Teller)).unwrap().by_key(|who| who.account % 100);
    let before = who(&router, 66).await;
    let failed = router.ask(|reply_to| Who { account: 666, reply_to }, SEC).await;
    assert!(matches!(failed, Err(NoAnswer::NoReply { .. })), "{failed:?}");
    assert_eq!(who(&router, 66).await, before);
}

#[tokio::test]
async fn a_router_without_routees_says_so_and_reports_the_message() {
    let system = ActorSystem::new("bank");
    let mut letters = system.dead_letters(8);
    let router = system.spawn_pool("teller", 2, Props::new(|| Teller)).unwrap().round_robin();
    router.stop();
    router.terminated().await;
    let answer = router.ask(|reply_to| Who { account: 1, reply_to }, SEC).await;
    let Err(NoAnswer::NotDelivered(Undeliverable::NoRoutee { router: path })) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(path.as_str(), "bank/teller");
    let Some(Published::Event(letter)) = letters.try_next() else { panic!() };
    assert_eq!(letter.reason, DeadLetterReason::NoRoutee);
    let empty = system.group::<Message>("empty", []).unwrap().round_robin();
    assert!(empty.try_tell(Message::Note("x")).is_err());
}

#[tokio::test]
async fn a_pool_is_spawned_whole_or_not_at_all() {
    let system = ActorSystem::new("bank");
    let taken = system.spawn("teller-2", props(&Log::default())).unwrap();
    let refused = system.spawn_pool("teller", 3, Props::new(|| Teller));
    assert!(matches!(refused, Err(SpawnError::NameTaken { .. })));
    while system.actors() > 1 {
        tokio::task::yield_now().await;
    }
    assert!(!taken.is_stopped());
}

#[tokio::test]
async fn a_pool_of_children_stops_with_its_parent() {
    let (_system, parent) = one(&Log::default());
    let (sender, mut pool) = tokio::sync::mpsc::unbounded_channel();
    within(&parent, move |_, ctx| {
        sender.send(ctx.spawn_pool("teller", 3, Props::new(|| Teller)).unwrap()).unwrap();
    })
    .await;
    let router = pool.recv().await.unwrap().round_robin();
    assert_eq!(router.path().as_str(), "test/probe/teller");
    parent.stop();
    router.terminated().await;
}
