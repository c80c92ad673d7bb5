use super::key_store::ATTEMPTS;
use crate::{Head, Journal, JournalError, JournalExt as _, PersistenceId, Token};

/// Takes an id from whoever has it, in the journal as it is stored; answers the head that it had then, and nothing for an id that nobody
/// ever had. Owners of the same epoch recover and go on, so nobody is fenced; each reads the key's record again when it has claimed the id.
pub(super) async fn take_over(
    journal: &dyn Journal,
    id: &PersistenceId,
) -> Result<Option<Head>, JournalError> {
    for _ in 0..ATTEMPTS {
        let head = journal.head(id).await?;
        if head.token == Token::NONE {
            return Ok(None);
        }
        // A jump that nobody else makes: equal tokens do not supersede each other.
        let jump = 1 + u64::from(rand::random::<u32>());
        let token = Token::new(head.token.epoch, head.token.activation.saturating_add(jump));
        match journal.claim(id, token).await {
            Err(JournalError::Superseded { .. } | JournalError::Fenced { .. }) => {}
            claimed => return claimed.map(Some),
        }
    }
    Err(taken_again_and_again(id))
}

pub(super) fn taken_again_and_again(id: &PersistenceId) -> JournalError {
    JournalError::Unavailable { reason: format!("{id} is claimed again and again"), source: None }
}
