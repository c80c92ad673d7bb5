use std::fmt;
use std::sync::Arc;

use annals_journal::PersistenceId;

use super::SpawnError;

/// Where an actor stands among its ancestors: `bank/tellers/1`. It says who is meant in logs and dead letters.
///
/// A path may be used again once its actor has stopped; an [`ActorId`] is not.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActorPath(Arc<str>);

impl ActorPath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last part: the name that the actor was spawned with.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    pub(crate) fn root(system: &str) -> Self {
        Self(system.into())
    }

    /// Where an entity stands. Only an entity's last part has a `|`, and all that may stand in its id.
    pub(crate) fn entity(&self, id: &PersistenceId) -> Self {
        Self(format!("{}/{id}", self.0).into())
    }

    fn joined(&self, name: &str) -> Arc<str> {
        let (parent, len) = (self.0.len(), self.0.len() + 1 + name.len());
        // Most fit here, and need no memory but their own.
        let mut short = [b'/'; 96];
        if let Some(joined) = short.get_mut(..len) {
            joined[..parent].copy_from_slice(self.0.as_bytes());
            joined[parent + 1..].copy_from_slice(name.as_bytes());
            if let Ok(joined) = str::from_utf8(joined) {
                return joined.into();
            }
        }
        [&*self.0, "/", name].concat().into()
    }

    /// The path of a child with this name.
    pub(crate) fn child(&self, name: &str) -> Result<Self, SpawnError> {
        if name.is_empty() || name.len() > MAX_NAME || blurs(name) {
            return Err(SpawnError::InvalidName { name: name.to_owned() });
        }
        Ok(Self(self.joined(name)))
    }
}

impl fmt::Display for ActorPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ActorPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Tells an actor from every other one of its process, also from those that had its path before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActorId(pub(crate) u64);

/// Whether something in it would blur a path.
fn blurs(name: &str) -> bool {
    // Nearly all names are ASCII, and this is on the way of each spawn.
    if name.is_ascii() {
        name.bytes().any(|byte| byte == b'/' || byte.is_ascii_control())
    } else {
        name.chars().any(|char| char == '/' || char.is_control())
    }
}

/// Bytes of one name.
const MAX_NAME: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_made_of_the_names_on_the_way() {
        let path = ActorPath::root("bank").child("tellers").unwrap().child("1").unwrap();
        assert_eq!(path.as_str(), "bank/tellers/1");
        assert_eq!(path.name(), "1");
    }

    #[test]
    fn a_path_may_be_long() {
        let (mut path, mut expected) = (ActorPath::root("ä"), "ä".to_owned());
        for depth in 0..40 {
            let name = "ö".repeat(depth % 5 + 1);
            path = path.child(&name).unwrap();
            expected = format!("{expected}/{name}");
            assert_eq!(path.as_str(), expected);
        }
    }

    #[test]
    fn a_name_that_would_blur_a_path_is_refused() {
        for name in ["", "a/b", "ä/b", "line\nbreak", "next\u{85}line", "\u{7f}", &"x".repeat(129)] {
            assert!(
                matches!(ActorPath::root("s").child(name), Err(SpawnError::InvalidName { .. })),
                "{name:?}"
            );
        }
    }
}
