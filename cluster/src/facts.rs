use std::collections::BTreeMap;

use crate::fingerprint::Fingerprint;

/// What a member announces about itself: an open map of names and bytes, such as the event versions that it reads or the keys it
/// has. At most [`Facts::MAX_BYTES`] in all. The member alone changes them; the newest version is what all believe.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    version: u64,
    entries: BTreeMap<String, Vec<u8>>,
}

impl Facts {
    /// Names and values together.
    pub const MAX_BYTES: usize = 16 * 1_024;

    /// The first version.
    ///
    /// # Errors
    ///
    /// When they are larger than [`Facts::MAX_BYTES`].
    pub fn new(entries: BTreeMap<String, Vec<u8>>) -> Result<Self, FactsTooLarge> {
        Self::of_version(1, entries)
    }

    pub(crate) fn of_version(
        version: u64,
        entries: BTreeMap<String, Vec<u8>>,
    ) -> Result<Self, FactsTooLarge> {
        let bytes = entries.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > Self::MAX_BYTES {
            return Err(FactsTooLarge { bytes });
        }
        Ok(Self { version, entries })
    }

    /// The next version.
    ///
    /// # Errors
    ///
    /// When they are larger than [`Facts::MAX_BYTES`].
    pub fn next(&self, entries: BTreeMap<String, Vec<u8>>) -> Result<Self, FactsTooLarge> {
        Self::of_version(self.version + 1, entries)
    }

    /// Rises with each change; 0 for none yet.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Names and values.
    pub const fn entries(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.entries
    }

    pub(crate) fn fingerprint(&self) -> u64 {
        let mut print = Fingerprint::new().number(self.version);
        for (name, value) in &self.entries {
            print = print.bytes(name.as_bytes()).bytes(value);
        }
        print.finish()
    }
}

/// Facts are for small things.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "facts of {bytes} bytes are more than {} that a member may announce: keep what is large in the journal",
    Facts::MAX_BYTES
)]
pub struct FactsTooLarge {
    /// How large they are.
    pub bytes: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_have_a_bound() {
        let of = |bytes: usize| BTreeMap::from([("k".to_owned(), vec![0; bytes])]);
        assert!(Facts::new(of(Facts::MAX_BYTES - 1)).is_ok());
        let error = Facts::new(of(Facts::MAX_BYTES)).expect_err("one byte too many");
        assert_eq!(error, FactsTooLarge { bytes: Facts::MAX_BYTES + 1 });
    }
}
