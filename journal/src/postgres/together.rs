use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Puts questions that come at the same time into one statement.
///
/// ```text
/// ask ──▶ waiting ──▶ a few tasks, each: take all that waits, one statement, answer · again, until nothing waits
/// ```
/// Alone, a question is on its way at once. While statements are on their way others wait, and share the next: under load there are fewer
/// round trips, not longer queues.
pub struct Together<Q, A> {
    queue: Arc<Mutex<Queue<Q, A>>>,
    /// Tasks at a time.
    tasks: usize,
    /// Questions a statement.
    most: usize,
}

struct Queue<Q, A> {
    waiting: VecDeque<(Q, oneshot::Sender<A>)>,
    running: usize,
}

impl<Q: Send + 'static, A: Send + 'static> Together<Q, A> {
    /// At most so many statements on their way, with so many questions each; at least one of each.
    pub fn new(tasks: usize, most: usize) -> Self {
        let queue = Queue { waiting: VecDeque::new(), running: 0 };
        Self { queue: Arc::new(Mutex::new(queue)), tasks: tasks.max(1), most: most.max(1) }
    }

    /// Asks; `None` when the runtime stops meanwhile, or when the answers are fewer than the questions. `answer` is the same for all
    /// questions: it gives their answers, in their order.
    ///
    /// # Cancel safety
    /// A question whose asker has gone is not asked any more, unless it is on its way.
    pub async fn ask<F>(&self, question: Q, answer: impl Fn(Vec<Q>) -> F + Send + 'static) -> Option<A>
    where
        F: Future<Output = Vec<A>> + Send + 'static,
    {
        let (sender, answered) = oneshot::channel();
        let begins = {
            let mut queue = lock(&self.queue);
            queue.waiting.push_back((question, sender));
            let begins = queue.running < self.tasks;
            queue.running += usize::from(begins);
            begins
        };
        if begins {
            let (mut task, most) = (Task { queue: Arc::clone(&self.queue), ended: false }, self.most);
            tokio::spawn(async move {
                while let Some((questions, askers)) = task.next(most) {
                    let answering = answer(questions);
                    for (asker, answer) in askers.into_iter().zip(answering.await) {
                        // Whoever asked may have gone.
                        let _ = asker.send(answer);
                    }
                }
            });
        }
        answered.await.ok()
    }
}

/// One of those that answer.
struct Task<Q, A> {
    queue: Arc<Mutex<Queue<Q, A>>>,
    ended: bool,
}

type Taken<Q, A> = (Vec<Q>, Vec<oneshot::Sender<A>>);

impl<Q, A> Task<Q, A> {
    /// What it answers next; `None`: nothing waits, and the task has ended.
    fn next(&mut self, most: usize) -> Option<Taken<Q, A>> {
        let mut queue = lock(&self.queue);
        let (mut questions, mut askers) = (Vec::new(), Vec::new());
        while questions.len() < most
            && let Some((question, asker)) = queue.waiting.pop_front()
        {
            if !asker.is_closed() {
                questions.push(question);
                askers.push(asker);
            }
        }
        if questions.is_empty() {
            // Under the same lock: who comes afterwards begins a task.
            queue.running -= 1;
            self.ended = true;
            return None;
        }
        Some((questions, askers))
    }
}

impl<Q, A> Drop for Task<Q, A> {
    /// Also of a task that a stopping runtime drops: whoever waits for the last one learns that no answer comes.
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let mut queue = lock(&self.queue);
        queue.running -= 1;
        let left = if queue.running == 0 { std::mem::take(&mut queue.waiting) } else { VecDeque::new() };
        drop(queue);
        drop(left);
    }
}

fn lock<Q, A>(queue: &Mutex<Queue<Q, A>>) -> MutexGuard<'_, Queue<Q, A>> {
    // Whole at every point where its holder could panic.
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<Q, A> fmt::Debug for Together<Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Together")
            .field("tasks", &self.tasks)
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn what_comes_while_others_are_answered_shares_the_next_statement() {
        let (together, gate, seen) =
            (Together::<u32, u32>::new(1, 3), Arc::new(Semaphore::new(0)), Arc::new(Mutex::new(Vec::new())));
        let asked = |question| {
            let (gate, seen) = (Arc::clone(&gate), Arc::clone(&seen));
            together.ask(question, move |questions: Vec<u32>| {
                let (gate, seen) = (Arc::clone(&gate), Arc::clone(&seen));
                async move {
                    seen.lock().unwrap().push(questions.clone());
                    gate.acquire().await.unwrap().forget();
                    questions.into_iter().map(|question| question * 10).collect()
                }
            })
        };
        let all = futures::future::join_all((1..=6).map(asked));
        let open = async {
            while seen.lock().unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
            gate.add_permits(10);
        };
        let (answers, ()) = tokio::join!(all, open);
        assert_eq!(answers, (1..=6).map(|question| Some(question * 10)).collect::<Vec<_>>());
        let seen = seen.lock().unwrap().clone();
        assert_eq!(seen.iter().flatten().copied().collect::<Vec<_>>(), (1..=6).collect::<Vec<_>>());
        assert!(seen.len() < 6 && seen.iter().all(|statement| statement.len() <= 3), "{seen:?}");
    }

    #[tokio::test]
    async fn nobody_waits_for_a_task_that_panicked_and_the_next_is_answered() {
        let together = Together::<u32, u32>::new(1, 3);
        async fn panics(_: Vec<u32>) -> Vec<u32> {
            panic!("on purpose")
        }
        assert_eq!(together.ask(1, panics).await, None);
        assert_eq!(together.ask(2, |questions| async { questions }).await, Some(2));
    }

    #[tokio::test]
    async fn questions_of_those_who_went_are_not_asked() {
        let together = Together::<u32, u32>::new(1, 3);
        let answer = |questions: Vec<u32>| async move {
            assert_eq!(questions, [2]);
            questions
        };
        // Polled once: it waits for its task, which has not run yet.
        assert!(futures::future::poll_immediate(Box::pin(together.ask(1, answer))).await.is_none());
        assert_eq!(together.ask(2, answer).await, Some(2));
    }
}
