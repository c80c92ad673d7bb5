use crate::{Envelope, JournalError, Tag};

/// What a journal can take in one append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest payload of one event, in bytes. Every backend takes at least 1 MiB.
    pub max_payload_bytes: usize,
    /// The most events in one append. Every backend takes at least 256.
    pub max_events: usize,
    /// Whether appends may change the id's mark. Every backend takes marks; a layer that keeps its own there does not.
    pub marks: bool,
}

impl Limits {
    /// Checks what holds for each event by itself: the size of its payload and the count of its tags.
    ///
    /// # Errors
    /// [`JournalError::Rejected`] with the limit that is exceeded.
    pub fn check(&self, event: &Envelope) -> Result<(), JournalError> {
        let rejected = |what: String| {
            let (number, manifest) = (event.seq_nr, &event.manifest);
            Err(JournalError::rejected(
                &event.persistence_id,
                format!("event {number:?} ({manifest}) has {what} are allowed"),
            ))
        };
        let (payload, tags) = (event.payload.len(), event.tags.len());
        if payload > self.max_payload_bytes {
            return rejected(format!("a payload of {payload} bytes, at most {}", self.max_payload_bytes));
        }
        if tags > Tag::MAX_PER_EVENT {
            return rejected(format!("{tags} tags, at most {}", Tag::MAX_PER_EVENT));
        }
        Ok(())
    }
}
