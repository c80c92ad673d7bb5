use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use annals_journal::Manifest;

use crate::Form;

/// In which form each manifest is written now, shared by all who write and changed while they do.
///
/// Everything is written in today's form until something else is said.
#[derive(Default)]
pub struct WrittenForms {
    /// Whether `forms` has anything: who writes asks this first.
    any: AtomicBool,
    forms: RwLock<HashMap<Manifest, Written>>,
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

impl WrittenForms {
    /// Everything in today's form.
    pub fn new() -> Self {
        Self::default()
    }

    /// How what is `manifest` today is written now.
    pub fn of(&self, manifest: &Manifest) -> Written {
        if !self.any.load(Ordering::Acquire) {
            return Written::Today;
        }
        let forms = self.forms.read().unwrap_or_else(PoisonError::into_inner);
        forms.get(manifest).cloned().unwrap_or(Written::Today)
    }

    /// From now on.
    pub fn set(&self, manifest: Manifest, written: Written) {
        let mut forms = self.forms.write().unwrap_or_else(PoisonError::into_inner);
        match written {
            Written::Today => forms.remove(&manifest),
            other => forms.insert(manifest, other),
        };
        self.any.store(!forms.is_empty(), Ordering::Release);
    }
}

impl fmt::Debug for WrittenForms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let forms = self.forms.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_map().entries(forms.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_written_as_it_is_today() {
        let (forms, moved) = (WrittenForms::new(), Manifest::new("account.moved").unwrap());
        let older = Written::As(Form::new(moved.clone(), 1));
        assert_eq!(forms.of(&moved), Written::Today);
        forms.set(moved.clone(), older.clone());
        assert_eq!(forms.of(&moved), older);
        assert_eq!(forms.of(&Manifest::new("account.other").unwrap()), Written::Today);
        forms.set(moved.clone(), Written::Today);
        assert_eq!(forms.of(&moved), Written::Today);
        assert!(!forms.any.load(Ordering::Relaxed), "nobody looks at an empty map");
    }
}
