use std::time::Duration;

use super::{Fault, JournalAnswer, Outcome};
use crate::{Epoch, JournalError, PersistenceId, Token, Write};

/// What a list of writes becomes by its orders.
#[derive(Default)]
pub(super) struct WritePlan {
    /// What the journal is asked.
    pub(super) passed: Vec<Write>,
    /// What it is asked later.
    pub(super) late: Vec<(Duration, Vec<Write>)>,
    /// One for each entry of the list.
    pub(super) fates: Vec<Fate>,
    /// Whether one answer is dropped.
    pub(super) too_few: bool,
    /// Whose later entries are answered alike.
    failed: Vec<(PersistenceId, Token, JournalError)>,
}

/// What one entry is answered.
pub(super) enum Fate {
    /// What the journal says to the entry with this place among those that it is asked.
    Passed(usize),
    Answered(JournalError),
}

impl WritePlan {
    pub(super) fn of(writes: Vec<Write>, faults: &[Fault<JournalAnswer>]) -> Self {
        let mut plan = Self::default();
        for (write, fault) in writes.into_iter().zip(faults) {
            let (id, token) = (write.persistence_id().clone(), write.token());
            let failed = plan.failed.iter().find(|(of, by, _)| *of == id && *by == token);
            if let Some((_, _, error)) = failed {
                let error = error.clone();
                plan.fates.push(Fate::Answered(error));
                continue;
            }
            match &fault.answer {
                JournalAnswer::Panic(message) => panic!("{message}"),
                JournalAnswer::Unknown(outcome) => plan.leaves_open(write, unknown(), *outcome),
                JournalAnswer::FalselyUnavailable(outcome) => {
                    plan.leaves_open(write, unavailable("a test ordered it"), *outcome);
                }
                JournalAnswer::Conflict => match conflict(&write) {
                    Some(conflict) => plan.fails(&write, conflict),
                    None => plan.passes(write),
                },
                JournalAnswer::Fenced => {
                    plan.is_overtaken(id, Token::new(Epoch(token.epoch.0 + 1), 1));
                    plan.passes(write);
                }
                JournalAnswer::Superseded => {
                    plan.is_overtaken(id, Token::new(token.epoch, token.activation + 1));
                    plan.passes(write);
                }
                JournalAnswer::TooFewAnswers => {
                    plan.too_few = true;
                    plan.passes(write);
                }
                other => match error(other, Some(&id)) {
                    Some(error) => plan.fails(&write, error),
                    None => plan.passes(write),
                },
            }
        }
        plan
    }

    fn passes(&mut self, write: Write) {
        self.fates.push(Fate::Passed(self.passed.len()));
        self.passed.push(write);
    }

    fn fails(&mut self, write: &Write, error: JournalError) {
        self.failed.push((write.persistence_id().clone(), write.token(), error.clone()));
        self.fates.push(Fate::Answered(error));
    }

    /// Answered with an error, whatever really happens.
    fn leaves_open(&mut self, write: Write, error: JournalError, outcome: Outcome) {
        self.fails(&write, error);
        match outcome {
            Outcome::Stored => self.passed.push(write),
            Outcome::NotStored => {}
            Outcome::Late(time) => self.arrives_late(time, write),
        }
    }

    /// Somebody else claims the id first; nobody waits for the answer.
    fn is_overtaken(&mut self, persistence_id: PersistenceId, token: Token) {
        self.passed.push(Write::Claim { persistence_id, token });
    }

    fn arrives_late(&mut self, time: Duration, write: Write) {
        match self.late.last_mut() {
            Some((other, writes)) if *other == time => writes.push(write),
            _ => self.late.push((time, vec![write])),
        }
    }
}

/// What the caller of something with an unknown outcome is answered.
pub(super) fn unknown() -> JournalError {
    JournalError::Unknown { reason: "a test ordered it".into(), source: None }
}

fn unavailable(reason: &str) -> JournalError {
    JournalError::Unavailable { reason: reason.into(), source: None }
}

fn conflict(write: &Write) -> Option<JournalError> {
    let Write::Append(append) = write else { return None };
    Some(JournalError::Conflict {
        persistence_id: append.persistence_id.clone(),
        expected: append.expected,
        head: append.expected.next(),
    })
}

/// The error that an order names and that needs no journal; `None` for the others.
pub(super) fn error(answer: &JournalAnswer, id: Option<&PersistenceId>) -> Option<JournalError> {
    match answer {
        JournalAnswer::Unavailable(reason) => Some(unavailable(reason)),
        JournalAnswer::Rejected(reason) => {
            let what = id.map_or_else(|| "the request".to_owned(), ToString::to_string);
            Some(JournalError::Rejected { what, reason: reason.clone() })
        }
        JournalAnswer::Corrupt(reason) => {
            Some(JournalError::Corrupt { persistence_id: id.cloned(), seq_nr: None, reason: reason.clone() })
        }
        _ => None,
    }
}
