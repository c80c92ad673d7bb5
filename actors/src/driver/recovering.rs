use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use annals_journal::{JournalError, Replayed};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep};
use tracing::Span;

use crate::PersistentActor;
use crate::entity::Input;

/// What a driver has only while its entity recovers or pauses.
pub(super) struct Recovering<A: PersistentActor> {
    /// The right to be one of those that recover at a time.
    pub(super) permit: Option<OwnedSemaphorePermit>,
    /// Since when, in which span; `None`: it pauses without having claimed.
    pub(super) episode: Option<(Instant, Span)>,
    pub(super) step: Step<A>,
    /// Runs while a replay has nothing.
    patience: Option<Pin<Box<Sleep>>>,
}

/// What recovery waits for.
pub(super) enum Step<A: PersistentActor> {
    None,
    Once(BoxFuture<'static, (Input<A>, Option<OwnedSemaphorePermit>)>),
    Replay(BoxStream<'static, Result<Replayed, JournalError>>),
}

impl<A: PersistentActor> Recovering<A> {
    pub(super) fn new() -> Self {
        Self { permit: None, episode: None, step: Step::None, patience: None }
    }

    pub(super) fn span(&self) -> Span {
        self.episode.as_ref().map_or(Span::none(), |(_, span)| span.clone())
    }

    /// The next input of recovery; pending also when there is none. A replay may be silent for `limit` at most.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<Input<A>> {
        match &mut self.step {
            Step::None => Poll::Pending,
            Step::Once(once) => {
                let (input, permit) = ready!(once.poll_unpin(cx));
                self.permit = permit;
                self.step = Step::None;
                Poll::Ready(input)
            }
            Step::Replay(replay) => {
                let Poll::Ready(item) = replay.poll_next_unpin(cx) else {
                    let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(limit)));
                    ready!(patience.poll_unpin(cx));
                    let reason = format!("no event within {limit:?} during recovery");
                    return Poll::Ready(self.end(Err(JournalError::Unavailable { reason, source: None })));
                };
                self.patience = None;
                Poll::Ready(match item {
                    Some(Ok(item)) => Input::Replayed(Ok(Some(item))),
                    Some(Err(error)) => self.end(Err(error)),
                    None => self.end(Ok(())),
                })
            }
        }
    }

    /// The next item of a replay that is there already. Nobody is woken for it if not: [`Recovering::poll_next`] must follow.
    pub(super) fn next_now(&mut self) -> Option<Input<A>> {
        let Step::Replay(replay) = &mut self.step else { return None };
        let item = replay.next().now_or_never()?;
        Some(match item {
            Some(Ok(item)) => Input::Replayed(Ok(Some(item))),
            Some(Err(error)) => self.end(Err(error)),
            None => self.end(Ok(())),
        })
    }

    fn end(&mut self, how: Result<(), JournalError>) -> Input<A> {
        self.step = Step::None;
        self.patience = None;
        Input::Replayed(how.map(|()| None))
    }
}
