//! What is looked at beside the ids: the file, the epoch counter, the key that is active.

use annals_journal::encryption::KeyState;
use annals_journal::{Epoch, JournalError, is_encrypted, last_epoch};

use super::finding::{Finding, Kind};
use crate::stores::Stores;

/// What SQLite says of its file.
pub(super) async fn file(stores: &Stores) -> Vec<Finding> {
    let Some(database) = stores.database() else { return Vec::new() };
    let checked = database.scan(|conn| {
        conn.prepare("PRAGMA quick_check")?
            .query_map((), |row| row.get::<_, String>(0))?
            .collect::<Result<Vec<_>, _>>()
    });
    match checked.await {
        Ok(lines) => lines
            .into_iter()
            .filter(|line| line != "ok")
            .map(|line| Finding::of_journal(Kind::DamagedFile, line))
            .collect(),
        Err(error) => vec![Finding::of_journal(Kind::DamagedFile, error)],
    }
}

/// An owner that starts takes the next epoch: it must be above those of the events, or it is fenced by the past.
pub(super) async fn epoch(stores: &Stores, newest: Epoch) -> Vec<Finding> {
    let behind = |last: Epoch| {
        let what = format!(
            "the epoch counter is at {last} and events are of epoch {newest}: whoever starts now is fenced from them; \
             part of the journal was restored from an older state"
        );
        Finding::of_journal(Kind::EpochBehind, what)
    };
    match last_epoch(&*stores.records).await {
        Ok(last) if last < newest => vec![behind(last)],
        Ok(_) => Vec::new(),
        Err(error @ JournalError::Corrupt { .. }) => vec![Finding::of_journal(Kind::UnreadableRecord, error)],
        Err(error) => vec![Finding::of_journal(Kind::Unavailable, error)],
    }
}

/// Where keys are, it must be said which is active: a node that finds nothing said takes the journal for one without keys.
pub(super) async fn active_key(stores: &Stores) -> Vec<Finding> {
    let records = &*stores.records;
    let found = async {
        if is_encrypted(records).await? {
            return Ok::<_, JournalError>(None);
        }
        let keys = KeyState::list(records, None, 1).await?;
        Ok(keys.into_iter().next())
    };
    match found.await {
        Ok(None) => Vec::new(),
        Ok(Some((name, _))) => {
            let what = format!(
                "there are data keys, such as that of {name}, and no record says which master key is active (encryption/active): restore the records from a backup"
            );
            vec![Finding::of_journal(Kind::UnreadableRecord, what)]
        }
        Err(error) => vec![Finding::of_journal(Kind::Unavailable, error)],
    }
}
