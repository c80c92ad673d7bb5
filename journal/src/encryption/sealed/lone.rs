use std::future::poll_fn;
use std::task::Poll;

use super::events::CONTEXT_BYTES;
use super::ids::{Id, Tail};
use super::record::Links;
use super::{Vault, events};
use crate::encryption::DataKey;
use crate::{AtomicWrite, Head, JournalError, MarkChange, PersistenceId, Token, Write};

impl Vault {
    /// Seals a list and writes it.
    ///
    /// Nearly every list is one append by an owner that has appended before: what it builds on and its key are in memory, and nothing has
    /// to be waited for before it is on its way.
    pub(super) async fn write(&self, mut writes: Vec<Write>) -> Vec<Result<Head, JournalError>> {
        if let [Write::Append(append)] = &mut writes[..] {
            let id = self.ids.id(&append.persistence_id);
            // Nobody is passed: as long as somebody waits it is not free.
            if let Ok(order) = id.order.try_lock()
                && self.seal_at_once(&id, append)
            {
                let (persistence_id, token) = (append.persistence_id.clone(), append.token);
                let mut write = self.inner.write(writes);
                // Whoever builds on this may go once it has its place.
                let first = poll_fn(|context| Poll::Ready(write.as_mut().poll(context))).await;
                drop(order);
                let mut answers = match first {
                    Poll::Ready(answers) => answers,
                    Poll::Pending => write.await,
                };
                answers.truncate(1);
                for answer in &mut answers {
                    match answer {
                        Ok(head) => head.mark = None,
                        Err(_) => self.doubt(&id, &persistence_id, token),
                    }
                }
                if answers.is_empty() {
                    self.doubt(&id, &persistence_id, token);
                    answers.push(Err(no_answer()));
                }
                return answers;
            }
        }
        // Apart, so that the future of most is small.
        Box::pin(self.write_list(writes)).await
    }

    /// Seals an append upon what is known; `false`, and it is as it was, where something has to be waited for or is to be refused.
    fn seal_at_once(&self, id: &Id, append: &mut AtomicWrite) -> bool {
        if append.check(self.limits()).is_err() || append.events.iter().any(|event| event.key_id.is_some()) {
            return false;
        }
        let (expected, first) = (append.expected, append.expected.next());
        let (tail, held) = {
            let known = id.known();
            let Some(tail) = known.tail.filter(|tail| tail.seq_nr == expected) else { return false };
            (tail, known.key.as_ref().and_then(|held| self.keys.held(held, first)))
        };
        let key = match held {
            Some(key) => key,
            None => match self.keys.to_seal_held(&append.persistence_id, first) {
                Some((key, held)) => {
                    id.known().key = Some(held);
                    key
                }
                None => return false,
            },
        };
        if key.reserve(append.events.len()).is_err() {
            return false;
        }
        self.seal_upon(tail, &key, append, id, &mut Vec::with_capacity(CONTEXT_BYTES));
        true
    }

    /// Seals an append that the key has counted upon what the id ends with, and notes where it ends then.
    pub(super) fn seal_upon(
        &self,
        tail: Tail,
        key: &DataKey,
        append: &mut AtomicWrite,
        id: &Id,
        context: &mut Vec<u8>,
    ) {
        let mut links = Links::only(tail.link);
        for event in &mut append.events {
            let sealed = events::seal_reserved(&self.chain, key, links.out(), None, event, context);
            (event.payload, links) = sealed;
            event.key_id = Some(key.id());
        }
        let (seq_nr, token, link) = (append.last(), append.token, links.link);
        let to = self.chain.mark(&append.persistence_id, seq_nr, &link);
        append.mark = Some(MarkChange { from: tail.mark, to });
        id.known().advance(Tail { seq_nr, token, link, mark: Some(to) });
    }

    /// What a writer has under way is not stored, or it is not known.
    pub(super) fn doubt(&self, id: &Id, persistence_id: &PersistenceId, token: Token) {
        id.known().doubt(token);
        // Whoever took the id over may have given it another key.
        self.keys.forget(persistence_id);
    }
}

pub(super) fn no_answer() -> JournalError {
    JournalError::Unknown { reason: "the journal gave no answer".into(), source: None }
}
