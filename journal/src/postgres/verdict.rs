use crate::encoded_write::{EncodedKind, EncodedWrite};
use crate::{Head, JournalError, Mark, MarkChange, PersistenceId};

/// What becomes of an entry where the head is this: the head after it, or why it is refused.
pub(super) fn verdict(write: &EncodedWrite, head: Head) -> Result<Head, JournalError> {
    let (id, token) = (&write.persistence_id, write.token);
    if let EncodedKind::Append { events: Err(error), .. } = &write.kind {
        return Err(error.clone());
    }
    let outranked = || Err(JournalError::outranked(id, token, head.token));
    if head.token > token {
        return outranked();
    }
    match &write.kind {
        EncodedKind::Append { expected, .. } if *expected != head.seq_nr => {
            Err(JournalError::Conflict { persistence_id: id.clone(), expected: *expected, head: head.seq_nr })
        }
        EncodedKind::Append { expected, mark, .. } => {
            let mark = changed(id, head, mark.as_deref().copied())?;
            Ok(Head { seq_nr: expected.plus(write.event_count as u64), token, mark, ..head })
        }
        EncodedKind::Claim => Ok(Head { token, ..head }),
        EncodedKind::Verify if head.token == token => Ok(head),
        EncodedKind::Mark(change) if head.token == token => {
            let mark = changed(id, head, Some(*change))?;
            Ok(Head { mark, ..head })
        }
        EncodedKind::Verify | EncodedKind::Mark(_) => outranked(),
    }
}

/// The mark that a change makes of an id's; a conflict where it builds on another.
fn changed(id: &PersistenceId, head: Head, change: Option<MarkChange>) -> Result<Option<Mark>, JournalError> {
    match change {
        None => Ok(head.mark),
        Some(change) if change.from == head.mark => Ok(Some(change.to)),
        Some(_) => Err(JournalError::Conflict {
            persistence_id: id.clone(),
            expected: head.seq_nr,
            head: head.seq_nr,
        }),
    }
}
