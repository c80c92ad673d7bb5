use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::PersistenceId;

/// Whose data key it is: a persistence id's.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Scope(Arc<str>);

impl Scope {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&PersistenceId> for Scope {
    fn from(id: &PersistenceId) -> Self {
        Self(id.text())
    }
}

impl From<&str> for Scope {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl Borrow<str> for Scope {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
