//! Entities whose handlers panic.

use annals_actors::plain::{Backoff, Mailbox, RestartPolicy};
use annals_actors::{AskError, Failure, telemetry};
use tokio::time::Instant;

use crate::tank::*;
use crate::{MS, SEC, count, counted};

fn twice() -> RestartPolicy {
    RestartPolicy::default().backoff(Backoff::new(100 * MS, 10 * SEC).jitter(0.5)).limit(2, 60 * SEC)
}

async fn burst(tank: &annals_actors::EntityRef<Tank>) {
    let began = Instant::now();
    let burst = tank.ask(Burst).await;
    let Err(AskError::Failed(Failure::Panicked { message, .. })) = burst else { panic!("{burst:?}") };
    assert_eq!(message, "too much pressure");
    assert!(began.elapsed() < 5 * MS, "it is answered at once, {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn after_a_panic_commands_wait_in_the_bounded_mailbox_until_the_pause_is_over() {
    let (plant, journal) = plant(|kind| kind.restart(twice()).mailbox(Mailbox::bounded(3)));
    let node = started(plant, &journal).await;
    let (tank, neighbour) = (node.entity::<Tank>("a"), node.entity::<Tank>("b"));
    tank.ask(Fill(5)).await.unwrap();
    neighbour.ask(Fill(7)).await.unwrap();
    for pause in [100 * MS, 200 * MS] {
        burst(&tank).await;
        let began = Instant::now();
        assert_eq!(neighbour.ask(Litres).await, Ok(7));
        assert!(began.elapsed() < 5 * MS, "a neighbour notices nothing");
        let waiting = tokio::spawn(tank.ask(Litres).into_future());
        tokio::task::yield_now().await;
        assert_eq!((0..10).filter(|_| tank.try_tell(Litres).is_ok()).count(), 2, "what waits is bounded");
        assert_eq!(waiting.await.unwrap(), Ok(5), "it has replayed");
        let took = began.elapsed();
        assert!(took >= pause - 5 * MS && took <= pause * 3 / 2 + 5 * MS, "{took:?}");
    }
}

#[test]
fn an_entity_that_panics_too_often_refuses_commands_for_a_while_and_starts_again() {
    let counted = counted(|| async {
        let (plant, journal) = plant(|kind| kind.restart(twice()));
        let node = started(plant, &journal).await;
        let tank = node.entity::<Tank>("a");
        tank.ask(Fill(5)).await.unwrap();
        let mut letters = node.system().dead_letters(10);
        for _ in 0..2 {
            burst(&tank).await;
            assert_eq!(tank.ask(Litres).await, Ok(5));
        }
        burst(&tank).await;
        let replays = journal.replays();
        let refused = async || match tank.ask(Litres).await {
            Err(AskError::Failed(Failure::PanickedTooOften { message, retry_after, .. })) => {
                assert_eq!(message, "too much pressure");
                retry_after
            }
            other => panic!("{other:?}"),
        };
        let first = refused().await;
        assert!(first > 9 * SEC && first <= 15 * SEC, "{first:?}");
        tokio::time::sleep(5 * SEC).await;
        let later = refused().await;
        assert!(first - later >= 5 * SEC - MS, "{first:?}, then {later:?}");
        assert!(tank.try_tell(Fill(1)).is_err());
        assert!(matches!(
            letters.next().await,
            annals_actors::plain::Published::Event(letter) if letter.reason.label() == "panicked_too_often"
        ));
        assert_eq!(journal.replays(), replays);
        tokio::time::sleep(later).await;
        assert_eq!(tank.ask(Litres).await, Ok(5), "the next command starts it again");
        assert_eq!(journal.replays(), replays + 1);
        tokio::time::sleep(60 * SEC).await;
        burst(&tank).await;
        assert_eq!(tank.ask(Litres).await, Ok(5), "what was long ago does not count");
        node.shutdown().await;
    });
    assert_eq!(count(&counted, telemetry::RESTARTS, Some("panic")), 3);
    assert_eq!(count(&counted, telemetry::GIVEN_UP, None), 1);
}
