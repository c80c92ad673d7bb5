use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use futures::future::FutureExt as _;

use super::ids::{Id, Tail};
use super::lone::no_answer;
use super::record::{Link, Links};
use super::{Vault, events, unmarked};
use crate::encryption::DataKey;
use crate::encryption::life::Life;
use crate::{
    AtomicWrite, Envelope, Head, JournalError, Limits, Mark, MarkChange, NotStored, PersistenceId, SeqNr,
    Token, Write,
};

impl Vault {
    /// Seals any list and writes it.
    pub(super) async fn write_list(&self, writes: Vec<Write>) -> Vec<Result<Head, JournalError>> {
        let ids = self.ids.of(&writes);
        let mut order = Vec::with_capacity(ids.len());
        for (_, id) in &ids {
            order.push(id.order.lock().await);
        }
        let list = self.seal(writes, &ids).await;
        let List { sent, mut answers, places } = list;
        if sent.is_empty() {
            return answers.into_iter().flatten().collect();
        }
        let asked: Vec<_> = sent.iter().map(Asked::of).collect();
        let mut write = self.inner.write(sent);
        // Whoever builds on this may go once it has its place.
        let first = poll_fn(|context| Poll::Ready(write.poll_unpin(context))).await;
        drop(order);
        let answered = match first {
            Poll::Ready(answered) => answered,
            Poll::Pending => write.await,
        };
        let lives = self.lives_of_claimed(&asked, &answered).await;
        let mut answered = answered.into_iter();
        for ((place, asked), life) in places.into_iter().zip(asked).zip(lives) {
            let answer = answered.next().unwrap_or_else(|| Err(no_answer()));
            answers[place] = Some(self.answered(find(&ids, &asked.id), asked, answer, life).await);
        }
        answers.into_iter().flatten().collect()
    }

    /// Seals a list's appends, in its order.
    async fn seal(&self, writes: Vec<Write>, ids: &[(PersistenceId, Arc<Id>)]) -> List {
        let mut list = List {
            sent: Vec::with_capacity(writes.len()),
            answers: Vec::with_capacity(writes.len()),
            places: Vec::with_capacity(writes.len()),
        };
        let (mut not_stored, limits, mut context) =
            (NotStored::new(), self.limits(), Vec::with_capacity(256));
        if ids.len() > 1 {
            self.fetch_keys(&writes).await;
        }
        for write in writes {
            let (id, token) = (write.persistence_id().clone(), write.token());
            let sealed = match (not_stored.earlier(&write), write) {
                (Some(error), _) => Err(error.clone()),
                (None, Write::Append(append)) => {
                    self.append(append, find(ids, &id), limits, &mut context).await.map(Write::Append)
                }
                (None, Write::Mark { .. }) => Err(JournalError::rejected(&id, OWN_MARK)),
                (None, write) => Ok(write),
            };
            match sealed {
                Ok(write) => {
                    list.places.push(list.answers.len());
                    list.answers.push(None);
                    list.sent.push(write);
                }
                Err(error) => {
                    not_stored.remember(&id, token, &error);
                    list.answers.push(Some(Err(error)));
                }
            }
        }
        list
    }

    /// Has the keys that a list needs in memory, read and made together. What goes wrong is said where a key is needed.
    async fn fetch_keys(&self, writes: &[Write]) {
        let mut wanted: Vec<_> = writes
            .iter()
            .filter_map(|write| match write {
                Write::Append(append) => Some((&append.persistence_id, append.expected.next())),
                _ => None,
            })
            .filter(|(id, first)| self.keys.to_seal_cached(id, *first).is_none())
            .collect();
        wanted.sort_unstable();
        wanted.dedup_by_key(|(id, _)| *id);
        if !wanted.is_empty() {
            drop(self.keys.to_seal(&wanted).await);
        }
    }

    /// Seals an append upon what the id ends with.
    async fn append(
        &self,
        mut append: AtomicWrite,
        id: &Id,
        limits: Limits,
        context: &mut Vec<u8>,
    ) -> Result<AtomicWrite, JournalError> {
        append.check(limits)?;
        if let Some(event) = append.events.iter().find(|event| event.key_id.is_some()) {
            let reason = format!("event {:?} is sealed already", event.seq_nr);
            return Err(JournalError::rejected(&append.persistence_id, reason));
        }
        let known = id.known().tail;
        let tail = match known.filter(|tail| tail.seq_nr == append.expected) {
            Some(tail) => Some(tail),
            None => self.tail(&append.persistence_id, append.token).await?,
        };
        let Some(tail) = tail.filter(|tail| tail.seq_nr == append.expected) else {
            return Ok(refused_for_certain(append));
        };
        let first = append.expected.next();
        let mut key = self.key_to_seal(&append.persistence_id, first).await?;
        if key.reserve(append.events.len()).is_err() {
            key = self.key_to_seal(&append.persistence_id, first).await?;
            key.reserve(append.events.len())
                .map_err(|used_up| JournalError::key(&append.persistence_id, used_up.to_string()))?;
        }
        self.seal_upon(tail, &key, &mut append, id, context);
        Ok(append)
    }

    /// Seals an event, with a fresh key where this one is used up.
    pub(super) async fn seal_event(
        &self,
        key: &mut Arc<DataKey>,
        before: &Link,
        out: Option<Link>,
        event: &Envelope,
        context: &mut Vec<u8>,
    ) -> Result<(Bytes, Links), JournalError> {
        if let Ok(sealed) = events::seal(&self.chain, key, before, out, event, context) {
            return Ok(sealed);
        }
        *key = self.key_to_seal(&event.persistence_id, event.seq_nr).await?;
        events::seal(&self.chain, key, before, out, event, context)
            .map_err(|used_up| JournalError::key(&event.persistence_id, used_up.to_string()))
    }

    /// What an id ends with in the store.
    async fn tail(&self, id: &PersistenceId, token: Token) -> Result<Option<Tail>, JournalError> {
        let stored = self.stored(id).await?;
        let link = stored.newest.unwrap_or_else(|| self.chain.begins(id, stored.head.seq_nr));
        Ok(Some(Tail { seq_nr: stored.head.seq_nr, token, link, mark: stored.head.mark }))
    }

    /// What the store says after each claim about the id's keys: whoever claims has lost them meanwhile, or reads them next. An id without
    /// events is asked about when its first is sealed.
    async fn lives_of_claimed(
        &self,
        asked: &[Asked],
        answered: &[Result<Head, JournalError>],
    ) -> Vec<Option<Result<Life, JournalError>>> {
        let claimed = |(at, asked): (usize, &Asked)| {
            let head = answered.get(at)?.as_ref().ok()?;
            (asked.takes_over && head.seq_nr > SeqNr::ZERO).then_some(at)
        };
        let claimed: Vec<usize> = asked.iter().enumerate().filter_map(claimed).collect();
        let mut lives: Vec<_> = asked.iter().map(|_| None).collect();
        match claimed[..] {
            [] => {}
            [at] => lives[at] = Some(self.gather.life(&self.keys, &asked[at].id).await),
            _ => {
                let ids: Vec<_> = claimed.iter().map(|at| &asked[*at].id).collect();
                for (at, life) in claimed.iter().zip(self.keys.lives(&ids).await) {
                    lives[*at] = Some(life);
                }
            }
        }
        lives
    }

    /// What the store says about an entry, and what that means for what is known.
    async fn answered(
        &self,
        id: &Id,
        asked: Asked,
        answer: Result<Head, JournalError>,
        life: Option<Result<Life, JournalError>>,
    ) -> Result<Head, JournalError> {
        let mut head = match answer {
            Ok(head) => head,
            Err(error) => {
                self.doubt(id, &asked.id, asked.token);
                return Err(error);
            }
        };
        if asked.takes_over {
            match life {
                None => self.keys.forget(&asked.id),
                Some(Ok(Life::Behind(last))) => head.erased_to = last.min(head.seq_nr),
                Some(Ok(Life::Erased)) => {
                    return Err(JournalError::Erased { persistence_id: asked.id, seq_nr: Some(head.seq_nr) });
                }
                // The claim is stored.
                Some(Err(JournalError::Unavailable { reason, source })) => {
                    return Err(JournalError::Unknown { reason, source });
                }
                Some(Err(error)) => return Err(error),
            }
            let stored = self.checked(&asked.id, head).await?;
            let link = stored.newest.unwrap_or_else(|| self.chain.begins(&asked.id, head.seq_nr));
            id.known().take_over(Tail { seq_nr: head.seq_nr, token: asked.token, link, mark: head.mark });
        }
        Ok(unmarked(head))
    }
}

/// A list on its way.
struct List {
    sent: Vec<Write>,
    /// `None`: the inner journal answers.
    answers: Vec<Option<Result<Head, JournalError>>>,
    /// Whose answers those of `sent` are.
    places: Vec<usize>,
}

/// What is remembered of an entry that was sent.
struct Asked {
    id: PersistenceId,
    token: Token,
    takes_over: bool,
}

impl Asked {
    fn of(write: &Write) -> Self {
        let takes_over = matches!(write, Write::Claim { .. });
        Self { id: write.persistence_id().clone(), token: write.token(), takes_over }
    }
}

fn find<'a>(ids: &'a [(PersistenceId, Arc<Id>)], id: &PersistenceId) -> &'a Id {
    let at = ids.binary_search_by(|(known, _)| known.cmp(id)).unwrap_or_default();
    // All ids of the list are there.
    &ids[at].1
}

/// An append that does not build on the head. The store says what is wrong, by its own rules, in the list's order; nothing of it can
/// be stored: no id has a mark of these bytes, and there are no payloads in it.
fn refused_for_certain(append: AtomicWrite) -> AtomicWrite {
    let none = Mark::from_bytes(rand::random());
    let events = append.events.into_iter().map(|event| Envelope { payload: Default::default(), ..event });
    let events = events.collect();
    AtomicWrite { events, mark: Some(MarkChange { from: Some(none), to: none }), ..append }
}

const OWN_MARK: &str = "the journal keeps a mark of its own beside this id";
