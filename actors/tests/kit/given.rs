//! Given / when / then on a sound aggregate, and what its own checks say.

use std::sync::atomic::Ordering;

use annals_actors::testing::Given;
use annals_journal::Timestamp;
use annals_snapshot::SnapshotPolicy;
use uuid::Uuid;

use crate::account::{Account, AccountEvent, Deposit, Exchange, Letters, Open, Overdrawn, Rate, Withdraw};
use crate::failure_of;

const ID: Uuid = Uuid::from_u128(7);

fn opened() -> AccountEvent {
    AccountEvent::Opened { at: 1 }
}

fn deposited(cents: i64) -> AccountEvent {
    AccountEvent::Deposited { cents, id: ID }
}

fn account() -> Given<Account> {
    Given::new().service(Rate(3)).service(Letters::default())
}

#[test]
fn events_reply_and_state_follow_a_command() {
    account()
        .events([opened(), deposited(100)])
        .when(Withdraw { cents: 30 })
        .then_events([AccountEvent::Withdrawn { cents: 30 }])
        .then_reply(70)
        .then_reply_is(|cents| assert_eq!(*cents, 70))
        .then_state(|account| assert_eq!(account.cents, 70))
        .then_side_effects(0)
        .then_no_snapshot();
}

#[test]
fn a_rejection_stores_nothing() {
    account().events([opened()]).when(Withdraw { cents: 1 }).then_rejected(Overdrawn { by: 1 });
}

#[test]
fn time_and_ids_are_what_the_test_says() {
    let at = Timestamp::from_micros(42);
    account()
        .at(at)
        .ids([ID])
        .when(Open)
        .then_events([AccountEvent::Opened { at: 42 }])
        .when(Deposit { cents: 5 })
        .then_events([deposited(5)])
        .then_reply(5);
}

#[test]
fn ids_that_the_test_does_not_say_are_the_same_in_each_run() {
    let id = || {
        let mut id = None;
        account().events([opened()]).when(Deposit { cents: 5 }).then_state(|account| id = account.last);
        id.unwrap()
    };
    assert_eq!(id(), id());
    assert_eq!(id().get_version_num(), 7);
}

#[test]
fn asynchronous_work_is_driven_to_its_end() {
    account().ids([ID]).when(Exchange { foreign: 5 }).then_events([deposited(15)]).then_reply(15);
}

#[test]
fn side_effects_are_counted_and_run_when_asked() {
    let letters = Letters::default();
    let then = Given::<Account>::new()
        .service(Rate(1))
        .service(letters.clone())
        .events([opened()])
        .when(Deposit { cents: 5 })
        .then_side_effects(1);
    assert_eq!(letters.0.load(Ordering::Relaxed), 0, "nothing runs by itself, however often it is decided");
    then.run_side_effects();
    assert_eq!(letters.0.load(Ordering::Relaxed), 1);
}

#[test]
fn a_stashed_command_goes_on_when_another_unstashes() {
    account()
        .ids([ID])
        .when(Deposit { cents: 5 })
        .then_stashed()
        .then_no_events()
        .when_at(Timestamp::from_micros(9), Open)
        .then_events([AccountEvent::Opened { at: 9 }, deposited(5)])
        .then_state(|account| assert_eq!(account.cents, 5));
}

#[test]
fn the_policy_says_when_a_snapshot_is_taken() {
    account()
        .snapshots(SnapshotPolicy::every_events(3))
        .events([opened()])
        .when(Deposit { cents: 1 })
        .then_no_snapshot()
        .when(Deposit { cents: 2 })
        .then_snapshot(|account| assert_eq!(account.cents, 3));
}

#[test]
fn an_entity_that_leaves_comes_back_for_the_next_command() {
    account()
        .events([opened(), deposited(5)])
        .when(Withdraw { cents: 5 })
        .then_leaves()
        .when(Withdraw { cents: 1 })
        .then_rejected(Overdrawn { by: 1 });
}

#[test]
fn another_event_than_expected_is_shown_as_a_difference() {
    let failure = failure_of(|| {
        account()
            .events([opened(), deposited(100)])
            .when(Withdraw { cents: 30 })
            .then_events([AccountEvent::Withdrawn { cents: 31 }]);
    });
    assert_eq!(
        failure,
        "the events are others than expected (- expected, + found):\n        {\n          \
         \"account.withdrawn\": {\n    -       \"cents\": 31\n    +       \"cents\": 30\n          }\n        }\n"
    );
}

#[test]
fn a_rejection_where_a_reply_was_expected_is_shown() {
    let failure = failure_of(|| {
        account().when(Withdraw { cents: 30 }).then_reply(70);
    });
    assert!(failure.contains("-   \"reply\": 70"), "{failure}");
    assert!(failure.contains("+   \"rejected\": {\n    +     \"by\": 30"), "{failure}");
}

#[test]
fn a_missing_service_is_named() {
    let failure = failure_of(|| {
        Given::<Account>::new().when(Open).then_reply(());
    });
    assert!(failure.contains("account::Rate"), "{failure}");
}
