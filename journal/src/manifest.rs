use std::fmt;
use std::sync::Arc;

use crate::InvalidName;
use crate::persistence_id::check_name;

/// Names what a payload is, such as `account.deposited`; with a schema version it says how to read it.
///
/// 1 to [`Manifest::MAX_BYTES`] bytes: ASCII letters, digits, `-`, `_` and `.`. Cloning shares one allocation.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Manifest(Arc<str>);

impl Manifest {
    /// The longest manifest, in bytes.
    pub const MAX_BYTES: usize = 192;

    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`InvalidName`] when it is empty, too long or has a character that is not allowed.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        check_name("manifest", name, Self::MAX_BYTES)?;
        Ok(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
