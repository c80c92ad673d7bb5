use std::task::{Context, Poll};

use tokio::task::{JoinError, JoinSet};

use super::ActorFailure;
use crate::panic::message as panic_message;

/// Work of an actor beside its turns; each piece yields a message. Ends with its owner.
pub(crate) struct Piped<M> {
    tasks: Option<JoinSet<M>>,
    /// Was seen to be done.
    done: Option<Result<M, ActorFailure>>,
}

impl<M: Send + 'static> Piped<M> {
    pub(crate) const fn new() -> Self {
        Self { tasks: None, done: None }
    }

    /// How many pieces have not yielded their message.
    pub(crate) fn len(&self) -> usize {
        self.tasks.as_ref().map_or(0, JoinSet::len) + usize::from(self.done.is_some())
    }

    pub(crate) fn spawn(&mut self, work: impl Future<Output = M> + Send + 'static) {
        self.tasks.get_or_insert_default().spawn(work);
    }

    /// Cancels all.
    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }

    /// The message of a piece that is done.
    pub(crate) fn try_next(&mut self) -> Option<Result<M, ActorFailure>> {
        self.done.take().or_else(|| self.tasks.as_mut()?.try_join_next().map(outcome))
    }

    /// Ready when a piece is done; never when there is none.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.done.is_some() {
            return Poll::Ready(());
        }
        match self.tasks.as_mut().map(|tasks| tasks.poll_join_next(cx)) {
            Some(Poll::Ready(Some(joined))) => {
                self.done = Some(outcome(joined));
                Poll::Ready(())
            }
            _ => Poll::Pending,
        }
    }
}

fn outcome<M>(joined: Result<M, JoinError>) -> Result<M, ActorFailure> {
    joined.map_err(|error| ActorFailure::Panicked {
        message: match error.try_into_panic() {
            Ok(panic) => panic_message(&*panic),
            // Only the owner cancels, and asks no more then; the runtime may be going away.
            Err(error) => error.to_string(),
        },
    })
}
