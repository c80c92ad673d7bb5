use annals_journal::{PersistenceId, SeqNr};

use super::Args;
use super::anchor::{AnchorKey, AnchorReader, AnchorWriter, Entry};
use super::finding::{Finding, Kind};

/// The anchor that is compared with, and the one that is written.
pub(super) struct Anchors {
    before: Option<AnchorReader>,
    after: Option<AnchorWriter>,
}

impl Anchors {
    pub(super) fn open(args: &Args, key: Option<&AnchorKey>) -> anyhow::Result<Self> {
        let before = args.anchor.as_deref().map(|path| AnchorReader::open(path, key)).transpose()?;
        let after = args.write_anchor.as_deref().map(|path| AnchorWriter::create(path, key)).transpose()?;
        Ok(Self { before, after })
    }

    /// What is known of an id; and findings about the ids before it, which the journal does not have.
    pub(super) fn take(&mut self, id: &PersistenceId) -> anyhow::Result<(Vec<Finding>, Option<Entry>)> {
        let Some(before) = &mut self.before else { return Ok((Vec::new(), None)) };
        let (gone, found) = before.take(id)?;
        Ok((gone.iter().filter_map(gone_since).collect(), found))
    }

    /// Findings about the ids behind the last one.
    pub(super) fn rest(&mut self) -> anyhow::Result<Vec<Finding>> {
        let mut findings = Vec::new();
        while let Some(entry) = self.before.as_mut().map_or(Ok(None), AnchorReader::take_next)? {
            findings.extend(gone_since(&entry));
        }
        Ok(findings)
    }

    pub(super) fn add(&mut self, entry: &Entry) -> anyhow::Result<()> {
        self.after.as_mut().map_or(Ok(()), |after| after.add(entry))
    }

    pub(super) fn finish(self) -> anyhow::Result<()> {
        self.after.map_or(Ok(()), AnchorWriter::finish)
    }
}

fn gone_since(entry: &Entry) -> Option<Finding> {
    let id = PersistenceId::parse(&entry.persistence_id).ok()?;
    let what = "the anchor has seen it, and the journal has no such id: an older copy was put back";
    Some(Finding::at(&id, SeqNr::new(entry.head)?, Kind::WentBack, what))
}
