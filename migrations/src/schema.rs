use annals_journal::{Codec, InvalidName, Manifest};

/// What one type, or one variant of an event, is stored as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Schema {
    /// Its name.
    pub name: SchemaName,
    /// Version of the payload's shape, from 1.
    pub version: u32,
    /// How the payload becomes bytes.
    pub codec: Codec,
}

/// Where a manifest comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SchemaName {
    /// The part after the kind: the manifest is `<kind>.<name>`.
    OfKind(&'static str),
    /// The whole manifest, whatever the kind.
    Whole(&'static str),
}

impl SchemaName {
    /// The manifest for entities of a kind.
    ///
    /// # Errors
    /// [`InvalidName`] when kind and name make no manifest.
    pub fn manifest(&self, kind: &str) -> Result<Manifest, InvalidName> {
        match self {
            Self::OfKind(name) => Manifest::new(&format!("{kind}.{name}")),
            Self::Whole(name) => Manifest::new(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_the_kind_and_the_name_unless_said_whole() {
        let manifest = |name: SchemaName| name.manifest("account").unwrap().as_str().to_owned();
        assert_eq!(manifest(SchemaName::OfKind("sent-back")), "account.sent-back");
        assert_eq!(manifest(SchemaName::Whole("bank.sent-back")), "bank.sent-back");
        assert!(SchemaName::OfKind("x").manifest("no kind").is_err());
    }
}
