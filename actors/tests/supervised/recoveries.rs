//! Entities whose history cannot be read.

use annals_actors::{AskError, Failure, RecoveryError, telemetry};

use crate::tank::*;
use crate::{MS, SEC, count, counted};

#[test]
fn a_flood_of_commands_to_an_entity_that_cannot_recover_replays_its_journal_once_a_pause() {
    let counted = counted(|| async {
        let (plant, journal) = plant(|kind| kind.passivate_after(SEC));
        let node = started(plant, &journal).await;
        let (tank, neighbour) = (node.entity::<Tank>("a"), node.entity::<Tank>("b"));
        tank.ask(Fill(5)).await.unwrap();
        tokio::time::sleep(3 * SEC).await;
        journal.damage("tank|a");
        let mut pauses = Vec::new();
        for _ in 0..3 {
            let mut left = SEC;
            for _ in 0..1_000 {
                let answer = tank.ask(Litres).await;
                let Err(AskError::Failed(failure)) = answer else { panic!("{answer:?}") };
                assert!(!failure.is_transient());
                let words = failure.to_string();
                assert!(
                    words.contains("the test damaged it") && words.contains("not tried again for"),
                    "{words}"
                );
                let Failure::RecoveryFailed { reason, retry_after, .. } = failure else { panic!("{words}") };
                assert!(matches!(reason, RecoveryError::Journal { .. }));
                left = retry_after;
            }
            assert_eq!(neighbour.ask(Fill(1)).await.map(|_| ()), Ok(()), "the others go on");
            pauses.push(left);
            tokio::time::sleep(left).await;
        }
        assert_eq!(journal.replays(), 3, "and not 3,000");
        assert!(pauses[0] < 121 * MS && pauses[1] >= 200 * MS && pauses[2] >= 400 * MS, "{pauses:?}");
        journal.repair("tank|a");
        assert_eq!(tank.ask(Litres).await, Ok(5), "once it is repaired, the next command finds it well");
        node.shutdown().await;
    });
    assert_eq!(count(&counted, telemetry::RECOVERY_FAILURES, None), 3);
    assert_eq!(count(&counted, telemetry::FAILURES, None), 3_000);
}

#[test]
fn an_entity_that_cannot_recover_leaves_memory_and_does_nothing_by_itself() {
    let counted = counted(|| async {
        let (plant, journal) = plant(|kind| kind.passivate_after(SEC));
        let node = started(plant, &journal).await;
        node.entity::<Tank>("a").ask(Fill(5)).await.unwrap();
        tokio::time::sleep(3 * SEC).await;
        let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        journal.damage("tank|a");
        assert!(node.entity::<Tank>("a").ask(Litres).await.is_err());
        tokio::time::sleep(3_600 * SEC).await;
        assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), before);
        assert_eq!(journal.replays(), 1);
    });
    assert_eq!(count(&counted, telemetry::RECOVERY_FAILURES, None), 1);
}
