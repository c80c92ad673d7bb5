//! Rekeying: a data key that somebody else may have is replaced, and what it sealed is sealed again.
//!
//! ```text
//!  record: a fresh generation ─▶ the id is claimed ─▶ events and snapshots sealed again ─▶ record: older generations leave it
//!  who reads it seals with it     who read it before     each in its place; what follows       what is put back from
//!                                 is superseded          it need not change                    before opens no more
//! ```
//!
//! Every step can be done again: after a crash the same call goes on where it was. What it needs to know stands in the records of the keys.

use std::sync::Arc;

use super::key_records::{KeyRecord as _, ScopeKeys, scope_key};
use super::key_store::{ATTEMPTS, busy};
use super::resealing::{ResealError, ResealOptions, ResealProgress, ResealSummary, ResealedIds, Resealing};
use super::scope::Scope;
use super::scoped_keys::all_scopes;
use super::takeover::take_over;
use super::{DataKeys, KeyBytes, KeysError, SealedJournal, SealedStates};
use crate::{JournalError, KeyId, PersistenceId, RecordChange, Revision, SeqNr, Verdict};

/// Gives ids new data keys, and seals again what is under the old ones, while owners write.
///
/// ```
/// # use std::sync::Arc;
/// # use annals_journal::encryption::{
/// #     DataKeyOptions, DataKeys, KeyState, NoStates, Rekeyer, ResealOptions, ResealedIds, Ring, RingKeys, SealedJournal, SealedOptions,
/// # };
/// # use annals_journal::{KeyId, MemoryJournal, PersistenceId, SeqNr};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let memory = Arc::new(MemoryJournal::new());
/// # let keys = DataKeys::open(memory.clone(), Arc::new(RingKeys::from(Ring::generate()?)), DataKeyOptions::default()).await?;
/// # let alice = PersistenceId::new("account", "alice")?;
/// # keys.to_seal(&[(&alice, SeqNr::FIRST)]).await.remove(0)?;
/// let journal = SealedJournal::open(memory.clone(), keys.clone(), SealedOptions::default()).await?;
/// let rekeyer = Rekeyer::new(journal, Arc::new(NoStates));
/// let done = rekeyer.rekey("2026-11-leak", &ResealedIds::All, &ResealOptions::default(), |_| ()).await?;
/// assert_eq!((done.total.changed, done.total.failed), (1, 0));
/// let KeyState::Live { generations, .. } = keys.state(&[&alice]).await.remove(0)? else { panic!() };
/// assert_eq!(generations, [(KeyId(2), SeqNr::FIRST)]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Rekeyer {
    journal: SealedJournal,
    states: Arc<dyn SealedStates>,
}

/// What is to be done next to an id's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing: it has no key that is not erased, or older ones are gone.
    Nothing,
    /// A fresh generation.
    Make,
    /// What is under generations before this one is to be sealed again, and these are to leave the record.
    SealAgain(KeyId),
}

impl Step {
    /// What a record says, whoever did the steps before.
    pub(super) fn of(record: &ScopeKeys, incident: &str) -> Self {
        let Some(oldest) = record.live().next() else { return Self::Nothing };
        match record.live().find(|generation| generation.rekeyed_for == incident) {
            None => Self::Make,
            Some(made) if made.number == oldest.number => Self::Nothing,
            Some(made) => Self::SealAgain(KeyId(made.number)),
        }
    }
}

impl Rekeyer {
    /// Rekeys with the keys of this journal. `states` are all that is sealed under them beside its events.
    pub fn new(journal: SealedJournal, states: Arc<dyn SealedStates>) -> Self {
        Self { journal, states }
    }

    /// Gives each of these ids that has a data key a fresh one, seals its events and snapshots again, and destroys the old key.
    ///
    /// `incident` names why, and is kept with the fresh keys: ids that were rekeyed for it are left alone. So a call that was killed is
    /// begun again with the same name and goes on; with another name every key becomes another again. At most
    /// [`Rekeyer::MAX_INCIDENT_BYTES`] bytes.
    ///
    /// An owner that runs, in whichever process, is superseded at its next append, reads the key again and goes on. Readers are not
    /// disturbed.
    ///
    /// # Errors
    /// [`KeysError::ForReading`]; and what the records and the journal answer when ids are listed. What goes wrong with one id is in the
    /// summary.
    ///
    /// # Cancel safety
    /// May be dropped at any moment, as it may be killed.
    pub async fn rekey(
        &self,
        incident: &str,
        ids: &ResealedIds,
        options: &ResealOptions,
        progress: impl Fn(ResealProgress) + Send + Sync,
    ) -> Result<ResealSummary, KeysError> {
        if incident.is_empty() || incident.len() > Self::MAX_INCIDENT_BYTES {
            let reason = format!("it must have 1 to {} bytes", Self::MAX_INCIDENT_BYTES);
            return Err(JournalError::rejected("name of an incident", reason).into());
        }
        let keys = self.journal.keys();
        if keys.shared.active().is_none() {
            return Err(KeysError::ForReading);
        }
        let run = Resealing::new(self.journal.clone(), self.states.clone(), options);
        let incident: Arc<str> = incident.into();
        // Whoever had a key of an id may have had that of its scope.
        let scopes = match ids {
            ResealedIds::Scope(scope) => vec![scope.clone()],
            ResealedIds::All => all_scopes(&*keys.records()).await?,
            ResealedIds::Prefix(_) | ResealedIds::These(_) => Vec::new(),
        };
        for scope in &scopes {
            keys.rekey_scope(scope.as_str(), &incident).await?;
        }
        let name = incident.clone();
        let work = move |run: Arc<Resealing>, id| {
            let incident = name.clone();
            async move { rekey(&run, &id, &incident).await }
        };
        let done = run.each(ids.with_keys(keys.records()), options, work, progress).await?;
        for scope in &scopes {
            keys.drop_scope_before(scope.as_str(), &incident).await?;
        }
        Ok(done)
    }

    /// How long the name of an incident may be.
    pub const MAX_INCIDENT_BYTES: usize = 100;
}

/// Brings an id's key to where it should be; answers whether anything was to be done.
async fn rekey(run: &Resealing, id: &PersistenceId, incident: &str) -> Result<bool, ResealError> {
    let keys = run.journal.keys();
    let mut changed = false;
    for _ in 0..ATTEMPTS {
        let Some((record, revision)) = keys.stored(id).await? else { return Ok(changed) };
        match Step::of(&record, incident) {
            Step::Nothing => return Ok(changed),
            Step::Make => keys.make_for(id, record, revision, incident).await?,
            Step::SealAgain(target) => {
                seal_again(run, id, target).await?;
                keys.drop_generations(id.as_str(), target).await?;
                changed = true;
            }
        }
    }
    Err(busy(&scope_key(id.as_str())?).into())
}

/// Has everything of an id sealed under this generation or a later one, for good.
async fn seal_again(run: &Resealing, id: &PersistenceId, target: KeyId) -> Result<(), ResealError> {
    // From here on owners seal with the new key: each reads its record when it has claimed the id, or was superseded.
    let journal = run.journal.inner();
    let head = take_over(&**journal, id).await?;
    run.journal.keys().forget(id);
    let claimed = head.map_or(SeqNr::ZERO, |head| head.seq_nr);
    run.events(id, (SeqNr::FIRST, claimed), target).await?;
    run.states(id, target, false).await?;
    // Nothing to do there, unless somebody sent an append together with its claim, sealed with what it had read before.
    let now = journal.head(id).await?.seq_nr;
    run.events(id, (claimed.next(), now), target).await
}

impl DataKeys {
    /// An id's record.
    pub(super) async fn stored(
        &self,
        id: &PersistenceId,
    ) -> Result<Option<(ScopeKeys, Revision)>, JournalError> {
        self.stored_as(id.as_str()).await
    }

    /// The record of an id or of a scope.
    pub(super) async fn stored_as(&self, name: &str) -> Result<Option<(ScopeKeys, Revision)>, JournalError> {
        let key = scope_key(name)?;
        let record = self.records().get(&key).await?;
        record.map(|record| ScopeKeys::read(&key, &record)).transpose()
    }

    /// Stores a fresh generation, if nobody was faster. It seals all that those before it did, so it begins where they began.
    async fn make_for(
        &self,
        id: &PersistenceId,
        mut record: ScopeKeys,
        revision: Revision,
        incident: &str,
    ) -> Result<(), KeysError> {
        let wrapping = self.wrapping(id, &record.scope).await?;
        let number = record.next_number().ok_or_else(|| {
            JournalError::rejected(id, "its data key has the last generation there is".to_owned())
        })?;
        let from = record.live().map(|generation| generation.from_seq).min().unwrap_or_default();
        let from = SeqNr::new(from).unwrap_or(SeqNr::FIRST).max(SeqNr::FIRST);
        let (scope, key) = (Scope::from(id), KeyBytes::random()?);
        let mut made = self.wrap_under(&wrapping, &scope, (number, from), &key).await?;
        incident.clone_into(&mut made.rekeyed_for);
        record.generations.push(made);
        let change = RecordChange::set(scope_key(id.as_str())?, Some(revision), record.to_value());
        self.store_wrapped(&wrapping, change).await?;
        self.forget(id);
        Ok(())
    }

    /// Destroys the generations of an id or a scope before this one, when nothing is sealed under them any more. What was erased is the
    /// eraser's.
    pub(super) async fn drop_generations(&self, name: &str, target: KeyId) -> Result<(), KeysError> {
        for _ in 0..ATTEMPTS {
            let Some((mut record, revision)) = self.stored_as(name).await? else { return Ok(()) };
            let (count, erased_to) = (record.generations.len(), record.erased_to);
            let stays = |number: u32| number <= erased_to || number >= target.0;
            record.generations.retain(|generation| stays(generation.number));
            // Erased meanwhile, or somebody else was faster.
            if record.generations.len() == count || record.live().next().is_none() {
                return Ok(());
            }
            let change = RecordChange::set(scope_key(name)?, Some(revision), record.to_value());
            if let Verdict::Set(_) = self.shared.store.change(change).await? {
                self.shared.cache.forget(name);
                return Ok(());
            }
        }
        Err(busy(&scope_key(name)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encryption::key_records::Generation;

    /// A record whose generations were made for these incidents.
    fn record(erased_to: u32, generations: &[(u32, &str)]) -> ScopeKeys {
        let mut record = ScopeKeys::new();
        record.erased_to = erased_to;
        record.generations = generations
            .iter()
            .map(|(number, incident)| {
                let number = *number;
                let rekeyed_for = (*incident).to_owned();
                Generation {
                    number,
                    from_seq: 1,
                    master: 1,
                    wrapped: Default::default(),
                    rekeyed_for,
                    scope_key: 0,
                }
            })
            .collect();
        record
    }

    #[test]
    fn what_is_next_is_said_by_the_record_alone() {
        for (erased_to, generations, next) in [
            (0, &[][..], Step::Nothing),
            (0, &[(1, "")], Step::Make),
            (0, &[(1, ""), (2, "leak")], Step::SealAgain(KeyId(2))),
            // Done.
            (0, &[(2, "leak")], Step::Nothing),
            // Another one, before and while it ran.
            (0, &[(2, "other")], Step::Make),
            (0, &[(1, ""), (2, "other")], Step::Make),
            (0, &[(1, ""), (2, "leak"), (3, "other")], Step::SealAgain(KeyId(2))),
            (0, &[(2, "leak"), (3, "other")], Step::Nothing),
            // A key that was used up afterwards has a successor.
            (0, &[(2, "leak"), (3, "")], Step::Nothing),
            (0, &[(1, ""), (2, "leak"), (3, "")], Step::SealAgain(KeyId(2))),
            // What was erased is no business of a rekeying.
            (2, &[(1, ""), (2, "")], Step::Nothing),
            (2, &[(2, ""), (3, "")], Step::Make),
            (2, &[(2, ""), (3, "leak")], Step::Nothing),
        ] {
            assert_eq!(
                Step::of(&record(erased_to, generations), "leak"),
                next,
                "{erased_to} {generations:?}"
            );
        }
    }
}
