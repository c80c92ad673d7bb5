use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::Incarnation;
use crate::transport::context::NotSent;
use crate::transport::parcel::Outcome;

/// Questions that wait for their answers.
#[derive(Default)]
pub(crate) struct Questions {
    open: Mutex<HashMap<u64, Open>>,
    last: AtomicU64,
}

struct Open {
    asked: Incarnation,
    answer: oneshot::Sender<Answered>,
}

/// What became of a question.
pub(crate) type Answered = Result<Outcome, NotSent>;

/// A question that was asked; forgotten when this is dropped.
pub(crate) struct Question<'a> {
    pub(crate) number: u64,
    pub(crate) answer: oneshot::Receiver<Answered>,
    questions: &'a Questions,
}

impl Questions {
    pub(crate) fn open(&self, asked: Incarnation) -> Question<'_> {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, answer) = oneshot::channel();
        self.open_ones().insert(number, Open { asked, answer: sender });
        Question { number, answer, questions: self }
    }

    /// An answer counts only from who was asked; `None`: it comes from this node itself.
    pub(crate) fn settle(&self, number: u64, from: Option<Incarnation>, answered: Answered) {
        let mut open = self.open_ones();
        if open.get(&number).is_none_or(|question| from.is_some_and(|from| from != question.asked)) {
            return;
        }
        let question = open.remove(&number);
        drop(open);
        if let Some(question) = question {
            // Who asked may just have gone.
            let _ = question.answer.send(answered);
        }
    }

    fn open_ones(&self) -> MutexGuard<'_, HashMap<u64, Open>> {
        // Whole at every point where its holder could panic.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.questions.open_ones().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_only_from_who_was_asked() {
        let questions = Questions::default();
        let mut question = questions.open(Incarnation(1));
        questions.settle(question.number, Some(Incarnation(2)), Ok(Outcome::Ended));
        assert!(question.answer.try_recv().is_err());
        questions.settle(question.number, Some(Incarnation(1)), Ok(Outcome::Ended));
        assert!(matches!(question.answer.try_recv(), Ok(Ok(Outcome::Ended))));
    }

    #[test]
    fn a_question_that_nobody_waits_for_is_forgotten() {
        let questions = Questions::default();
        let question = questions.open(Incarnation(1));
        drop(question);
        assert!(questions.open_ones().is_empty());
    }
}
