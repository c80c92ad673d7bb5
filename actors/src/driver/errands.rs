use std::collections::VecDeque;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;

use super::toolkit::Toolkit;
use crate::PersistentActor;
use crate::entity::{Input, WorkOutput};

/// What an entity has done besides writing events: work before a decision, side effects after one, a snapshot's save.
pub(super) struct Errands<A: PersistentActor> {
    pub(super) work: Option<BoxFuture<'static, WorkOutput>>,
    pub(super) side_effects: VecDeque<BoxFuture<'static, ()>>,
    /// The side effect that runs.
    pub(super) side_effect: Option<BoxFuture<'static, ()>>,
    pub(super) save: Option<BoxFuture<'static, Input<A>>>,
    /// Timers, watches and children.
    pub(super) toolkit: Option<Box<Toolkit<A>>>,
}

impl<A: PersistentActor> Errands<A> {
    pub(super) fn new() -> Self {
        Self { work: None, side_effects: VecDeque::new(), side_effect: None, save: None, toolkit: None }
    }

    /// The next that ends, with its input; a side effect has none.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Input<A>>> {
        if let Some(output) = poll(&mut self.work, cx) {
            return Poll::Ready(Some(Input::Worked(output)));
        }
        if poll(&mut self.side_effect, cx).is_some() {
            return Poll::Ready(None);
        }
        match poll(&mut self.save, cx) {
            Some(saved) => Poll::Ready(Some(saved)),
            None => Poll::Pending,
        }
    }

    /// Whether no side effect runs or waits.
    pub(super) fn no_side_effects(&self) -> bool {
        self.side_effect.is_none() && self.side_effects.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.work.is_none()
            && self.no_side_effects()
            && self.save.is_none()
            && self.toolkit.as_ref().is_none_or(|toolkit| toolkit.is_empty())
    }

    /// Whether the entity may be given commands, as far as it is about what it has done already.
    pub(super) fn let_commands_in(&self) -> bool {
        self.side_effects.len() < MAX_SIDE_EFFECTS
            && self.toolkit.as_ref().is_none_or(|toolkit| !toolkit.is_clearing())
    }
}

/// Side effects that may wait; then commands wait in the inbox (I14).
const MAX_SIDE_EFFECTS: usize = 1024;

/// What a future yielded, which is then forgotten.
fn poll<T>(future: &mut Option<BoxFuture<'static, T>>, cx: &mut Context<'_>) -> Option<T> {
    let Poll::Ready(output) = future.as_mut()?.poll_unpin(cx) else { return None };
    *future = None;
    Some(output)
}
