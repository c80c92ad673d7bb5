use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use annals_journal::{Head, Journal, JournalError, JournalExt, Write};
use futures::FutureExt;
use futures::future::BoxFuture;

/// Writes on their way, answered in the order in which they were issued.
///
/// Each is polled once when it is issued, which gives it its place in the journal's order. From then on only the oldest is: no
/// other can be of use before it.
#[derive(Default)]
pub(super) struct Writes(VecDeque<Issued>);

enum Issued {
    Answered(Answer),
    Pending(BoxFuture<'static, Answer>),
}

type Answer = Result<Head, JournalError>;

impl Writes {
    pub(super) fn issue(&mut self, journal: &Arc<dyn Journal>, write: Write) {
        let journal = Arc::clone(journal);
        let mut answer = async move { journal.write_one(write).await }.boxed();
        self.0.push_back(match (&mut answer).now_or_never() {
            Some(answer) => Issued::Answered(answer),
            None => Issued::Pending(answer),
        });
    }

    /// The oldest answer, when it came at once.
    pub(super) fn next_if_answered(&mut self) -> Option<Answer> {
        match self.0.pop_front()? {
            Issued::Answered(answer) => Some(answer),
            pending => {
                self.0.push_front(pending);
                None
            }
        }
    }

    /// The oldest answer, when it is there by now. Nobody is woken for it if not: [`Writes::poll_next`] must follow.
    pub(super) fn next_now(&mut self) -> Option<Answer> {
        poll_fn(|cx| self.poll_next(cx)).now_or_never()
    }

    /// The oldest answer; pending also when nothing is on its way.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        let answer = match self.0.front_mut() {
            None => return Poll::Pending,
            Some(Issued::Pending(answer)) => ready!(answer.poll_unpin(cx)),
            Some(Issued::Answered(_)) => match self.0.pop_front() {
                Some(Issued::Answered(answer)) => return Poll::Ready(answer),
                _ => unreachable!("it was looked at a line before"),
            },
        };
        self.0.pop_front();
        Poll::Ready(answer)
    }

    /// Gives back memory that no write needs.
    pub(super) fn shrink(&mut self) {
        self.0.shrink_to_fit();
    }

    /// Stops waiting; what is on its way goes on.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}
