use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Instant;

use annals_journal::{Envelope, Manifest, Records, WriterId};
use annals_migrations::{Announcement, DEFAULT_LEASE, EventList, Form, Member};

/// Tells the journal which versions are about to be stored, as a node does: a build that does not read one does not start any more, and
/// none is stored beside a process that cannot read it.
pub(crate) struct Watermarks {
    member: Member,
    renewed: Instant,
    known: HashSet<(Manifest, u32)>,
}

impl Watermarks {
    /// Registers as a process that hosts nothing.
    pub(crate) async fn enter(records: Arc<dyn Records>, command: &str) -> anyhow::Result<Self> {
        let announcement = Announcement::new(format!("annals {command}"));
        let member =
            Member::enter(records, WriterId::random(), announcement, DEFAULT_LEASE, BTreeSet::new()).await?;
        Ok(Self { member, renewed: Instant::now(), known: HashSet::new() })
    }

    /// Before an event is stored.
    ///
    /// # Errors
    /// When a process runs that could not read it, or an operator holds its manifest below.
    pub(crate) async fn event(&mut self, event: &Envelope) -> anyhow::Result<()> {
        if self.renewed.elapsed() > DEFAULT_LEASE / 3 {
            self.renewed = Instant::now();
            self.member.renew().await?;
        }
        let kind = event.persistence_id.kind();
        if event.key_id.is_none() && EventList::is(&event.manifest) {
            for part in EventList::parts(event)? {
                self.form(kind, &part.manifest, part.schema_version).await?;
            }
            return Ok(());
        }
        self.form(kind, &event.manifest, event.schema_version).await
    }

    /// Before a state is stored.
    ///
    /// # Errors
    /// As [`Watermarks::event`].
    pub(crate) async fn form(&mut self, kind: &str, manifest: &Manifest, version: u32) -> anyhow::Result<()> {
        if !self.known.contains(&(manifest.clone(), version)) {
            self.member.clear(kind, &Form::new(manifest.clone(), version)).await?;
            self.known.insert((manifest.clone(), version));
        }
        Ok(())
    }

    /// Gives the registration up.
    pub(crate) async fn leave(self) -> anyhow::Result<()> {
        Ok(self.member.leave().await?)
    }
}
