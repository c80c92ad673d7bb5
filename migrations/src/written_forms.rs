use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use annals_journal::{Manifest, Timestamp};

use crate::Form;

/// In which form each manifest is written now, shared by all who write and changed while they do.
///
/// Everything is written in today's form until something else is said.
pub struct WrittenForms {
    /// Marks of the manifests that `forms` has: who writes looks here first, without a lock.
    marks: [AtomicU64; MARKS],
    forms: RwLock<HashMap<Manifest, Permission>>,
    /// Until when that counts, in microseconds since 1970.
    until: AtomicU64,
}

/// How a manifest is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// As this build has it.
    Today,
    /// In an older form, by downcasters.
    As(Form),
    /// Not at all: someone who must read it could not. The sentence says who, and what to do.
    Refused(String),
}

/// How a manifest is written, and whether that needs an answer first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// In which form.
    pub written: Written,
    /// Others must be asked before it is written so: nobody has done it yet, or it is not known any more who reads what.
    pub ask: bool,
}

impl Permission {
    const TODAY: Self = Self { written: Written::Today, ask: false };
}

impl WrittenForms {
    /// Everything in today's form.
    pub fn new() -> Self {
        Self::default()
    }

    /// How what is `manifest` today is written at a moment.
    pub fn of(&self, manifest: &Manifest, now: Timestamp) -> Permission {
        let ended = now.as_micros() > self.until.load(Ordering::Acquire);
        let (place, mark) = mark(manifest);
        if !ended && self.marks[place].load(Ordering::Acquire) & mark == 0 {
            return Permission::TODAY;
        }
        let forms = self.forms.read().unwrap_or_else(PoisonError::into_inner);
        let mut permission = forms.get(manifest).cloned().unwrap_or(Permission::TODAY);
        permission.ask |= ended;
        permission
    }

    /// From now on.
    pub fn set(&self, manifest: Manifest, permission: Permission) {
        let mut forms = self.forms.write().unwrap_or_else(PoisonError::into_inner);
        if permission == Permission::TODAY {
            forms.remove(&manifest);
        } else {
            forms.insert(manifest, permission);
        }
        let mut marks = [0; MARKS];
        for manifest in forms.keys() {
            let (place, mark) = mark(manifest);
            marks[place] |= mark;
        }
        for (of, marks) in self.marks.iter().zip(marks) {
            of.store(marks, Ordering::Release);
        }
    }

    /// What is said counts until then; afterwards all must ask.
    pub fn valid_until(&self, until: Timestamp) {
        self.until.store(until.as_micros(), Ordering::Release);
    }
}

impl Default for WrittenForms {
    fn default() -> Self {
        Self { marks: Default::default(), forms: RwLock::default(), until: AtomicU64::new(u64::MAX) }
    }
}

impl fmt::Debug for WrittenForms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let forms = self.forms.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_map().entries(forms.iter()).finish()
    }
}

/// One of [`MARKS`] times 64 bits. Two manifests may share one; then the map is looked at for nothing.
fn mark(manifest: &Manifest) -> (usize, u64) {
    // FNV-1a.
    let hash = manifest.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let place = usize::try_from(hash >> 32).unwrap_or_default() % MARKS;
    (place, 1 << (hash % 64))
}

const MARKS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_written_as_it_is_today() {
        let (forms, moved) = (WrittenForms::new(), Manifest::new("account.moved").unwrap());
        let now = Timestamp::from_micros(1);
        let older = Permission { written: Written::As(Form::new(moved.clone(), 1)), ask: false };
        assert_eq!(forms.of(&moved, now), Permission::TODAY);
        forms.set(moved.clone(), older.clone());
        assert_eq!(forms.of(&moved, now), older);
        assert_eq!(forms.of(&Manifest::new("account.other").unwrap(), now), Permission::TODAY);
        forms.set(moved.clone(), Permission::TODAY);
        assert_eq!(forms.of(&moved, now), Permission::TODAY);
        let marked =
            |forms: &WrittenForms| forms.marks.iter().any(|marks| marks.load(Ordering::Relaxed) != 0);
        assert!(!marked(&forms), "nobody looks at an empty map");
        // Whatever share a mark: each is found.
        let names: Vec<_> = (0..500).map(|n| Manifest::new(&format!("account.e{n}")).unwrap()).collect();
        names.iter().for_each(|name| forms.set(name.clone(), older.clone()));
        assert!(names.iter().all(|name| forms.of(name, now) == older));
        names.iter().for_each(|name| forms.set(name.clone(), Permission::TODAY));
        assert!(!marked(&forms));
    }

    #[test]
    fn when_it_has_ended_everything_must_be_asked_for() {
        let (forms, moved) = (WrittenForms::new(), Manifest::new("account.moved").unwrap());
        forms.valid_until(Timestamp::from_micros(10));
        assert!(!forms.of(&moved, Timestamp::from_micros(10)).ask);
        assert!(forms.of(&moved, Timestamp::from_micros(11)).ask);
        forms.valid_until(Timestamp::from_micros(20));
        assert!(!forms.of(&moved, Timestamp::from_micros(11)).ask);
    }
}
