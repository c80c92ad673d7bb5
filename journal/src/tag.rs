use std::fmt;
use std::sync::Arc;

use crate::InvalidName;
use crate::persistence_id::check_text;

/// A label on an event, by which readers find it among all persistence ids.
///
/// 1 to [`Tag::MAX_BYTES`] bytes of UTF-8 without control characters. Cloning shares one allocation.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Arc<str>);

impl Tag {
    /// The longest tag, in bytes.
    pub const MAX_BYTES: usize = 128;
    /// The most tags that one event may have.
    pub const MAX_PER_EVENT: usize = 16;

    /// Checks and takes a label.
    ///
    /// # Errors
    /// [`InvalidName`] when it is empty, too long or has a control character.
    pub fn new(label: &str) -> Result<Self, InvalidName> {
        check_text("tag", label, Self::MAX_BYTES)?;
        Ok(Self(label.into()))
    }

    /// The label.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
