use std::future::pending;

use tokio::task::{JoinError, JoinSet};

use super::ActorFailure;
use crate::panic::message as panic_message;

/// Work of an actor beside its turns; each piece yields a message. Ends with its owner.
pub(crate) struct Piped<M>(Option<JoinSet<M>>);

impl<M: Send + 'static> Piped<M> {
    pub(crate) const fn new() -> Self {
        Self(None)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, JoinSet::len)
    }

    pub(crate) fn spawn(&mut self, work: impl Future<Output = M> + Send + 'static) {
        self.0.get_or_insert_default().spawn(work);
    }

    /// Cancels all.
    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }

    /// The message of a piece that is done.
    pub(crate) fn try_next(&mut self) -> Option<Result<M, ActorFailure>> {
        self.0.as_mut()?.try_join_next().map(outcome)
    }

    /// Waits for one; for ever when there is none.
    pub(crate) async fn next(&mut self) -> Result<M, ActorFailure> {
        match &mut self.0 {
            Some(tasks) => match tasks.join_next().await {
                Some(joined) => outcome(joined),
                None => pending().await,
            },
            None => pending().await,
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
