use std::time::Duration;

use annals_journal::encryption::{KeyScope, KeyState};
use annals_journal::{JournalError, PersistenceId};
use futures::{StreamExt as _, stream};

use super::finding::{Finding, Kind};
use crate::ids::Selection;
use crate::stores::Stores;

/// Goes through the key records, a page at a time: those of ids that have nothing.
pub(super) struct Orphans<'a> {
    stores: &'a Stores,
    ids: &'a Selection,
    jobs: usize,
    /// The last name that was read; `None`: none was.
    after: Option<String>,
    done: bool,
}

impl<'a> Orphans<'a> {
    pub(super) fn of(stores: &'a Stores, ids: &'a Selection, jobs: usize) -> Self {
        // Ids that are named are there.
        Self { stores, ids, jobs, after: None, done: !ids.ids.is_empty() }
    }

    /// What is wrong on the next page; `None` behind the last.
    pub(super) async fn next(&mut self) -> Option<Vec<Finding>> {
        if self.done {
            return None;
        }
        let page = match KeyState::list(&*self.stores.records, self.after.as_deref(), PAGE).await {
            Ok(page) => page,
            Err(error) => {
                self.done = true;
                return Some(vec![Finding::of_journal(Kind::Unavailable, error)]);
            }
        };
        self.done = page.len() < PAGE;
        self.after = page.last().map(|(name, _)| name.clone());
        let (mut suspects, mut findings) = (Vec::new(), Vec::new());
        for (name, state) in page {
            match (PersistenceId::parse(&name), state) {
                // Of a scope of several ids.
                (Err(_), Ok(_)) if KeyScope::new(&name).is_ok() => {}
                (Err(_), Err(error)) if KeyScope::new(&name).is_ok() => {
                    let what = format!("the key record of scope {name}: {error}");
                    findings.push(Finding::of_journal(Kind::UnreadableRecord, what));
                }
                (Err(error), _) => {
                    let what = format!("the key record of {name:?}: {error}");
                    findings.push(Finding::of_journal(Kind::UnreadableRecord, what));
                }
                (Ok(id), state) if self.ids.wants(&id) && may_be_orphaned(&state) => suspects.push(id),
                _ => {}
            }
        }
        let mut suspects = self.empty(suspects).await;
        if !suspects.is_empty() {
            // An owner makes a key, and appends; somebody may be just in between.
            tokio::time::sleep(PAUSE).await;
            suspects = self.empty(suspects).await;
        }
        let orphan = |id| {
            let what = "it has a data key, and no event and no snapshot: they are gone, or a process ended between making the key and the first event";
            Finding::of(&id, Kind::OrphanedKey, what)
        };
        findings.extend(suspects.into_iter().map(orphan));
        Some(findings)
    }

    /// Those that have nothing. What cannot be asked about is not among them: the check of the id says so.
    async fn empty(&self, ids: Vec<PersistenceId>) -> Vec<PersistenceId> {
        let stores = self.stores;
        let asked = stream::iter(ids).map(|id| async move {
            let nothing = has_nothing(stores, &id).await.unwrap_or(false);
            nothing.then_some(id)
        });
        asked.buffered(self.jobs).filter_map(std::future::ready).collect().await
    }
}

/// What was erased keeps its record, as does what may live again.
fn may_be_orphaned(state: &Result<KeyState, JournalError>) -> bool {
    match state {
        Ok(KeyState::Live { generations, .. }) => !generations.is_empty(),
        Ok(_) => false,
        Err(_) => true,
    }
}

async fn has_nothing(stores: &Stores, id: &PersistenceId) -> anyhow::Result<bool> {
    let head = stores.stored_journal().head(id).await?;
    Ok(head.seq_nr.get() == 0 && stores.stored_snapshots().list(id).await?.is_empty())
}

const PAGE: usize = 1_000;
const PAUSE: Duration = Duration::from_millis(100);
