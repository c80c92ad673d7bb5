use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};

use quick_cache::sync::Cache;

use super::scope::Scope;

/// What was read of the ids that were used last.
///
/// What is read while somebody has an id's keys forgotten is not kept: it may be older than what made them say so.
///
/// ```text
///  reader    note ─── read the record ─────────────── keep: the count is another, so it is not kept
///  an owner                             forget: count + 1
/// ```
pub(super) struct KeyCache<V> {
    /// Keys are wiped when they leave it and nobody seals with them any more.
    kept: Cache<Scope, V>,
    hasher: RandomState,
    /// How often something of this part was forgotten.
    forgotten: [Mutex<u64>; PARTS],
}

/// Taken before what is to be kept is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Note(u64);

impl<V: Clone> KeyCache<V> {
    pub(super) fn new(kept: usize) -> Self {
        let forgotten = std::array::from_fn(|_| Mutex::default());
        Self { kept: Cache::new(kept), hasher: RandomState::new(), forgotten }
    }

    pub(super) fn get(&self, scope: &str) -> Option<V> {
        self.kept.get(scope)
    }

    pub(super) fn note(&self, scope: &str) -> Note {
        Note(*self.part(scope).lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps what was read after a note was taken, unless what is kept already is newer.
    pub(super) fn keep(&self, scope: Scope, note: Note, value: V, is_newer: impl FnOnce(&V) -> bool) {
        let forgotten = self.part(scope.as_str()).lock().unwrap_or_else(PoisonError::into_inner);
        if *forgotten == note.0 && !self.kept.get(scope.as_str()).is_some_and(|kept| is_newer(&kept)) {
            self.kept.insert(scope, value);
        }
    }

    pub(super) fn forget(&self, scope: &str) {
        let mut forgotten = self.part(scope).lock().unwrap_or_else(PoisonError::into_inner);
        *forgotten += 1;
        self.kept.remove(scope);
    }

    pub(super) fn forget_all(&self) {
        for part in &self.forgotten {
            *part.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        }
        // Who noted after that has read after that, and loses no more than a reading.
        self.kept.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    fn part(&self, scope: &str) -> &Mutex<u64> {
        &self.forgotten[self.hasher.hash_one(scope) as usize % PARTS]
    }
}

impl<V> fmt::Debug for KeyCache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyCache").finish_non_exhaustive()
    }
}

/// Two ids of one part disturb one another a little: what is not kept is read again.
const PARTS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_before_it_was_forgotten_is_not_kept() {
        let cache = KeyCache::new(8);
        let (before, scope) = (cache.note("account|a"), Scope::from("account|a"));
        cache.forget("account|a");
        cache.keep(scope.clone(), before, "old", |_| false);
        assert_eq!(cache.get("account|a"), None);
        let after = cache.note("account|a");
        cache.keep(scope.clone(), after, "new", |_| false);
        assert_eq!(cache.get("account|a"), Some("new"));
        cache.keep(scope, after, "late", |kept| *kept == "new");
        assert_eq!(cache.get("account|a"), Some("new"));
        cache.forget("account|a");
        assert_eq!(cache.get("account|a"), None);
        let (before, scope) = (cache.note("account|a"), Scope::from("account|a"));
        cache.forget_all();
        cache.keep(scope, before, "old", |_| true);
        assert_eq!(cache.get("account|a"), None);
    }
}
