use std::collections::BTreeMap;
use std::fmt;

use annals_journal::Manifest;

/// Every manifest of a node, and who stores under it; no two may share one.
#[derive(Debug, Clone, Default)]
pub struct ManifestRegistry {
    owners: BTreeMap<Manifest, Owner>,
}

impl ManifestRegistry {
    /// Without any manifest.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the manifests that a kind's events, commands or state are stored under; all of them or none.
    ///
    /// ```
    /// use annals_journal::Manifest;
    /// use annals_migrations::{ManifestRegistry, Role};
    ///
    /// let mut registry = ManifestRegistry::new();
    /// registry.register("account", Role::Event, [(Manifest::new("bank.moved")?, 1)])?;
    /// let twice = registry.register("safe", Role::Event, [(Manifest::new("bank.moved")?, 1)]).unwrap_err();
    /// assert!(twice.to_string().contains("event of kind \"account\" and by an event of kind \"safe\""));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`DuplicateManifest`] when one of them is taken; it names both owners.
    pub fn register(
        &mut self,
        kind: &str,
        role: Role,
        manifests: impl IntoIterator<Item = (Manifest, u32)>,
    ) -> Result<(), DuplicateManifest> {
        let mut added = BTreeMap::new();
        for (manifest, version) in manifests {
            let owner = Owner { kind: kind.to_owned(), role, version };
            match self.owners.get(&manifest).or_else(|| added.get(&manifest)) {
                Some(first) => {
                    return Err(DuplicateManifest {
                        manifest,
                        first: (first.kind.clone(), first.role),
                        second: (owner.kind, owner.role),
                    });
                }
                None => added.insert(manifest, owner),
            };
        }
        self.owners.append(&mut added);
        Ok(())
    }

    /// Every manifest with its kind, its role and the version that is written, in the order of the manifests.
    pub fn iter(&self) -> impl Iterator<Item = (&Manifest, &str, Role, u32)> {
        self.owners.iter().map(|(manifest, owner)| (manifest, owner.kind.as_str(), owner.role, owner.version))
    }
}

/// What is stored, or sent, under a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// An event.
    Event,
    /// A command.
    Command,
    /// The state in snapshots.
    State,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Event => "an event",
            Self::Command => "a command",
            Self::State => "the state",
        })
    }
}

/// Two types would be stored under one name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "manifest {manifest} is used by {} of kind {:?} and by {} of kind {:?}: \
     give one of them another name with `manifest = \"...\"`",
    first.1, first.0, second.1, second.0
)]
pub struct DuplicateManifest {
    /// The name that both have.
    pub manifest: Manifest,
    /// Kind and role of the one that was registered first.
    pub first: (String, Role),
    /// Kind and role of the other.
    pub second: (String, Role),
}

#[derive(Debug, Clone)]
struct Owner {
    kind: String,
    role: Role,
    version: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifests(names: &[&str]) -> Vec<(Manifest, u32)> {
        names.iter().map(|name| (Manifest::new(name).unwrap(), 1)).collect()
    }

    #[test]
    fn a_duplicate_over_kinds_names_both() {
        let mut registry = ManifestRegistry::new();
        registry.register("account", Role::Event, manifests(&["account.opened", "bank.closed"])).unwrap();
        registry.register("account", Role::State, manifests(&["account.state"])).unwrap();
        let error =
            registry.register("vault", Role::Command, manifests(&["vault.lock", "bank.closed"])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "manifest bank.closed is used by an event of kind \"account\" and by a command of kind \"vault\": \
             give one of them another name with `manifest = \"...\"`"
        );
        assert_eq!(registry.iter().count(), 3, "a refused registration leaves nothing");
    }

    #[test]
    fn a_duplicate_within_one_registration_is_found() {
        let error = ManifestRegistry::new()
            .register("account", Role::Command, manifests(&["account.open", "account.open"]))
            .unwrap_err();
        assert_eq!((error.first, error.second).0.0, "account");
    }
}
