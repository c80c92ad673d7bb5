use std::collections::BTreeMap;

use annals_journal::{Offset, PageItem, SliceRange};

use super::copier::{Copy, Progress};
use super::error::CopyError;
use super::side::IDS;
use crate::Form;

/// What a copy would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyPlan {
    /// Events of the source by what they are stored as.
    pub events: BTreeMap<Form, u64>,
    /// Of these, so many are sealed in the source as it was given.
    pub sealed: u64,
    /// Ids of the source.
    pub ids: u64,
    /// Numbers that stand as deleted.
    pub deleted: u64,
    /// Snapshots of the source.
    pub snapshots: u64,
    /// Registered readers, which are not copied.
    pub readers: u64,
}

impl Copy {
    /// Counts what the source has. Writes nothing, and does not look at the target.
    ///
    /// # Errors
    /// [`CopyError`] when the source cannot be read.
    pub async fn plan(&self, progress: Progress<'_>) -> Result<CopyPlan, CopyError> {
        let mut plan = CopyPlan::default();
        let mut after = Offset::BEGINNING;
        loop {
            let page = self.from.journal.events_by_slice(SliceRange::ALL, after, PAGE).await?;
            let count = page.items.len();
            for item in page.items {
                match item {
                    PageItem::Event(event) => {
                        plan.sealed += u64::from(event.envelope.key_id.is_some());
                        let form = Form::new(event.envelope.manifest, event.envelope.schema_version);
                        *plan.events.entry(form).or_default() += 1;
                    }
                    PageItem::Deleted { to, .. } => plan.deleted += to.get(),
                    _ => {}
                }
            }
            progress(count as u64);
            if count < PAGE {
                break;
            }
            after = page.complete_to;
        }
        let mut last = None;
        loop {
            let ids = self.from.ids(last.as_ref()).await?;
            for id in &ids {
                plan.ids += 1;
                plan.snapshots += self.from.snapshots.list(id).await?.len() as u64;
            }
            if ids.len() < IDS {
                break;
            }
            last = ids.into_iter().next_back();
        }
        plan.readers = self.from.records.list("reader/", None, usize::MAX).await?.len() as u64;
        Ok(plan)
    }
}

const PAGE: usize = 1_024;
