//! Encrypting what is there in the clear.
//!
//! ```text
//!  record: a key, from the next ─▶ the id is claimed, its head ─▶ each event sealed in its ─▶ record: the key
//!  number on                       gets a mark                    place, and each snapshot     begins at 1
//!  what is written is sealed       plain up to here                                            nothing plain is read any more
//! ```
//!
//! Every step can be done again: after a crash the same call goes on where it was. What it needs to know stands in the records of the keys,
//! and in the events.

use std::sync::Arc;

use super::key_records::{Generation, KeyRecord as _, ScopeKeys, scope_key};
use super::key_store::{ATTEMPTS, busy};
use super::resealing::{ResealError, ResealOptions, ResealProgress, ResealSummary, ResealedIds, Resealing};
use super::scope::Scope;
use super::scoped_keys::ids_in;
use super::takeover::{take_over, taken_again_and_again};
use super::{DataKeys, KeysError, SealedJournal, SealedStates};
use crate::{
    Head, JournalError, JournalExt as _, KeyId, MarkChange, PersistenceId, RecordChange, SeqNr, Write,
};

/// Seals the events and snapshots that a journal has in the clear, while owners write.
///
/// Every process that writes must have the keys: one without them would go on in the clear, and what it appends is corrupt. A node without keys
/// does not start any more once an `Encrypter`'s [`DataKeys`] were opened; end those that run.
///
/// ```
/// # use std::sync::Arc;
/// # use annals_journal::encryption::{
/// #     DataKeyOptions, DataKeys, Encrypter, NoStates, ResealOptions, ResealedIds, Ring, RingKeys, SealedJournal, SealedOptions,
/// # };
/// # use annals_journal::MemoryJournal;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let memory = Arc::new(MemoryJournal::new());
/// let masters = Arc::new(RingKeys::from(Ring::generate()?));
/// let keys = DataKeys::open(memory.clone(), masters, DataKeyOptions::default()).await?;
/// let journal = SealedJournal::open(memory.clone(), keys, SealedOptions::default()).await?;
/// let encrypter = Encrypter::new(journal, Arc::new(NoStates));
/// let done = encrypter.encrypt(&ResealedIds::All, &ResealOptions::default(), |_| ()).await?;
/// assert_eq!(done.total.failed, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Encrypter {
    journal: SealedJournal,
    states: Arc<dyn SealedStates>,
}

impl Encrypter {
    /// Encrypts with the keys of this journal, which must not refuse what is in the clear. `states` are all that is kept beside its events.
    pub fn new(journal: SealedJournal, states: Arc<dyn SealedStates>) -> Self {
        Self { journal, states }
    }

    /// Seals what these ids have in the clear. From an id's end on nothing of it is read in the clear any more.
    ///
    /// An owner that runs, in whichever process, is superseded at its next append, and goes on. Readers are not disturbed. It has no state of
    /// its own: one that was killed at any moment is begun again, and one that has nothing to do does nothing.
    ///
    /// # Errors
    /// [`KeysError::ForReading`]; and what the records and the journal answer when ids are listed. What goes wrong with one id is in the
    /// summary.
    ///
    /// # Cancel safety
    /// May be dropped at any moment, as it may be killed.
    pub async fn encrypt(
        &self,
        ids: &ResealedIds,
        options: &ResealOptions,
        progress: impl Fn(ResealProgress) + Send + Sync,
    ) -> Result<ResealSummary, KeysError> {
        if self.journal.keys().shared.active().is_none() {
            return Err(KeysError::ForReading);
        }
        let ids = match ids {
            // What has no key yet belongs to none.
            ResealedIds::Scope(scope) => {
                &ResealedIds::These(ids_in(&*self.journal.keys().records(), Some(scope.as_str())).await?)
            }
            other => other,
        };
        let run = Resealing::new(self.journal.clone(), self.states.clone(), options);
        let work = |run: Arc<Resealing>, id| async move { encrypt(&run, &id).await };
        run.each(ids.in_journal(self.journal.inner().clone()), options, work, progress).await
    }
}

/// Up to where an id may have something in the clear; `None`: it has nothing.
fn plain_to(record: Option<&ScopeKeys>, head: &Head) -> Option<SeqNr> {
    if head.seq_nr == SeqNr::ZERO {
        return None;
    }
    let Some(record) = record else { return Some(head.seq_nr) };
    // What an earlier life had was sealed, and this one too.
    if record.erased_to > 0 {
        return None;
    }
    let first = record.live().map(|generation| generation.from_seq).min().and_then(SeqNr::new)?;
    Some(first.previous().min(head.seq_nr)).filter(|last| *last > SeqNr::ZERO)
}

/// Brings an id to where nothing of it is in the clear; answers whether anything was to be done.
async fn encrypt(run: &Resealing, id: &PersistenceId) -> Result<bool, ResealError> {
    let (keys, journal) = (run.journal.keys(), run.journal.inner());
    let head = journal.head(id).await?;
    let record = keys.stored(id).await?.map(|(record, _)| record);
    if plain_to(record.as_ref(), &head).is_none() {
        return Ok(false);
    }
    // The first number that is sealed is the next, or one that somebody was faster with.
    for key in keys.to_seal(&[(id, head.seq_nr.next())]).await {
        key?;
    }
    let head = mark(run, id).await?;
    // Owners that had it in memory that there is no key.
    keys.forget(id);
    let record = keys.stored(id).await?.map(|(record, _)| record);
    let Some(last) = plain_to(record.as_ref(), &head) else { return Ok(false) };
    run.plain_events(id, last).await?;
    run.states(id, KeyId(0), true).await?;
    run.journal.vault.record_plain_deletion(id, last).await?;
    keys.begin_at_first(id).await?;
    Ok(true)
}

/// Takes an id over, and has its head authenticated as the last one in the clear, if nothing was sealed behind it.
async fn mark(run: &Resealing, id: &PersistenceId) -> Result<Head, ResealError> {
    let journal = run.journal.inner();
    for _ in 0..ATTEMPTS {
        let Some(head) = take_over(&**journal, id).await? else { return Ok(Head::EMPTY) };
        if head.mark.is_some() {
            return Ok(head);
        }
        let change = MarkChange { from: None, to: run.journal.vault.plain_mark(id, head.seq_nr) };
        // Only while nobody has claimed it after us: the head is still this one.
        let mark = Write::Mark { persistence_id: id.clone(), token: head.token, change };
        match journal.write_one(mark).await {
            Ok(head) => return Ok(head),
            Err(
                JournalError::Superseded { .. } | JournalError::Fenced { .. } | JournalError::Conflict { .. },
            ) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(taken_again_and_again(id).into())
}

impl DataKeys {
    /// Has the record say, authenticated with the key, that everything of the id is sealed from the first event on.
    async fn begin_at_first(&self, id: &PersistenceId) -> Result<(), KeysError> {
        for _ in 0..ATTEMPTS {
            let Some((mut record, revision)) = self.stored(id).await? else { return Ok(()) };
            let (erased_to, scope) = (record.erased_to, Scope::from(id));
            let of = record.scope.clone();
            let wrapping = self.wrapping(id, &of).await?;
            let mut changed = false;
            for generation in &mut record.generations {
                if generation.number <= erased_to || generation.from_seq <= SeqNr::FIRST.get() {
                    continue;
                }
                // Erased with its scope: that is done to its record, too.
                let Some(key) = self.open_generation(&scope, &of, generation).await? else { return Ok(()) };
                let first = (generation.number, SeqNr::FIRST);
                let wrapped = self.wrap_under(&wrapping, &scope, first, &key).await?;
                let rekeyed_for = std::mem::take(&mut generation.rekeyed_for);
                *generation = Generation { rekeyed_for, ..wrapped };
                changed = true;
            }
            if !changed {
                return Ok(());
            }
            let change = RecordChange::set(scope_key(id.as_str())?, Some(revision), record.to_value());
            if self.store_wrapped(&wrapping, change).await? {
                self.forget(id);
                return Ok(());
            }
        }
        Err(busy(&scope_key(id.as_str())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Epoch, Token};

    fn record(erased_to: u32, firsts: &[u64]) -> ScopeKeys {
        let mut record = ScopeKeys::new();
        record.erased_to = erased_to;
        for (number, from_seq) in (1..).zip(firsts) {
            let (from_seq, wrapped, rekeyed_for) = (*from_seq, Default::default(), String::new());
            record.generations.push(Generation {
                number,
                from_seq,
                master: 1,
                wrapped,
                rekeyed_for,
                scope_key: 0,
            });
        }
        record
    }

    #[test]
    fn how_far_an_id_may_be_in_the_clear_is_said_by_record_and_head() {
        let nr = |number| SeqNr::new(number).unwrap();
        for (record, head, plain) in [
            (None, 0, None),
            (None, 7, Some(7)),
            // Sealed from the beginning, or to the end.
            (Some(record(0, &[1])), 7, None),
            (Some(record(0, &[1, 5])), 7, None),
            // A key that was made and not used yet.
            (Some(record(0, &[8])), 7, Some(7)),
            (Some(record(0, &[9])), 7, Some(7)),
            (Some(record(0, &[5])), 7, Some(4)),
            (Some(record(0, &[5, 6])), 7, Some(4)),
            // Lives that were erased had nothing in the clear.
            (Some(record(1, &[1])), 7, None),
            (Some(record(1, &[1, 5])), 7, None),
        ] {
            let head = Head { seq_nr: nr(head), token: Token::new(Epoch(1), 1), ..Head::EMPTY };
            assert_eq!(plain_to(record.as_ref(), &head), plain.map(nr), "{record:?} {head:?}");
        }
    }
}
