//! Aggregates that each break one promise: the kit must say which.

use std::sync::atomic::{AtomicI64, Ordering};

use annals_actors::testing::Given;
use annals_actors::{Context, Effect, Handle, NeverRejected, PersistentActor};
use annals_journal::Envelope;
use annals_migrations::{AdaptError, Command, Encoded, Event, EventAdapter, Form, KindAdapter, Versions};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::failure_of;

/// What is wrong with the aggregate; a command asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Fault {
    None,
    CountingApply,
    LossyEvent,
    UnreadableEvent,
    RandomId,
    CountingReply,
    Touch,
    PanicInHandle,
    PanicInApply,
    Forgotten,
}

#[derive(Default, Serialize, Deserialize)]
struct Broken {
    sum: i64,
    touched: AtomicI64,
    #[serde(skip)]
    unseen: i64,
}

#[derive(Serialize, Deserialize, Event)]
enum Change {
    Added {
        by: i64,
    },
    Counted,
    Lossy {
        #[serde(skip)]
        by: i64,
    },
    Unreadable {
        #[serde(skip_deserializing)]
        by: i64,
    },
    Named {
        id: Uuid,
    },
    Poison,
    Hidden,
}

#[derive(Serialize, Deserialize, Command)]
struct Do {
    fault: Fault,
}
/// Adds to what no snapshot keeps, or reads it.
#[derive(Serialize, Deserialize, Command)]
struct Hide {
    read: bool,
}
/// Loses what it carries.
#[derive(Serialize, Deserialize, Command)]
struct Lossy {
    #[serde(skip)]
    by: i64,
}

static APPLIED: AtomicI64 = AtomicI64::new(0);
static REPLIED: AtomicI64 = AtomicI64::new(0);

impl PersistentActor for Broken {
    const KIND: &'static str = "broken";
    type Event = Change;
    type Commands = (Do, Hide, Lossy);

    fn apply(&mut self, event: &Change) {
        match event {
            Change::Added { by } | Change::Lossy { by } | Change::Unreadable { by } => self.sum += by,
            Change::Counted => self.sum += APPLIED.fetch_add(1, Ordering::Relaxed),
            Change::Named { .. } => {}
            Change::Poison => panic!("poisoned"),
            Change::Hidden => self.unseen += 1,
        }
    }
}

impl Handle<Do> for Broken {
    type Reply = i64;
    type Rejection = NeverRejected;

    fn handle(&self, command: &Do, ctx: &mut Context<Self, Do>) -> Effect<Self, Do> {
        let event = match command.fault {
            Fault::None | Fault::CountingReply => Change::Added { by: 1 },
            Fault::CountingApply => Change::Counted,
            Fault::LossyEvent => Change::Lossy { by: 1 },
            Fault::UnreadableEvent => Change::Unreadable { by: 1 },
            Fault::RandomId => Change::Named { id: Uuid::new_v4() },
            Fault::Touch => {
                self.touched.fetch_add(1, Ordering::Relaxed);
                Change::Added { by: 1 }
            }
            Fault::PanicInHandle => panic!("cannot cope"),
            Fault::PanicInApply => Change::Poison,
            Fault::Forgotten => return ctx.reply(1),
        };
        let counting = command.fault == Fault::CountingReply;
        ctx.persist(event)
            .reply(move |state| if counting { REPLIED.fetch_add(1, Ordering::Relaxed) } else { state.sum })
    }
}

impl Handle<Hide> for Broken {
    type Reply = i64;
    type Rejection = NeverRejected;

    fn handle(&self, command: &Hide, ctx: &mut Context<Self, Hide>) -> Effect<Self, Hide> {
        if command.read { ctx.reply(self.unseen) } else { ctx.persist(Change::Hidden).reply_with(0) }
    }
}

impl Handle<Lossy> for Broken {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, command: &Lossy, ctx: &mut Context<Self, Lossy>) -> Effect<Self, Lossy> {
        ctx.persist(Change::Added { by: command.by }).reply_with(())
    }
}

#[track_caller]
fn says(fault: Fault, claim: &str, difference: &str) {
    let failure = failure_of(move || {
        Given::<Broken>::new().when(Do { fault }).then_reply(1);
    });
    assert!(failure.contains(claim), "{failure}");
    assert!(failure.contains(difference), "{failure}");
}

#[test]
fn a_sound_command_of_the_broken_aggregate_passes() {
    Given::<Broken>::new().when(Do { fault: Fault::None }).then_reply(1);
}

#[test]
fn an_apply_that_counts_is_found() {
    says(Fault::CountingApply, "`apply` is not deterministic", "    + ");
}

#[test]
fn an_event_that_loses_a_field_is_found() {
    says(Fault::LossyEvent, "broken.lossy does not survive serialization", "-   \"sum\": 1");
}

#[test]
fn an_event_that_is_read_as_another_is_found() {
    says(Fault::UnreadableEvent, "broken.unreadable does not survive serialization", "+   \"sum\": 0");
}

#[test]
fn an_id_that_is_not_the_contexts_is_found() {
    says(Fault::RandomId, "take time, ids and services from the context only", "\"id\": ");
}

#[test]
fn a_reply_that_is_another_each_time_is_found() {
    says(Fault::CountingReply, "Do: decided again on the same state", "\"reply\": ");
}

#[test]
fn a_handler_that_changes_the_state_is_found() {
    says(Fault::Touch, "Do: handling changed the state", "+   \"touched\": 1");
}

#[test]
fn a_handler_that_panics_fails_the_command_and_says_so() {
    says(Fault::PanicInHandle, "panicked while it handled the command: cannot cope", "-   \"reply\": 1");
    Given::<Broken>::new().when(Do { fault: Fault::PanicInHandle }).then_fails("cannot cope");
}

#[test]
fn an_apply_that_panics_is_told_from_the_command_and_from_given_events() {
    says(Fault::PanicInApply, "poisoned", "");
    let failure = failure_of(|| {
        let events = [Change::Added { by: 1 }, Change::Poison];
        Given::<Broken>::new().events(events).when(Do { fault: Fault::None }).then_reply(1);
    });
    assert_eq!(failure, "given event number 2: applying it panicked: poisoned");
}

#[test]
fn a_handler_that_forgets_an_event_is_found_by_then_events() {
    let failure = failure_of(|| {
        Given::<Broken>::new().when(Do { fault: Fault::Forgotten }).then_events([Change::Added { by: 1 }]);
    });
    assert!(failure.starts_with("the events are others than expected"), "{failure}");
    assert!(failure.contains("-     \"broken.added\""), "{failure}");
}

#[test]
fn a_command_that_loses_a_field_is_found() {
    let failure = failure_of(|| {
        Given::<Broken>::new().when(Lossy { by: 3 }).then_reply(());
    });
    assert!(failure.contains("Lossy: the command does not survive serialization"), "{failure}");
    assert!(failure.contains("+         \"by\": 0") || failure.contains("\"by\": 0"), "{failure}");
}

#[test]
fn a_state_of_which_a_snapshot_keeps_less_is_found() {
    let failure = failure_of(|| {
        Given::<Broken>::new().events([Change::Hidden]).when(Hide { read: true }).then_reply(1);
    });
    assert!(failure.contains("Hide: the state does not survive serialization"), "{failure}");
    assert!(failure.contains("-     \"reply\": 1\n    +     \"reply\": 0"), "{failure}");
    Given::<Broken>::new().when(Hide { read: false }).then_reply(0);
}

#[test]
fn given_events_that_lose_a_field_are_found() {
    let failure = failure_of(|| {
        Given::<Broken>::new()
            .events([Change::Lossy { by: 2 }])
            .when(Do { fault: Fault::None })
            .then_reply(3);
    });
    assert!(failure.contains("the given events do not survive serialization"), "{failure}");
    assert!(failure.contains("-   \"sum\": 2"), "{failure}");
}

/// Stores every sum as 0, and perhaps says that it changes what it stores.
struct LossyAdapter(KindAdapter<Change>, bool);

impl EventAdapter<Change> for LossyAdapter {
    fn to_journal(&self, event: &Change) -> Result<Encoded, AdaptError> {
        match event {
            Change::Added { .. } => {
                let encoded = self.0.to_journal(&Change::Added { by: 0 })?;
                Ok(Encoded { read_back: self.1, ..encoded })
            }
            other => self.0.to_journal(other),
        }
    }

    fn from_journal(&self, stored: &Envelope, each: &mut dyn FnMut(Change)) -> Result<(), AdaptError> {
        self.0.from_journal(stored, each)
    }

    fn to_journal_as(&self, event: &Change, form: &Form) -> Result<Encoded, AdaptError> {
        self.0.to_journal_as(event, form)
    }

    fn versions(&self) -> Vec<Versions> {
        self.0.versions()
    }
}

#[test]
fn an_adapter_that_loses_something_is_found() {
    let failure = failure_of(|| {
        Given::<Broken>::new()
            .event_adapter(LossyAdapter(KindAdapter::new("broken").unwrap(), false))
            .when(Do { fault: Fault::None })
            .then_reply(1);
    });
    assert!(failure.contains("broken.added does not survive serialization"), "{failure}");
    assert!(failure.contains("-   \"sum\": 1"), "{failure}");
    assert!(failure.contains("+   \"sum\": 0"), "{failure}");
}

#[test]
fn an_adapter_that_says_what_it_changes_is_sound() {
    let adapter = || LossyAdapter(KindAdapter::new("broken").unwrap(), true);
    let given = || Given::<Broken>::new().event_adapter(adapter());
    given().when(Do { fault: Fault::None }).then_reply(0);
    given().events([Change::Added { by: 5 }]).when(Do { fault: Fault::None }).then_reply(0);
}
