use std::fmt;
use std::sync::Arc;

use crate::Slice;

/// Names one event-sourced entity: a kind and an entity id, written `kind|entity-id`.
///
/// | part | limit |
/// |---|---|
/// | kind | 1 to [`PersistenceId::MAX_KIND_BYTES`] bytes; ASCII letters, digits, `-`, `_` and `.` |
/// | entity id | 1 to [`PersistenceId::MAX_ENTITY_BYTES`] bytes of UTF-8 without control characters; may contain `\|` |
///
/// Cloning shares one allocation.
///
/// ```
/// use annals_journal::PersistenceId;
///
/// let id = PersistenceId::new("account", "alice")?;
/// assert_eq!(id.as_str(), "account|alice");
/// assert_eq!(PersistenceId::parse("account|alice")?, id);
/// assert!(PersistenceId::parse("alice").is_err());
/// # Ok::<(), annals_journal::InvalidName>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PersistenceId(Arc<str>);

impl PersistenceId {
    /// The longest kind, in bytes.
    pub const MAX_KIND_BYTES: usize = 64;
    /// The longest entity id, in bytes.
    pub const MAX_ENTITY_BYTES: usize = 512;

    /// Joins a kind and an entity id.
    ///
    /// # Errors
    /// [`InvalidName`] when a part is empty, too long or has a character that is not allowed.
    pub fn new(kind: &str, entity_id: &str) -> Result<Self, InvalidName> {
        check_kind(kind)?;
        check_entity_id(entity_id)?;
        Ok(Self(format!("{kind}|{entity_id}").into()))
    }

    /// Parses `kind|entity-id`; the first `|` separates.
    ///
    /// # Errors
    /// [`InvalidName`] when there is no `|` or a part breaks its limits.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let (kind, entity_id) = text
            .split_once('|')
            .ok_or_else(|| InvalidName::new("persistence id", text, "must be written kind|entity-id"))?;
        check_kind(kind)?;
        check_entity_id(entity_id)?;
        Ok(Self(text.into()))
    }

    /// The whole id, `kind|entity-id`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the first `|`.
    pub fn kind(&self) -> &str {
        self.0.split_once('|').map_or("", |(kind, _)| kind)
    }

    /// The part after the first `|`.
    pub fn entity_id(&self) -> &str {
        self.0.split_once('|').map_or("", |(_, entity_id)| entity_id)
    }

    /// The text, shared.
    #[cfg(feature = "encryption")]
    pub(crate) fn text(&self) -> Arc<str> {
        self.0.clone()
    }

    /// The same with an allocation of its own.
    #[cfg(feature = "postgres")]
    pub(crate) fn unshared(&self) -> Self {
        Self(Arc::from(self.as_str()))
    }

    /// The slice that this id belongs to, for ever.
    pub fn slice(&self) -> Slice {
        Slice::of(self)
    }
}

impl fmt::Display for PersistenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PersistenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::str::FromStr for PersistenceId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::parse(text)
    }
}

/// A name that breaks the rules for its type; the message says which rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what} {name:?}: {rule}")]
pub struct InvalidName {
    what: &'static str,
    name: String,
    rule: String,
}

impl InvalidName {
    pub(crate) fn new(what: &'static str, name: &str, rule: impl Into<String>) -> Self {
        const SHOWN: usize = 80;
        let name = match name.char_indices().nth(SHOWN) {
            Some((end, _)) => format!("{}…", &name[..end]),
            None => name.to_owned(),
        };
        Self { what, name, rule: rule.into() }
    }
}

/// Checks a name of ASCII letters, digits, `-`, `_` and `.`.
pub(crate) fn check_name(what: &'static str, name: &str, max: usize) -> Result<(), InvalidName> {
    if name.is_empty() || name.len() > max {
        return Err(InvalidName::new(what, name, format!("must have 1 to {max} bytes")));
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
        return Err(InvalidName::new(what, name, "may have only ASCII letters, digits, '-', '_' and '.'"));
    }
    Ok(())
}

/// Checks a free text of 1 to `max` bytes without control characters.
pub(crate) fn check_text(what: &'static str, text: &str, max: usize) -> Result<(), InvalidName> {
    if text.is_empty() || text.len() > max {
        return Err(InvalidName::new(what, text, format!("must have 1 to {max} bytes")));
    }
    if text.chars().any(char::is_control) {
        return Err(InvalidName::new(what, text, "must not have control characters"));
    }
    Ok(())
}

fn check_kind(kind: &str) -> Result<(), InvalidName> {
    check_name("kind", kind, PersistenceId::MAX_KIND_BYTES)
}

fn check_entity_id(entity_id: &str) -> Result<(), InvalidName> {
    check_text("entity id", entity_id, PersistenceId::MAX_ENTITY_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_id_may_contain_the_separator() {
        let id = PersistenceId::parse("order|eu|17").unwrap();
        assert_eq!((id.kind(), id.entity_id()), ("order", "eu|17"));
    }

    #[test]
    fn parts_outside_their_limits_are_refused() {
        for bad in ["", "|", "a|", "|b", "no-separator", "k k|e", "k|line\nbreak", "ké|e"] {
            assert!(PersistenceId::parse(bad).is_err(), "{bad:?}");
        }
        assert!(PersistenceId::new(&"k".repeat(64), &"e".repeat(512)).is_ok());
        assert!(PersistenceId::new(&"k".repeat(65), "e").is_err());
        assert!(PersistenceId::new("k", &"e".repeat(513)).is_err());
    }

    #[test]
    fn a_long_bad_name_is_cut_in_the_message() {
        let message = PersistenceId::new("k", &"e".repeat(600)).unwrap_err().to_string();
        assert!(message.len() < 200, "{message}");
    }
}
