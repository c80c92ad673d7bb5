use crate::{JournalError, RecordKey, Records};

/// Whether a journal is encrypted: its records name an active master key. Whoever writes to it without keys would leave events in the
/// clear between sealed ones, which nobody reads again.
///
/// Here in every build: one without the feature `encryption` must know it too.
///
/// # Errors
/// What the records answer.
pub async fn is_encrypted(records: &dyn Records) -> Result<bool, JournalError> {
    let active = RecordKey::new(ACTIVE_MASTER_KEY)
        .map_err(|error| JournalError::rejected(ACTIVE_MASTER_KEY, error.to_string()))?;
    Ok(records.get(&active).await?.is_some())
}

/// The record that names the active master key.
pub(crate) const ACTIVE_MASTER_KEY: &str = "encryption/active";
