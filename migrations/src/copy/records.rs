use std::collections::BTreeMap;

use annals_journal::{CompareAndSet, Gate, Record, RecordKey};

use super::copier::Copy;
use super::error::CopyError;
use super::side::Side;

impl Copy {
    /// The target has the records of the source, but those that are of a place or a process.
    pub(super) async fn copy_records(&self) -> Result<(), CopyError> {
        let wanted = self.all(&self.from).await?;
        let mut found = self.all(&self.to).await?;
        for (key, record) in wanted {
            let there = found.remove(&key);
            if there.as_ref().is_some_and(|there| there.value == record.value) {
                continue;
            }
            let expected = there.map(|there| there.revision);
            self.done(self.to.records.compare_and_set(&key, expected, record.value).await?)?;
        }
        for (key, Record { revision, .. }) in found {
            self.done(self.to.records.delete(&key, revision).await?)?;
        }
        Ok(())
    }

    fn done(&self, answer: CompareAndSet) -> Result<(), CopyError> {
        match answer {
            CompareAndSet::Set(_) => Ok(()),
            CompareAndSet::Changed { .. } => Err(CopyError::Raced { name: self.to.name.clone() }),
        }
    }

    async fn all(&self, side: &Side) -> Result<BTreeMap<RecordKey, Record>, CopyError> {
        let mut all = BTreeMap::new();
        let mut after = None;
        loop {
            let page = side.records.list("", after.as_ref(), PAGE).await?;
            let full = page.len() == PAGE;
            after = page.last().map(|(key, _)| key.clone());
            all.extend(page.into_iter().filter(|(key, _)| self.is_copied(key)));
            if !full {
                return Ok(all);
            }
        }
    }

    fn is_copied(&self, key: &RecordKey) -> bool {
        let key_text = key.as_str();
        let is_of_keys = key_text.starts_with("encryption/");
        key != Gate::key()
            && key_text != "epoch"
            && !OF_A_PLACE.iter().any(|prefix| key_text.starts_with(prefix))
            && !(self.reseals && is_of_keys)
    }
}

/// Offsets of readers and of projections, registered processes, and what a copy notes for itself.
const OF_A_PLACE: [&str; 6] =
    ["reader/", "projection/", "projection-dead/", "schema/process/", "encryption/process/", "migrate/"];
const PAGE: usize = 256;
