use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::encryption::key_store::no_answer;
use crate::encryption::life::Life;
use crate::encryption::{DataKey, DataKeys};
use crate::{JournalError, KeyId, PersistenceId, SeqNr};

/// Collects what many callers want of the key records at the same time, so that it is read, or made, together.
///
/// ```text
///  caller ─ wants ─┬─→ nobody asks: it lets the others come, then asks for all ──→ answers
///  caller ─ wants ─┘   somebody asks: it waits; the first of those who wait asks next
/// ```
#[derive(Debug, Default)]
pub(super) struct Gather {
    queue: Mutex<Queue>,
}

/// What somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Want {
    /// The key that seals from this number on.
    Seal(SeqNr),
    /// The key that opens what it sealed.
    Open(KeyId),
    /// What the store says now about the id.
    Life,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Waiting>,
    /// Whether somebody is about to ask for those who wait.
    asked: bool,
}

#[derive(Debug)]
struct Waiting {
    id: PersistenceId,
    want: Want,
    answer: oneshot::Sender<Answer>,
}

#[derive(Debug)]
enum Answer {
    Key(Result<Arc<DataKey>, JournalError>),
    Life(Result<Life, JournalError>),
}

/// # Cancel safety
/// Who asked for others and goes away leaves it to the next of them.
impl Gather {
    /// The key that seals from a number on, from the store.
    pub(super) async fn to_seal(
        &self,
        keys: &DataKeys,
        id: &PersistenceId,
        seq_nr: SeqNr,
    ) -> Result<Arc<DataKey>, JournalError> {
        match self.answer(keys, id, Want::Seal(seq_nr)).await {
            Answer::Key(answer) => answer,
            Answer::Life(_) => Err(no_answer()),
        }
    }

    /// The key that opens what it sealed, from the store.
    pub(super) async fn to_open(
        &self,
        keys: &DataKeys,
        id: &PersistenceId,
        key: KeyId,
    ) -> Result<Arc<DataKey>, JournalError> {
        match self.answer(keys, id, Want::Open(key)).await {
            Answer::Key(answer) => answer,
            Answer::Life(_) => Err(no_answer()),
        }
    }

    /// What the store says now about an id.
    pub(super) async fn life(&self, keys: &DataKeys, id: &PersistenceId) -> Result<Life, JournalError> {
        match self.answer(keys, id, Want::Life).await {
            Answer::Life(answer) => answer,
            Answer::Key(_) => Err(no_answer()),
        }
    }

    async fn answer(&self, keys: &DataKeys, id: &PersistenceId, want: Want) -> Answer {
        loop {
            let (answer, mut answered) = oneshot::channel();
            let asks = {
                let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                queue.waiting.push(Waiting { id: id.clone(), want, answer });
                !mem::replace(&mut queue.asked, true)
            };
            if asks {
                let _turn = Turn(self);
                // Those who start together are polled one after the other.
                tokio::task::yield_now().await;
                let waiting =
                    mem::take(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner).waiting);
                ask(keys, waiting).await;
                if let Ok(answer) = answered.try_recv() {
                    return answer;
                }
            } else if let Ok(answer) = answered.await {
                return answer;
            }
        }
    }
}

/// Ends with somebody else's turn.
struct Turn<'a>(&'a Gather);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.asked = false;
        // They meet a closed channel and come again.
        queue.waiting.clear();
    }
}

async fn ask(keys: &DataKeys, waiting: Vec<Waiting>) {
    let (mut to_seal, mut to_open, mut lives) = (Vec::new(), Vec::new(), Vec::new());
    for waits in waiting {
        match waits.want {
            Want::Seal(seq_nr) => to_seal.push((waits, seq_nr)),
            Want::Open(key) => to_open.push((waits, key)),
            Want::Life => lives.push(waits),
        }
    }
    // Before the others: it has what is known forgotten.
    if !lives.is_empty() {
        let ids: Vec<_> = lives.iter().map(|waits| &waits.id).collect();
        let answers = keys.lives(&ids).await;
        lives.into_iter().zip(answers).for_each(|(waits, life)| waits.answer(Answer::Life(life)));
    }
    if !to_seal.is_empty() {
        let wanted: Vec<_> = to_seal.iter().map(|(waits, seq_nr)| (&waits.id, *seq_nr)).collect();
        let answers = keys.to_seal(&wanted).await;
        to_seal.into_iter().zip(answers).for_each(|((waits, _), key)| waits.answer(Answer::Key(key)));
    }
    if !to_open.is_empty() {
        let wanted: Vec<_> = to_open.iter().map(|(waits, key)| (&waits.id, *key)).collect();
        let answers = keys.to_open(&wanted).await;
        to_open.into_iter().zip(answers).for_each(|((waits, _), key)| waits.answer(Answer::Key(key)));
    }
}

impl Waiting {
    fn answer(self, answer: Answer) {
        // Who is gone needs none.
        drop(self.answer.send(answer));
    }
}
