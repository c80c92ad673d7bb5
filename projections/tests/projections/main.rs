//! Projections of a running node's accounts into SQLite, PostgreSQL (where `DATABASE_URL` names a server), and a map in memory: what the
//! view has equals what the journal has, whatever happens in between.
#![cfg(all(feature = "sqlite", feature = "postgres"))]
#![allow(clippy::unwrap_used, reason = "a test")]

mod accounts;
mod durable_state;
mod view;

use std::time::Duration;

use annals_actors::plain::ActorSystem;
use annals_journal::SeqNr;
use annals_projections::{FailurePolicy, Phase, Projection, ProjectionError};

use accounts::{Bank, POISON};
use view::{Place, View, places};

/// A policy that loses no time.
fn quick(policy: FailurePolicy) -> FailurePolicy {
    policy.retries(2).pauses(Duration::from_millis(1), Duration::from_millis(1))
}

#[tokio::test]
async fn each_event_is_in_the_view_once_however_often_the_slices_are_cut_anew() {
    for place in places().await {
        let bank = Bank::open(&place).await;
        let view = View::new(&place);
        for (readers, batch) in [(1, 500), (4, 3), (3, 7), (1, 500)] {
            bank.deposit(60).await;
            let projection =
                view.start("sums", &bank, |builder| builder.parallelism(readers).batch(batch)).unwrap();
            bank.deposit(40).await;
            projection.caught_up().await.unwrap();
            assert_eq!(view.rows().await, bank.rows(), "{place:?}");
            let status = projection.status();
            assert_eq!(status.readers.len(), usize::from(readers));
            assert!(status.is_caught_up(), "{status:?}");
            projection.stop().await;
        }
        bank.close().await;
    }
}

#[tokio::test]
async fn an_instance_that_was_taken_over_changes_nothing_any_more() {
    for place in places().await.into_iter().filter(Place::is_exactly_once) {
        let bank = Bank::open(&place).await;
        let (one, other) = (View::new(&place), View::new(&place));
        let systems = [ActorSystem::new("one"), ActorSystem::new("other")];
        let one = one.start_in(&systems[0], "sums", &bank, |builder| builder.batch(2)).unwrap();
        let theirs = other.start_in(&systems[1], "sums", &bank, |builder| builder.parallelism(3)).unwrap();
        for round in 0..12 {
            // Both in the midst of their work.
            let taking = if round % 2 == 0 { &one } else { &theirs };
            let (_, taken) = tokio::join!(bank.deposit(20), taking.resume());
            taken.unwrap();
        }
        // It notices when there is something to do.
        bank.deposit(20).await;
        let fenced = one.until(|status| status.phase == Phase::Fenced).await.unwrap();
        assert_eq!(fenced.phase, Phase::Fenced);
        theirs.caught_up().await.unwrap();
        assert_eq!(other.rows().await, bank.rows(), "{place:?}");
        assert!(matches!(one.pause().await, Err(ProjectionError::Fenced { .. })));
        assert!(matches!(one.caught_up().await, Err(ProjectionError::NotRunning { phase: Phase::Fenced })));
        for system in systems {
            system.shutdown(Duration::from_secs(60)).await.unwrap();
        }
        bank.close().await;
    }
}

#[tokio::test]
async fn an_event_that_cannot_be_taken_is_a_dead_letter_without_its_payload() {
    for place in places().await {
        let bank = Bank::open(&place).await;
        let view = View::new(&place);
        let projection =
            view.start("sums", &bank, |builder| builder.on_failure(quick(FailurePolicy::skip()))).unwrap();
        bank.deposit(30).await;
        let number = bank.poison("eve").await;
        bank.deposit(30).await;
        projection.caught_up().await.unwrap();
        assert_eq!(view.rows().await, bank.rows(), "{place:?}");
        let letters = projection.dead_letters().await.unwrap();
        assert_eq!(letters.len(), 1, "{letters:?}");
        assert_eq!(letters[0].persistence_id.as_str(), "account|eve");
        assert_eq!(letters[0].seq_nr, number);
        assert_eq!(letters[0].error, "it tastes bad");
        assert!(!format!("{letters:?}").contains(&POISON.to_string()));
        assert_eq!(projection.status().readers[0].skipped, 1);
        bank.close().await;
    }
}

#[tokio::test]
async fn a_projection_that_stopped_goes_on_at_the_event_that_stopped_it() {
    for place in places().await {
        let bank = Bank::open(&place).await;
        let view = View::new(&place);
        let projection =
            view.start("sums", &bank, |builder| builder.on_failure(quick(FailurePolicy::stop()))).unwrap();
        bank.deposit(30).await;
        projection.caught_up().await.unwrap();
        let before = view.rows().await;
        bank.poison("eve").await;
        let stopped = projection.until(|status| matches!(status.phase, Phase::Stopped { .. })).await.unwrap();
        assert_eq!(stopped.phase, Phase::Stopped { error: "it tastes bad".into() });
        bank.deposit(30).await;
        assert_eq!(view.rows().await, before, "nothing behind it is projected");
        view.eats_anything();
        projection.resume().await.unwrap();
        projection.caught_up().await.unwrap();
        assert_eq!(view.rows().await, bank.rows_with_poison(), "{place:?}");
        assert!(projection.dead_letters().await.unwrap().is_empty());
        bank.close().await;
    }
}

#[tokio::test]
async fn a_handler_that_panics_has_failed() {
    for place in places().await {
        let bank = Bank::open(&place).await;
        let view = View::new(&place);
        view.panics();
        let projection =
            view.start("sums", &bank, |builder| builder.on_failure(quick(FailurePolicy::skip()))).unwrap();
        bank.deposit(10).await;
        bank.poison("eve").await;
        bank.deposit(10).await;
        projection.caught_up().await.unwrap();
        assert_eq!(view.rows().await, bank.rows(), "{place:?}");
        let letters = projection.dead_letters().await.unwrap();
        assert_eq!(letters[0].error, "the handler panicked: it tastes bad");
        bank.close().await;
    }
}

#[tokio::test]
async fn a_paused_projection_stays_paused_over_a_start_and_goes_on_when_it_is_resumed() {
    for place in places().await {
        let bank = Bank::open(&place).await;
        let view = View::new(&place);
        let projection = view.start("sums", &bank, |builder| builder.parallelism(2)).unwrap();
        bank.deposit(20).await;
        projection.caught_up().await.unwrap();
        projection.pause().await.unwrap();
        let before = view.rows().await;
        bank.deposit(20).await;
        assert!(matches!(projection.caught_up().await, Err(ProjectionError::NotRunning { .. })));
        projection.stop().await;
        let projection = view.start("sums", &bank, |builder| builder).unwrap();
        projection.until(|status| status.phase == Phase::Paused).await.unwrap();
        assert_eq!(view.rows().await, before, "{place:?}");
        projection.resume().await.unwrap();
        projection.caught_up().await.unwrap();
        assert_eq!(view.rows().await, bank.rows(), "{place:?}");
        bank.close().await;
    }
}

#[tokio::test]
async fn a_reset_projects_everything_again() {
    for place in places().await {
        let bank = Bank::open(&place).await;
        let view = View::new(&place);
        let projection =
            view.start("sums", &bank, |builder| builder.on_failure(quick(FailurePolicy::skip()))).unwrap();
        bank.deposit(30).await;
        bank.poison("eve").await;
        projection.caught_up().await.unwrap();
        assert_eq!(projection.dead_letters().await.unwrap().len(), 1);
        view.eats_anything();
        projection.reset().await.unwrap();
        projection.caught_up().await.unwrap();
        assert_eq!(view.rows().await, bank.rows_with_poison(), "{place:?}");
        assert!(projection.dead_letters().await.unwrap().is_empty());
        bank.close().await;
    }
}

#[tokio::test]
async fn events_that_were_deleted_before_they_were_seen_are_told() {
    for place in places().await {
        let bank = Bank::open(&place).await;
        bank.deposit(60).await;
        bank.delete("a-3", SeqNr::FIRST).await;
        let view = View::new(&place);
        let projection =
            view.start("sums", &bank, |builder| builder.on_failure(quick(FailurePolicy::stop()))).unwrap();
        let stopped = projection.until(|status| matches!(status.phase, Phase::Stopped { .. })).await.unwrap();
        let Phase::Stopped { error } = stopped.phase else { panic!("it stopped") };
        assert!(error.contains("events 1 to 1 of account|a-3 were deleted"), "{error}");
        view.does_without();
        projection.resume().await.unwrap();
        projection.caught_up().await.unwrap();
        assert_eq!(view.rows().await, bank.rows(), "{place:?}");
        bank.close().await;
    }
}

#[tokio::test]
async fn events_that_were_erased_before_they_were_seen_are_told_and_those_beside_them_are_projected() {
    for place in places().await {
        let bank = Bank::open_sealed(&place, None).await;
        bank.deposit(60).await;
        bank.erase(&place, "a-3").await;
        // A process that has no key in memory.
        let bank = Bank::open_sealed(&place, Some(bank)).await;
        let view = View::new(&place);
        let projection =
            view.start("sums", &bank, |builder| builder.on_failure(quick(FailurePolicy::stop()))).unwrap();
        let stopped = projection.until(|status| matches!(status.phase, Phase::Stopped { .. })).await.unwrap();
        let Phase::Stopped { error } = stopped.phase else { panic!("it stopped") };
        assert!(error.contains("of account|a-3 were erased"), "{error}");
        view.does_without();
        projection.resume().await.unwrap();
        projection.caught_up().await.unwrap();
        assert_eq!(view.rows().await, bank.rows(), "{place:?}");
        assert!(!view.rows().await.contains_key("a-3"));
        bank.close().await;
    }
}

#[tokio::test]
async fn two_projections_of_one_journal_have_nothing_to_do_with_each_other() {
    for place in places().await {
        let bank = Bank::open(&place).await;
        let (one, other) = (View::new(&place), View::beside(&place));
        let first = one.start("one", &bank, |builder| builder).unwrap();
        let second = other.start("two", &bank, |builder| builder.batch(1)).unwrap();
        bank.deposit(40).await;
        first.caught_up().await.unwrap();
        second.caught_up().await.unwrap();
        assert_eq!(one.rows().await, bank.rows(), "{place:?}");
        assert_eq!(other.rows().await, bank.rows(), "{place:?}");
        bank.close().await;
    }
}

#[tokio::test]
async fn a_view_that_was_built_beside_the_live_one_takes_its_place() {
    for place in places().await {
        let bank = Bank::open(&place).await;
        let (live, new) = (View::new(&place), View::beside(&place));
        let projection =
            live.start("sums", &bank, |builder| builder.on_failure(quick(FailurePolicy::skip()))).unwrap();
        bank.deposit(40).await;
        bank.poison("eve").await;
        projection.caught_up().await.unwrap();
        assert_eq!(live.rows().await, bank.rows());
        new.eats_anything();
        let rebuilt = new.start("new-sums", &bank, |builder| builder.parallelism(3)).unwrap();
        let (replaced, ()) = tokio::join!(rebuilt.replace(&projection), bank.deposit(40));
        if !place.is_exactly_once() {
            assert!(matches!(replaced, Err(ProjectionError::Refused { .. })), "{replaced:?}");
            bank.close().await;
            continue;
        }
        replaced.unwrap();
        bank.deposit(40).await;
        projection.caught_up().await.unwrap();
        assert_eq!(live.rows().await, bank.rows_with_poison(), "{place:?}");
        assert_eq!(rebuilt.status().phase, Phase::Replaced);
        assert!(projection.dead_letters().await.unwrap().is_empty(), "the new one has skipped nothing");
        bank.close().await;
    }
}

#[tokio::test]
async fn a_name_that_can_be_none_is_refused() {
    let place = places().await.remove(0);
    let bank = Bank::open(&place).await;
    let refused: Result<Projection, _> = View::new(&place).start("a/b", &bank, |builder| builder);
    assert!(matches!(refused, Err(ProjectionError::Name { .. })));
    bank.close().await;
}
