use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
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
    /// How often something of this part became another or was forgotten.
    changes: [AtomicU64; PARTS],
}

/// What was looked up after it was taken is kept still, unless it had to give way to others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lookup {
    part: usize,
    changes: u64,
}

/// Taken before what is to be kept is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Note(u64);

impl<V: Clone> KeyCache<V> {
    pub(super) fn new(kept: usize) -> Self {
        let (forgotten, changes) =
            (std::array::from_fn(|_| Mutex::default()), [const { AtomicU64::new(0) }; PARTS]);
        Self { kept: Cache::new(kept), hasher: RandomState::new(), forgotten, changes }
    }

    /// Begins a lookup.
    pub(super) fn lookup(&self, scope: &str) -> Lookup {
        let part = self.part(scope);
        Lookup { part, changes: self.changes[part].load(Ordering::Acquire) }
    }

    /// Whether what was looked up then need not be looked up again. May be `false` for no reason.
    pub(super) fn is_current(&self, lookup: Lookup) -> bool {
        self.changes[lookup.part].load(Ordering::Acquire) == lookup.changes
    }

    pub(super) fn get(&self, scope: &str) -> Option<V> {
        self.kept.get(scope)
    }

    pub(super) fn note(&self, scope: &str) -> Note {
        Note(*self.forgotten[self.part(scope)].lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps what was read after a note was taken, unless what is kept already is newer.
    pub(super) fn keep(&self, scope: Scope, note: Note, value: V, is_newer: impl FnOnce(&V) -> bool) {
        let part = self.part(scope.as_str());
        let forgotten = self.forgotten[part].lock().unwrap_or_else(PoisonError::into_inner);
        if *forgotten == note.0 && !self.kept.get(scope.as_str()).is_some_and(|kept| is_newer(&kept)) {
            self.kept.insert(scope, value);
            self.changed(part);
        }
    }

    pub(super) fn forget(&self, scope: &str) {
        let part = self.part(scope);
        let mut forgotten = self.forgotten[part].lock().unwrap_or_else(PoisonError::into_inner);
        *forgotten += 1;
        self.kept.remove(scope);
        self.changed(part);
    }

    pub(super) fn forget_all(&self) {
        for part in &self.forgotten {
            *part.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        }
        // Who noted after that has read after that, and loses no more than a reading.
        self.kept.clear();
        (0..PARTS).for_each(|part| self.changed(part));
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// After the change: who looks up after that finds what is there now.
    fn changed(&self, part: usize) {
        self.changes[part].fetch_add(1, Ordering::Release);
    }

    fn part(&self, scope: &str) -> usize {
        self.hasher.hash_one(scope) as usize % PARTS
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

    #[test]
    fn a_lookup_ends_with_whatever_happens_to_its_scope() {
        let (cache, scope) = (KeyCache::new(8), Scope::from("account|a"));
        let nothing = cache.lookup("account|a");
        assert!(cache.is_current(nothing));
        cache.keep(scope.clone(), cache.note("account|a"), "first", |_| false);
        assert!(!cache.is_current(nothing));
        let first = cache.lookup("account|a");
        cache.keep(scope.clone(), cache.note("account|a"), "older", |_| true);
        assert!(cache.is_current(first), "nothing became another");
        cache.keep(scope.clone(), cache.note("account|a"), "second", |_| false);
        assert!(!cache.is_current(first));
        let second = cache.lookup("account|a");
        cache.forget("account|a");
        assert!(!cache.is_current(second));
        let gone = cache.lookup("account|a");
        cache.forget_all();
        assert!(!cache.is_current(gone));
    }
}
