use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::cell::{AnyCell, Cell};
use super::inbox::{Halt, Refusal};
use super::{
    ActorId, ActorPath, DeadLetterReason, NoAnswer, NotDelivered, Overflow, TerminationReason, Undeliverable,
};
use crate::answer::{Answer, Answerer, Asked, Elapsed, answer_within, before};

/// Reaches an actor. Cheap to clone; it does not keep the actor running, and outlives it harmlessly.
pub struct ActorRef<M> {
    pub(crate) cell: Arc<Cell<M>>,
}

impl<M: Send + 'static> ActorRef<M> {
    /// Sends a message and does not wait for what becomes of it. `Ok`: it is in the mailbox, or the mailbox was full and
    /// [drops](Overflow::Drop) what is too much.
    ///
    /// Messages of one sender arrive in the order in which they were sent. Waits only when the mailbox is full and has
    /// senders [wait](Overflow::Wait); within a handler that can be for ever, see there.
    ///
    /// # Errors
    /// [`NotDelivered`] with the message: the mailbox is full, or the actor has stopped.
    ///
    /// # Cancel safety
    /// The message is not delivered when the future is dropped before it is done.
    pub async fn tell(&self, message: M) -> Result<(), NotDelivered<M>> {
        match self.offer(message) {
            Ok(()) => Ok(()),
            Err(Refusal::Full(message)) if self.lets_wait() => self.tell_when_there_is_room(message).await,
            Err(refusal) => self.refused(refusal),
        }
    }

    /// As [`tell`](Self::tell), but never waits: a full mailbox that has senders wait refuses the message.
    ///
    /// # Errors
    /// As [`tell`](Self::tell).
    pub fn try_tell(&self, message: M) -> Result<(), NotDelivered<M>> {
        self.offer(message).or_else(|refusal| self.refused(refusal))
    }

    /// As [`try_tell`](Self::try_tell), for who cannot do anything about it: what is refused is a dead letter.
    pub(crate) fn tell_or_bury(&self, message: M) {
        if let Err(NotDelivered { reason: Undeliverable::MailboxFull { .. }, .. }) = self.try_tell(message) {
            self.cell.dead_letter(DeadLetterReason::MailboxFull);
        }
    }

    /// Sends a question and waits for the answer, all in all at most `limit`; with one of 2 s and more up to 20 ms longer
    /// on a runtime with several threads.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use annals_actors::plain::{ActorRef, NoAnswer, ReplyTo};
    /// # enum Till { Total { reply_to: ReplyTo<u64> } }
    /// # async fn example(till: ActorRef<Till>) -> Result<(), NoAnswer> {
    /// let cents = till.ask(|reply_to| Till::Total { reply_to }, Duration::from_secs(1)).await?;
    /// # let _: u64 = cents;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Two actors that ask each other and wait within their handlers wait for each other until the time is up.
    ///
    /// # Errors
    /// [`NoAnswer`] says whether the question may have been handled.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the question to its fate.
    pub async fn ask<R: Send + 'static>(
        &self,
        question: impl FnOnce(ReplyTo<R>) -> M,
        limit: Duration,
    ) -> Result<R, NoAnswer> {
        let system = &self.cell.system;
        let asked = Asked { recipient: self.path(), system };
        let (answerer, answer) = answer_within(limit, &system.patience, Some(asked)).await;
        self.converse(question(ReplyTo::new(answerer)), answer, limit).await
    }

    /// Sends a question and waits for its answer.
    pub(crate) async fn converse<R: Send + 'static>(
        &self,
        question: M,
        mut answer: Answer<'_, R>,
        limit: Duration,
    ) -> Result<R, NoAnswer> {
        let answered = match self.offer(question) {
            Ok(()) => answer.within(limit).await,
            Err(Refusal::Full(question)) if self.lets_wait() => {
                let deadline = Instant::now().checked_add(limit);
                match before(deadline, self.tell_when_there_is_room(question)).await {
                    Ok(told) => {
                        told.map_err(|not| not.reason)?;
                        answer.until(deadline).await
                    }
                    Err(elapsed) => Err(elapsed),
                }
            }
            Err(refusal) => {
                self.refused(refusal).map_err(|not| not.reason)?;
                // It was dropped, and most likely its `ReplyTo` with it.
                answer.within(limit).await
            }
        };
        let answered = answered.or_else(|Elapsed| match answer.give_up() {
            Some(answer) => Ok(Some(answer)),
            None => Err(NoAnswer::TimedOut { recipient: self.path().clone(), limit }),
        })?;
        answered.ok_or_else(|| NoAnswer::NoReply { recipient: self.path().clone() })
    }

    /// Has the actor stop gracefully: from now on it takes no messages, handles those that wait, lets its children stop, and is
    /// gone. Returns at once; [`terminated`](Self::terminated) waits for the end.
    pub fn stop(&self) {
        self.cell.halt(Halt::Drain);
    }

    /// Has the actor stop after the message that it handles now; those that wait become dead letters. Its children stop the
    /// same way.
    pub fn stop_now(&self) {
        self.cell.halt(Halt::Now);
    }

    /// Waits until the actor has terminated; says why it has.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn terminated(&self) -> TerminationReason {
        self.cell.until_terminated().await
    }

    /// Whether the actor takes no more messages: it is stopping or has terminated.
    pub fn is_stopped(&self) -> bool {
        self.cell.inbox.is_closed()
    }

    /// Where the actor stands among its ancestors.
    pub fn path(&self) -> &ActorPath {
        &self.cell.path
    }

    /// Tells the actor from every other one.
    pub fn id(&self) -> ActorId {
        self.cell.id
    }

    pub(crate) fn any(&self) -> Arc<dyn AnyCell> {
        Arc::clone(&self.cell) as Arc<dyn AnyCell>
    }

    fn offer(&self, message: M) -> Result<(), Refusal<M>> {
        self.cell.inbox.offer(message)?;
        self.delivered();
        Ok(())
    }

    fn lets_wait(&self) -> bool {
        self.cell.inbox.settings().overflow() == Overflow::Wait
    }

    async fn tell_when_there_is_room(&self, message: M) -> Result<(), NotDelivered<M>> {
        match self.cell.inbox.wait_for_room(message).await {
            Ok(()) => {
                self.delivered();
                Ok(())
            }
            Err(refusal) => self.refused(refusal),
        }
    }

    fn delivered(&self) {
        self.cell.system.metrics.waiting_messages.increment(1.0);
    }

    fn refused(&self, refusal: Refusal<M>) -> Result<(), NotDelivered<M>> {
        let settings = self.cell.inbox.settings();
        match refusal {
            Refusal::Full(_) if settings.overflow() == Overflow::Drop => {
                self.cell.dead_letter(DeadLetterReason::MailboxFull);
                Ok(())
            }
            Refusal::Full(message) => {
                self.cell.system.metrics.refused_messages.increment(1);
                // Only a bounded mailbox is ever full.
                let capacity = settings.capacity().unwrap_or(usize::MAX);
                let reason = Undeliverable::MailboxFull { recipient: self.path().clone(), capacity };
                Err(NotDelivered { message, reason })
            }
            Refusal::Closed(message) => {
                self.cell.dead_letter(DeadLetterReason::Stopped);
                let reason = Undeliverable::Stopped { recipient: self.path().clone() };
                Err(NotDelivered { message, reason })
            }
        }
    }
}

impl<M> Clone for ActorRef<M> {
    fn clone(&self) -> Self {
        Self { cell: Arc::clone(&self.cell) }
    }
}

impl<M> PartialEq for ActorRef<M> {
    fn eq(&self, other: &Self) -> bool {
        self.cell.id == other.cell.id
    }
}

impl<M> Eq for ActorRef<M> {}

impl<M> Hash for ActorRef<M> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.cell.id.hash(state);
    }
}

impl<M> fmt::Debug for ActorRef<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ActorRef({})", self.cell.path)
    }
}

/// Where the answer to an [ask](ActorRef::ask) goes. Dropping it tells the asker that none comes.
pub struct ReplyTo<R> {
    answerer: Answerer<R>,
}

impl<R: Send + 'static> ReplyTo<R> {
    pub(crate) fn new(answerer: Answerer<R>) -> Self {
        Self { answerer }
    }

    /// Answers. When the asker no longer waits, the answer is a dead letter.
    pub fn send(self, answer: R) {
        if let Err(late) = self.answerer.send(answer)
            && let Some((asked, system)) = late.asked
        {
            system.dead_letter::<R>(&asked, DeadLetterReason::AskerGone);
        }
    }

    /// Whether the asker still waits; if not, long work for the answer can be spared.
    pub fn is_awaited(&self) -> bool {
        self.answerer.is_awaited()
    }
}

impl<R> fmt::Debug for ReplyTo<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let awaited = if self.answerer.is_awaited() { "an asker who waits" } else { "nobody" };
        write!(f, "ReplyTo({awaited})")
    }
}
