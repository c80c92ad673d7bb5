use std::any::Any;
use std::sync::mpsc::SyncSender;

use annals_journal::{PersistenceId, Timestamp};
use serde_json::Value;

use super::shown::value;
use crate::delivery::{Delivery, Turn};
use crate::effect::{After, Events, Outcome, SideEffect};
use crate::{Failure, PersistentActor};

/// A command that only looks at the state.
pub(super) struct Peek(pub(super) SyncSender<Value>);

impl<A: PersistentActor> Delivery<A> for Peek {
    fn name(&self) -> &'static str {
        "peek"
    }

    fn begin(&self) -> bool {
        true
    }

    fn undo(&self) {}

    fn wants_confirmation(&self) -> bool {
        false
    }

    fn decide(&mut self, state: &A, _: Turn<'_>) -> Outcome<A> {
        // Nobody listens to a second look.
        let _ = self.0.try_send(value(state));
        Outcome::Answer { events: Events::None, unstash: false, after: After::GoOn }
    }

    fn resume(&mut self, _: &A, _: Box<dyn Any + Send>, _: Turn<'_>) -> Outcome<A> {
        unreachable!("a look needs no work")
    }

    fn evaluate(&mut self, _: &A) -> Vec<SideEffect<A>> {
        Vec::new()
    }

    fn timestamp(&self) -> Timestamp {
        Timestamp::default()
    }

    fn release(self: Box<Self>) -> bool {
        false
    }

    fn fail(self: Box<Self>, _: Failure) {}

    fn unknown(self: Box<Self>, _: &PersistenceId) {}
}
