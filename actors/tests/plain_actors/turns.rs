//! Timers, piped work, stash, behaviour change.

use annals_actors::plain::{ActorSystem, DeadLetterReason, Published};
use tokio::time::sleep;

use crate::probe::*;

#[tokio::test(start_paused = true)]
async fn a_single_timer_comes_once() {
    let (_system, probe) = one(&Log::default());
    probe.tell(act(|_, ctx| ctx.start_single_timer("t", 5 * SEC, Message::Note("ding")))).await.unwrap();
    sleep(4 * SEC).await;
    assert_eq!(notes(&probe).await, [""; 0]);
    sleep(10 * SEC).await;
    assert_eq!(notes(&probe).await, ["ding"]);
}

#[tokio::test(start_paused = true)]
async fn a_periodic_timer_comes_until_it_is_cancelled() {
    let (_system, probe) = one(&Log::default());
    probe
        .tell(act(|_, ctx| ctx.start_timer_at_fixed_rate("t", 2 * SEC, || Message::Note("tick"))))
        .await
        .unwrap();
    sleep(7 * SEC).await;
    probe.tell(act(|_, ctx| assert!(ctx.is_timer_active("t") && ctx.cancel_timer("t")))).await.unwrap();
    sleep(20 * SEC).await;
    assert_eq!(notes(&probe).await, ["tick"; 3]);
}

#[tokio::test(start_paused = true)]
async fn timers_end_with_their_actor() {
    let log = Log::default();
    let (system, probe) = one(&log);
    let mut letters = system.dead_letters(8);
    probe
        .tell(act(|_, ctx| ctx.start_timer_with_fixed_delay("t", SEC, || Message::Note("tick"))))
        .await
        .unwrap();
    sleep(SEC * 5 / 2).await;
    probe.stop();
    probe.terminated().await;
    sleep(100 * SEC).await;
    assert_eq!(log.lines().iter().filter(|line| *line == "probe tick").count(), 2);
    assert_eq!(letters.try_next(), None, "no timer sends to one that is gone");
}

#[tokio::test(start_paused = true)]
async fn a_timer_goes_before_the_mailbox() {
    let (_system, probe) = one(&Log::default());
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    probe.tell(act(|_, ctx| ctx.start_single_timer("t", SEC, Message::Note("timer")))).await.unwrap();
    probe.tell(Message::Wait(gate.clone())).await.unwrap();
    probe.tell(Message::Note("message")).await.unwrap();
    sleep(2 * SEC).await;
    gate.add_permits(1);
    assert_eq!(notes(&probe).await, ["timer", "message"]);
}

#[tokio::test(start_paused = true)]
async fn a_timer_that_is_faster_than_its_handler_leaves_the_mailbox_its_turns() {
    let log = Log::default();
    let (_system, probe) = one(&log);
    within(&probe, |_, ctx| {
        ctx.start_timer_at_fixed_rate("t", SEC, || {
            Message::Do(Box::new(|_, _| {
                Box::pin(async {
                    sleep(5 * SEC).await;
                    Ok(())
                })
            }))
        });
    })
    .await;
    sleep(SEC * 3 / 2).await;
    for note in ["a", "b", "c"] {
        probe.tell(Message::Note(note)).await.unwrap();
    }
    probe.stop();
    probe.terminated().await;
    assert_eq!(log.lines()[1..4], ["probe a", "probe b", "probe c"]);
}

#[tokio::test(start_paused = true)]
async fn a_timer_whose_message_cannot_be_made_is_a_failure_of_the_actor() {
    let log = Log::default();
    let (_system, probe) = one(&log);
    probe
        .tell(act(|_, ctx| ctx.start_timer_with_fixed_delay("t", SEC, || panic!("no message"))))
        .await
        .unwrap();
    sleep(10 * SEC).await;
    assert_eq!(notes(&probe).await, [""; 0]);
    assert_eq!(log.lines(), ["probe: Started", "probe: PreRestart", "probe: Started"]);
}

/// Puts all but "open" aside until that comes.
fn closed(ctx: &mut annals_actors::plain::ActorContext<Probe>) {
    ctx.becomes(|probe, message, ctx| {
        Box::pin(async move {
            match message {
                Message::Note("open") => {
                    probe.notes.push("open");
                    ctx.unstash_all();
                    ctx.unbecome();
                    Ok(())
                }
                other => Ok(ctx.stash(other)?),
            }
        })
    });
}

#[tokio::test]
async fn what_was_stashed_is_handled_in_its_old_order_before_the_mailbox() {
    let (_system, probe) = one(&Log::default());
    probe.tell(act(|_, ctx| closed(ctx))).await.unwrap();
    for note in ["a", "b", "open", "c"] {
        probe.tell(Message::Note(note)).await.unwrap();
    }
    assert_eq!(notes(&probe).await, ["open", "a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_full_stash_is_an_error_and_the_message_a_dead_letter() {
    let system = ActorSystem::new("test");
    let mut letters = system.dead_letters(8);
    let probe = system.spawn("probe", props(&Log::default()).stash_capacity(1)).unwrap();
    probe.tell(act(|_, ctx| closed(ctx))).await.unwrap();
    probe.tell(Message::Note("kept")).await.unwrap();
    probe.tell(Message::Note("too much")).await.unwrap();
    let Published::Event(letter) = letters.next().await else { panic!() };
    assert_eq!(letter.reason, DeadLetterReason::StashFull);
    // The failure made a new instance, which handles what was put aside first.
    assert_eq!(notes(&probe).await, ["kept"]);
}

#[tokio::test]
async fn what_is_stashed_at_the_end_becomes_dead_letters() {
    let (system, probe) = one(&Log::default());
    let mut letters = system.dead_letters(8);
    probe.tell(act(|_, ctx| closed(ctx))).await.unwrap();
    probe.tell(Message::Note("aside")).await.unwrap();
    probe.stop();
    probe.terminated().await;
    let Published::Event(letter) = letters.next().await else { panic!() };
    assert_eq!((letter.reason, letter.recipient.as_str()), (DeadLetterReason::Stopped, "test/probe"));
}

#[tokio::test(start_paused = true)]
async fn piped_work_does_not_keep_messages_waiting() {
    let (_system, probe) = one(&Log::default());
    within(&probe, |_, ctx| ctx.pipe_to_self(sleep(SEC), |()| Message::Note("piped")).unwrap()).await;
    probe.tell(Message::Note("message")).await.unwrap();
    assert_eq!(notes(&probe).await, ["message"]);
    sleep(2 * SEC).await;
    assert_eq!(notes(&probe).await, ["message", "piped"]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_piped_work_is_a_failure_of_the_actor_and_cancels_the_rest() {
    let log = Log::default();
    let (_system, probe) = one(&log);
    within(&probe, |_, ctx| {
        ctx.pipe_to_self(sleep(5 * SEC), |()| Message::Note("cancelled")).unwrap();
        ctx.pipe_to_self(sleep(SEC), |()| panic!("no message")).unwrap();
    })
    .await;
    sleep(10 * SEC).await;
    assert_eq!(notes(&probe).await, [""; 0]);
    assert_eq!(log.lines(), ["probe: Started", "probe: PreRestart", "probe: Started"]);
}

#[tokio::test(start_paused = true)]
async fn a_graceful_stop_waits_for_piped_work_and_one_at_once_does_not() {
    let log = Log::default();
    for name in ["graceful", "at-once"] {
        let system = ActorSystem::new("test");
        let probe = system.spawn(name, props(&log)).unwrap();
        within(&probe, |_, ctx| ctx.pipe_to_self(sleep(SEC), |()| Message::Note("piped")).unwrap()).await;
        if name == "graceful" {
            probe.stop()
        } else {
            probe.stop_now()
        }
        probe.terminated().await;
    }
    assert!(log.lines().contains(&"graceful piped".to_owned()));
    assert!(!log.lines().contains(&"at-once piped".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn piped_work_is_bounded() {
    let (_system, probe) = one(&Log::default());
    within(&probe, |_, ctx| {
        for _ in 0..1024 {
            ctx.pipe_to_self(sleep(SEC), |()| Message::Note("x")).unwrap();
        }
        let refused = ctx.pipe_to_self(sleep(SEC), |()| Message::Note("x")).unwrap_err();
        assert!(refused.to_string().contains("begin the next when one is done"), "{refused}");
    })
    .await;
    sleep(2 * SEC).await;
    assert_eq!(notes(&probe).await.len(), 1024);
}
