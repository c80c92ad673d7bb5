use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Sleep, sleep};
use tracing::warn;

use super::Driver;
use crate::PersistentActor;
use crate::entity::Input;

/// What a driver has only while its entity carries out what waits before it stops.
pub(super) struct Draining {
    deadline: Pin<Box<Sleep>>,
    /// The entity knows that the mailbox is empty.
    told: bool,
}

impl Draining {
    pub(super) fn within(limit: Duration) -> Self {
        Self { deadline: Box::pin(sleep(limit)), told: false }
    }
}

impl<A: PersistentActor> Driver<A> {
    /// Tells the entity when no command is left, or no time. Nothing comes into the mailbox any more.
    pub(super) fn poll_draining(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(draining) = &mut self.draining else { return Poll::Pending };
        let input = if !draining.told && self.inbox.is_empty() {
            draining.told = true;
            Input::Drain
        } else {
            ready!(draining.deadline.as_mut().poll(cx));
            self.draining = None;
            let limit = self.entities.node.entities_stop_within;
            warn!(persistence_id = %self.id(), ?limit, "what waits was not carried out in time: the rest is refused");
            Input::Stop
        };
        self.entity.step(self.entities.now(), input);
        Poll::Ready(())
    }
}
