//! Which ids there are.

use futures::future;

use super::buckets::Look;
use super::failure::malformed;
use super::intents::Lane;
use super::keyspace::Inner;
use super::value::Value;
use crate::{JournalError, PersistenceId, SeqNr};

impl Inner {
    /// Writes an id down that is about to be written for the first time.
    pub(super) async fn announce(&self, id: &PersistenceId) -> Result<(), JournalError> {
        // `known` stays what it is: somebody else may have seen that it is written.
        let lane = Lane::of(id.slice()).name();
        let values = vec![self.journal(), Value::text(&lane), Value::text(id.as_str()), Value::Unset];
        self.execute(&self.statements.insert_id, values).await.map(drop)
    }

    /// Ids behind one, in their order, at most so many.
    pub(super) async fn ids(
        &self,
        after: Option<&PersistenceId>,
        limit: usize,
    ) -> Result<Vec<PersistenceId>, JournalError> {
        let mut after = after.map_or(String::new(), |id| id.as_str().to_owned());
        let mut listed = Vec::new();
        while listed.len() < limit {
            let wanted = limit - listed.len();
            let lanes = Lane::all().map(|lane| self.ids_of(lane.name(), after.clone(), wanted));
            let mut found: Vec<_> = future::try_join_all(lanes).await?.into_iter().flatten().collect();
            found.sort_unstable();
            // Behind the last of a lane that is full another of it may follow.
            found.truncate(wanted);
            let is_end = found.len() < wanted;
            for (id, lane, known) in found {
                after.clone_from(&id);
                let id = PersistenceId::parse(&id).map_err(|error| malformed(self.nodes(), error))?;
                if known || self.is_owned(&id, &lane).await? {
                    listed.push(id);
                }
            }
            if is_end {
                break;
            }
        }
        Ok(listed)
    }

    async fn ids_of(
        &self,
        lane: String,
        after: String,
        limit: usize,
    ) -> Result<Vec<(String, String, bool)>, JournalError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let values = vec![self.journal(), Value::text(&lane), Value::Text(after), Value::Small(limit)];
        let rows: Vec<(String, Option<bool>)> = self.rows(&self.statements.ids, values).await?;
        Ok(rows.into_iter().map(|(id, known)| (id, lane.clone(), known.unwrap_or(false))).collect())
    }

    /// Whether an id was written, and not only announced.
    async fn is_owned(&self, id: &PersistenceId, lane: &str) -> Result<bool, JournalError> {
        let state = self.state(id, SeqNr::FIRST, Look::Plain).await?;
        if state.owned && !self.is_read_only() {
            let values = vec![self.journal(), Value::text(lane), Value::text(id.as_str()), Value::Bool(true)];
            self.execute(&self.statements.insert_id, values).await?;
        }
        Ok(state.owned)
    }
}
