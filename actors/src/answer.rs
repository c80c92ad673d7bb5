//! One answer on its way from who was asked to who asked.

use std::future::poll_fn;
use std::mem::replace;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::task::coop::poll_proceed;
use tokio::time::{Instant, timeout_at};

use crate::patience::{Entered, Patience, Place, TICK};
use crate::plain::{ActorPath, Shared};

/// Makes both ends.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn answer<R>() -> (Answerer<R>, Answer<'static, R>) {
    ends(Arc::new(Slot::new(None)), None, None)
}

/// Makes both ends of an answer that is waited for at most `limit`, most likely in a slot that an earlier one has left.
///
/// Ready at once. Whoever awaits this goes on to [`Answer::within`] before anything else makes it wait: it is woken already when the
/// answer comes, and `within` need not look into the slot to ask for that.
pub(crate) async fn answer_within<'a, R: Send + 'static>(
    limit: Duration,
    patience: &Patience,
    asked: Option<Asked<'a>>,
) -> (Answerer<R>, Answer<'a, R>) {
    let new = |cx: &mut Context<'_>| {
        let slot = || Slot::new(Some(cx.waker().clone()));
        let entered = if limit >= LONG { patience.enter(slot) } else { None };
        Poll::Ready(match entered {
            Some(Entered { place, in_real_time }) => ends(place, asked, Some(Reminder { in_real_time })),
            None => ends(Arc::new(slot()), asked, None),
        })
    };
    poll_fn(new).await
}

fn ends<R>(
    slot: Arc<Slot<R>>,
    asked: Option<Asked<'_>>,
    reminder: Option<Reminder>,
) -> (Answerer<R>, Answer<'_, R>) {
    let answerer = Answerer { slot: Some(Arc::clone(&slot)) };
    (answerer, Answer { slot, asked, reminder, is_new: reminder.is_some(), settled: false })
}

/// Whom the question is for, and in which system: where an answer that comes too late is a dead letter.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) recipient: &'a ActorPath,
    pub(crate) system: &'a Arc<Shared>,
}

/// Where the answer goes. Dropping it tells who asked that none comes.
pub(crate) struct Answerer<R> {
    slot: Option<Arc<Slot<R>>>,
}

/// Where the answer comes from. Dropping it tells who was asked that nobody waits.
pub(crate) struct Answer<'a, R> {
    slot: Arc<Slot<R>>,
    asked: Option<Asked<'a>>,
    /// Comes when it takes long.
    reminder: Option<Reminder>,
    /// Nobody has looked into the slot; who waits is woken all the same.
    is_new: bool,
    /// What came was given; there is nobody to be told.
    settled: bool,
}

#[derive(Clone, Copy)]
struct Reminder {
    in_real_time: bool,
}

struct Slot<R> {
    state: Mutex<State<R>>,
}

enum State<R> {
    Open {
        asker: Option<Waker>,
        /// It takes long: from now on the asker looks at the clock.
        reminded: bool,
    },
    Answered(R),
    /// None will come.
    Dropped,
    /// Nobody waits. Written by the asker, so that a question that is answered in time carries none of it.
    Gone(Option<(ActorPath, Arc<Shared>)>),
}

/// What is found in the slot.
enum Found<R> {
    Settled(Option<R>),
    Open { reminded: bool },
}

/// An answer that nobody waits for.
pub(crate) struct TooLate {
    /// Whom the question was for, where the asker has said so.
    pub(crate) asked: Option<(ActorPath, Arc<Shared>)>,
}

/// None has come.
#[cfg(any(test, feature = "testing"))]
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoAnswerYet;

/// The time is up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Elapsed;

impl<R> Answerer<R> {
    /// Answers, if somebody waits.
    pub(crate) fn send(mut self, answer: R) -> Result<(), TooLate> {
        self.slot.take().map_or(Ok(()), |slot| slot.settle(State::Answered(answer)))
    }

    /// Whether somebody waits.
    pub(crate) fn is_awaited(&self) -> bool {
        self.slot.as_ref().is_some_and(|slot| !matches!(*slot.state(), State::Gone(_)))
    }
}

impl<R> Drop for Answerer<R> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            // Who has gone need not know.
            let _ = slot.settle(State::Dropped);
        }
    }
}

impl<R: Send + 'static> Answer<'_, R> {
    /// Waits at most `limit` from when this is first polled, one of 2 s and more up to 20 ms longer. `None`: there will be none, the
    /// other end was dropped.
    ///
    /// # Cancel safety
    /// The answer is not lost when the future is dropped.
    pub(crate) async fn within(&mut self, limit: Duration) -> Result<Option<R>, Elapsed> {
        let mut began = None;
        let soon = poll_fn(|cx| {
            if replace(&mut self.is_new, false) {
                // A long one begins with the reminder.
                let is_coarse =
                    limit >= COARSE && self.reminder.is_some_and(|reminder| reminder.in_real_time);
                began = (!is_coarse).then(Instant::now);
                return Poll::Pending;
            }
            // The clock is looked at only by those who have to wait.
            let reminded = match ready!(self.look(cx)) {
                Found::Settled(settled) => return Poll::Ready(Ok(settled)),
                Found::Open { reminded } => reminded,
            };
            let began = *began.get_or_insert_with(Instant::now);
            if self.reminder.is_some() && !reminded { Poll::Pending } else { Poll::Ready(Err(began)) }
        });
        match soon.await {
            Ok(settled) => Ok(settled),
            Err(began) => self.until(began.checked_add(limit)).await,
        }
    }

    /// Waits at most until then; for ever without a deadline.
    pub(crate) async fn until(&mut self, deadline: Option<Instant>) -> Result<Option<R>, Elapsed> {
        before(deadline, poll_fn(|cx| self.poll(cx))).await
    }

    /// Waits no longer: what is sent from now on does not come. Gives the answer that came in the last moment.
    pub(crate) fn give_up(mut self) -> Option<R> {
        self.settled = true;
        self.leave()
    }

    /// The answer, if it has come; for tests, which do not wait.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn try_recv(&mut self) -> Result<R, NoAnswerYet> {
        let mut state = self.slot.state();
        match &*state {
            State::Answered(_) => match replace(&mut *state, State::Gone(None)) {
                State::Answered(answer) => Ok(answer),
                _ => unreachable!("it was looked at a line before"),
            },
            _ => Err(NoAnswerYet),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<R>> {
        match ready!(self.look(cx)) {
            Found::Settled(settled) => Poll::Ready(settled),
            Found::Open { .. } => Poll::Pending,
        }
    }

    /// Pending when it is the turn of others; while it is open, whoever answers or reminds wakes the asker.
    fn look(&mut self, cx: &mut Context<'_>) -> Poll<Found<R>> {
        // As all that tokio has to wait for: who always finds an answer lets others run, too.
        let turn = ready!(poll_proceed(cx));
        let mut state = self.slot.state();
        if let State::Open { asker, reminded } = &mut *state {
            match asker {
                Some(asker) => asker.clone_from(cx.waker()),
                None => *asker = Some(cx.waker().clone()),
            }
            return Poll::Ready(Found::Open { reminded: *reminded });
        }
        turn.made_progress();
        self.settled = true;
        Poll::Ready(Found::Settled(match replace(&mut *state, State::Gone(None)) {
            State::Answered(answer) => Some(answer),
            State::Open { .. } | State::Dropped | State::Gone(_) => None,
        }))
    }
}

impl<R> Answer<'_, R> {
    fn leave(&self) -> Option<R> {
        let mut state = self.slot.state();
        let gone = match &*state {
            State::Open { .. } => self.asked.map(|asked| (asked.recipient.clone(), Arc::clone(asked.system))),
            State::Answered(_) | State::Dropped | State::Gone(_) => None,
        };
        let before = replace(&mut *state, State::Gone(gone));
        // What is dropped with it may be the user's.
        drop(state);
        match before {
            State::Answered(answer) => Some(answer),
            State::Open { .. } | State::Dropped | State::Gone(_) => None,
        }
    }
}

impl<R> Drop for Answer<'_, R> {
    fn drop(&mut self) {
        if !self.settled {
            self.leave();
        }
    }
}

impl<R> Slot<R> {
    fn new(asker: Option<Waker>) -> Self {
        Self { state: Mutex::new(State::Open { asker, reminded: false }) }
    }

    fn settle(&self, with: State<R>) -> Result<(), TooLate> {
        let mut state = self.state();
        if let State::Gone(asked) = &mut *state {
            let asked = asked.take();
            drop(state);
            // The answer is dropped without the lock.
            return Err(TooLate { asked });
        }
        let before = replace(&mut *state, with);
        drop(state);
        if let State::Open { asker: Some(asker), .. } = before {
            asker.wake();
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State<R>> {
        // Whole at every point where its holder could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Send + 'static> Place for Slot<R> {
    fn remind(&self) {
        let mut state = self.state();
        if let State::Open { asker, reminded } = &mut *state {
            *reminded = true;
            let asker = asker.take();
            drop(state);
            if let Some(asker) = asker {
                asker.wake();
            }
        }
    }
}

/// Waits at most until then; for ever without a deadline.
pub(crate) async fn before<T>(
    deadline: Option<Instant>,
    work: impl Future<Output = T>,
) -> Result<T, Elapsed> {
    match deadline {
        Some(deadline) => timeout_at(deadline, work).await.map_err(|_| Elapsed),
        None => Ok(work.await),
    }
}

/// Shorter time limits are not worth waiting for a reminder.
const LONG: Duration = TICK.saturating_mul(5);
/// From this on a tick more does not count, and the clock is not looked at for an answer that comes at once.
const COARSE: Duration = TICK.saturating_mul(100);

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::time::sleep;

    use super::*;

    const SEC: Duration = Duration::from_secs(1);

    async fn pair(limit: Duration) -> (Answerer<u32>, Answer<'static, u32>) {
        answer_within(limit, &Patience::new(), None).await
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_there_is_taken_without_a_clock() {
        let (answerer, mut answer) = pair(Duration::ZERO).await;
        assert!(answerer.send(7).is_ok());
        let answer = answer.within(Duration::ZERO).now_or_never();
        assert_eq!(answer, Some(Ok(Some(7))));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_wakes_the_asker_before_and_after_the_reminder() {
        for after in [Duration::from_millis(1), 3 * TICK] {
            let (answerer, mut answer) = pair(SEC).await;
            let began = Instant::now();
            tokio::spawn(async move {
                sleep(after).await;
                assert!(answerer.send(7).is_ok());
            });
            assert_eq!(answer.within(SEC).await, Ok(Some(7)));
            assert_eq!(began.elapsed(), after);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_is_up_exactly_at_the_limit_whatever_that_is() {
        let patience = Patience::new();
        for limit in [Duration::ZERO, Duration::from_millis(1), LONG, LONG * 3 / 2, COARSE, 100 * SEC] {
            let (_answerer, mut answer) = answer_within::<u32>(limit, &patience, None).await;
            let began = Instant::now();
            assert_eq!(answer.within(limit).await, Err(Elapsed));
            // The clock of the runtime has milliseconds.
            assert!(began.elapsed() >= limit && began.elapsed() <= limit + Duration::from_millis(1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_unlimited_wait_has_no_end() {
        let (answerer, mut answer) = pair(Duration::MAX).await;
        tokio::spawn(async move {
            sleep(Duration::from_hours(1_000_000)).await;
            assert!(answerer.send(7).is_ok());
        });
        assert_eq!(answer.within(Duration::MAX).await, Ok(Some(7)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_end_is_known_to_the_other() {
        let (answerer, mut answer) = pair(SEC).await;
        drop(answerer);
        assert_eq!(answer.within(SEC).await, Ok(None));
        let (answerer, answer) = pair(SEC).await;
        assert!(answerer.is_awaited());
        drop(answer);
        assert!(!answerer.is_awaited());
        assert!(answerer.send(7).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_of_the_last_moment_is_not_lost() {
        let (answerer, mut answer) = pair(TICK).await;
        assert_eq!(answer.within(TICK).await, Err(Elapsed));
        assert!(answerer.send(7).is_ok());
        assert_eq!(answer.give_up(), Some(7));
    }

    #[test]
    fn a_wait_outlives_the_runtime_that_would_have_reminded_it() {
        let [one, other] =
            [(); 2].map(|()| tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap());
        let patience = Patience::new();
        let (_answerer, mut answer) = one.block_on(answer_within::<u32>(LONG, &patience, None));
        let mut waits = Box::pin(answer.within(LONG));
        one.block_on(async { assert_eq!((&mut waits).now_or_never(), None) });
        drop(one);
        assert_eq!(other.block_on(waits), Err(Elapsed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_is_used_again_when_both_ends_are_gone_and_not_before() {
        let patience = Patience::new();
        let slot_of_next = async || {
            let (answerer, answer) = answer_within::<u32>(SEC, &patience, None).await;
            (Arc::as_ptr(&answer.slot), answerer, answer)
        };
        let (first, answerer, mut answer) = slot_of_next().await;
        assert!(answerer.send(7).is_ok());
        let (second, ..) = slot_of_next().await;
        assert_ne!(second, first, "an answer lies in it");
        assert_eq!(answer.within(SEC).await, Ok(Some(7)));
        drop(answer);
        let (again, answerer, mut answer) = slot_of_next().await;
        assert!([first, second].contains(&again));
        let mut waits = Box::pin(answer.within(SEC));
        assert_eq!((&mut waits).now_or_never(), None, "nothing of the one before is left in it");
        drop(waits);
        drop(answer);
        assert_ne!(slot_of_next().await.0, again, "someone may answer still");
        assert!(answerer.send(8).is_err());
        assert!([first, second].contains(&slot_of_next().await.0));
    }
}
