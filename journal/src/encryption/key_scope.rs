use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::persistence_id::check_text;
use crate::{InvalidName, PersistenceId};

/// Several persistence ids whose data keys are wrapped by a key of their own, such as those of a tenant or of a data subject: destroying that
/// one key erases all of them.
///
/// 1 to [`KeyScope::MAX_BYTES`] bytes of UTF-8 without control characters and without `|`. The name can be read in the store.
///
/// ```
/// use annals_journal::encryption::KeyScope;
///
/// assert_eq!(KeyScope::new("tenant-7")?.as_str(), "tenant-7");
/// assert!(KeyScope::new("account|alice").is_err());
/// # Ok::<(), annals_journal::InvalidName>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyScope(Arc<str>);

impl KeyScope {
    /// The longest name, in bytes.
    pub const MAX_BYTES: usize = 128;

    /// Checks a name.
    ///
    /// # Errors
    /// [`InvalidName`] says which rule it breaks.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        check_text("scope", name, Self::MAX_BYTES)?;
        // Records of persistence ids' keys lie beside those of scopes.
        if name.contains('|') {
            return Err(InvalidName::new("scope", name, "must not have '|'"));
        }
        Ok(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyScope {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, InvalidName> {
        Self::new(name)
    }
}

impl fmt::Display for KeyScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// To which scope an id belongs, asked when its first data key is made; after that the record of its key says it.
#[derive(Clone)]
pub struct ScopeOf(Arc<Function>);

type Function = dyn Fn(&PersistenceId) -> Option<KeyScope> + Send + Sync;

impl ScopeOf {
    /// Asks a function. `None`: the id's key is wrapped by the master key, and erased alone.
    pub fn new(of: impl Fn(&PersistenceId) -> Option<KeyScope> + Send + Sync + 'static) -> Self {
        Self(Arc::new(of))
    }

    /// The scope of an id.
    pub fn of(&self, id: &PersistenceId) -> Option<KeyScope> {
        (self.0)(id)
    }
}

impl PartialEq for ScopeOf {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ScopeOf {}

impl fmt::Debug for ScopeOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScopeOf(..)")
    }
}
