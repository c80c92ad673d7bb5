//! One id: what of it is missing in the target, and whether it is the same.

use annals_journal::{
    AtomicWrite, Codec, Envelope, Head, Manifest, MarkChange, PersistenceId, ReplayRange, Replayed, SeqNr,
    StoredEvent, Timestamp, Token, Write, WriterId,
};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;

use super::copier::{Copy, CopyReport, Progress};
use super::error::CopyError;
use super::fill::push;
use super::look::Look;
use super::side::{IDS, Side};

impl Copy {
    /// Copies whatever of an id the target does not have yet.
    pub(super) async fn catch_up(
        &self,
        id: &PersistenceId,
        report: &mut CopyReport,
    ) -> Result<(), CopyError> {
        loop {
            let gone_to = self.gone_to(id).await?;
            self.delete_to(id, gone_to).await?;
            let next = self.to.journal.head(id).await?.seq_nr.next();
            let mut replay = self.from.journal.replay(ReplayRange::all(id).from(next));
            let mut appends = Vec::new();
            let mut deleted_meanwhile = false;
            while let Some(item) = replay.next().await {
                match item? {
                    Replayed::Event(event) => push(&mut appends, event.envelope),
                    // It begins anew behind them.
                    _ => {
                        deleted_meanwhile = true;
                        break;
                    }
                }
                if appends.len() >= APPENDS {
                    self.append_all(std::mem::take(&mut appends), report).await?;
                }
            }
            self.append_all(appends, report).await?;
            if !deleted_meanwhile {
                return Ok(());
            }
        }
    }

    /// Up to here the source has nothing that can be read: it was deleted, or erased with its key.
    async fn gone_to(&self, id: &PersistenceId) -> Result<SeqNr, CopyError> {
        let head = self.from.journal.head(id).await?;
        Ok(head.deleted_to.max(head.erased_to))
    }

    async fn append_all(&self, appends: Vec<AtomicWrite>, report: &mut CopyReport) -> Result<(), CopyError> {
        let events: u64 = appends.iter().map(|append| append.events.len() as u64).sum();
        for answer in self.to.journal.write(appends.into_iter().map(Write::Append).collect()).await {
            answer?;
        }
        report.events += events;
        Ok(())
    }

    /// Has the events up to a number stand as deleted, with placeholders in the place of those that the target never had.
    pub(super) async fn delete_to(&self, id: &PersistenceId, to: SeqNr) -> Result<(), CopyError> {
        if to < SeqNr::FIRST {
            return Ok(());
        }
        let mut head = self.to.journal.head(id).await?;
        while head.seq_nr < to {
            let mut append = AtomicWrite {
                persistence_id: id.clone(),
                expected: head.seq_nr,
                token: head.token,
                events: Vec::new(),
                mark: None,
            };
            while append.events.len() < PLACEHOLDERS && append.last() < to {
                append.events.push(placeholder(id, append.last().next(), head.token)?);
            }
            for answer in self.to.journal.write(vec![Write::Append(append)]).await {
                head = answer?;
            }
        }
        if head.deleted_to < to {
            self.to.journal.delete_to(id, to).await?;
        }
        Ok(())
    }

    /// Makes an id the same in both, as far as it can be, and compares what the look has not.
    pub(super) async fn settle_id(
        &self,
        id: &PersistenceId,
        look: &Look,
        progress: Progress<'_>,
    ) -> Result<CopyReport, CopyError> {
        let mut report = CopyReport::default();
        let (head, there) = futures::try_join!(self.from.journal.head(id), self.to.journal.head(id))?;
        // Nobody but this copy writes to the target, and it is not writing now.
        if there.seq_nr > head.seq_nr {
            return Err(too_many(id, head, there));
        }
        // Claimed and never written: nothing to copy.
        if head.seq_nr < SeqNr::FIRST {
            return Ok(report);
        }
        let gone_to = |head: Head| head.deleted_to.max(head.erased_to);
        if !look.is_same(id) || (head.seq_nr, gone_to(head)) != (there.seq_nr, gone_to(there)) {
            self.catch_up(id, &mut report).await?;
            let count = self.compare(id, head, &mut report).await?;
            if matches!(look, Look::All) {
                progress(count);
                report.compared_events = count;
            }
        }
        if head.mark != there.mark {
            self.mark(id, head).await?;
        }
        self.copy_snapshots(id, &mut report).await?;
        report.compared = 1;
        Ok(report)
    }

    /// Compares what both have up to a head, and puts right what was rewritten in the source since it was copied. Answers how many events.
    async fn compare(
        &self,
        id: &PersistenceId,
        head: Head,
        report: &mut CopyReport,
    ) -> Result<u64, CopyError> {
        let (mut ours, mut theirs) = (Events::of(&self.from, id, head), Events::of(&self.to, id, head));
        let different = |reason: String| CopyError::Different { persistence_id: id.clone(), reason };
        let (mut changed, mut count) = (Vec::new(), 0);
        loop {
            match (ours.next().await?, theirs.next().await?) {
                (None, None) => break,
                (Some(wanted), Some(found)) if wanted.envelope.seq_nr == found.envelope.seq_nr => {
                    count += 1;
                    if !self.is_same(&wanted.envelope, &found.envelope) {
                        changed.push((found, wanted.envelope));
                    }
                }
                // Deleted between the two looks: the next one settles it.
                (Some(event), _) if self.gone_to(id).await? >= event.envelope.seq_nr => {
                    return Box::pin(self.settle_again(id, report)).await;
                }
                (Some(event), _) => {
                    return Err(different(format!("event {:?} is missing", event.envelope.seq_nr)));
                }
                (None, Some(event)) => {
                    let seq_nr = event.envelope.seq_nr;
                    if self.gone_to(id).await? >= seq_nr {
                        return Box::pin(self.settle_again(id, report)).await;
                    }
                    return Err(different(format!("event {seq_nr:?} is in the target alone")));
                }
            }
        }
        let replaced = changed.len() as u64;
        for answer in self.to.journal.replace_all(changed).await {
            if !answer? {
                return Err(different("an event changed while it was put right".to_owned()));
            }
        }
        report.replaced += replaced;
        Ok(count)
    }

    async fn settle_again(&self, id: &PersistenceId, report: &mut CopyReport) -> Result<u64, CopyError> {
        let head = self.from.journal.head(id).await?;
        self.catch_up(id, report).await?;
        self.compare(id, head, report).await
    }

    pub(super) fn is_same(&self, wanted: &Envelope, found: &Envelope) -> bool {
        if !self.reseals {
            return wanted == found;
        }
        // Each side has keys of its own.
        Envelope { key_id: None, ..wanted.clone() } == Envelope { key_id: None, ..found.clone() }
    }

    /// What is kept beside the head, of which only who set it knows what it means.
    async fn mark(&self, id: &PersistenceId, head: Head) -> Result<(), CopyError> {
        let found = self.to.journal.head(id).await?;
        let (Some(to), false) = (head.mark, self.reseals || found.mark == head.mark) else { return Ok(()) };
        let change = MarkChange { from: found.mark, to };
        let write = Write::Mark { persistence_id: id.clone(), token: found.token, change };
        for answer in self.to.journal.write(vec![write]).await {
            answer?;
        }
        Ok(())
    }

    /// The target has no id that the source does not have.
    pub(super) async fn no_others(&self) -> Result<(), CopyError> {
        let mut after = None;
        loop {
            let (theirs, ours) =
                futures::try_join!(self.to.ids(after.as_ref()), self.from.ids(after.as_ref()))?;
            // Those that the source lists were settled.
            for id in theirs.iter().filter(|id| ours.binary_search(id).is_err()) {
                let (ours, theirs) = (self.from.journal.head(id).await?, self.to.journal.head(id).await?);
                if ours.seq_nr < theirs.seq_nr {
                    return Err(too_many(id, ours, theirs));
                }
            }
            if theirs.len() < IDS {
                return Ok(());
            }
            after = theirs.into_iter().next_back();
        }
    }
}

fn too_many(id: &PersistenceId, ours: Head, theirs: Head) -> CopyError {
    let reason = format!("the target has {:?} events, the source {:?}", theirs.seq_nr, ours.seq_nr);
    CopyError::Different { persistence_id: id.clone(), reason }
}

/// An id's events, without what was deleted.
struct Events(BoxStream<'static, Result<Replayed, annals_journal::JournalError>>);

impl Events {
    fn of(side: &Side, id: &PersistenceId, head: Head) -> Self {
        Self(side.journal.replay(ReplayRange::all(id).to(head.seq_nr)))
    }

    async fn next(&mut self) -> Result<Option<StoredEvent>, CopyError> {
        while let Some(item) = self.0.next().await {
            if let Replayed::Event(event) = item? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }
}

/// What has a deleted event's number until it is deleted, too.
fn placeholder(id: &PersistenceId, seq_nr: SeqNr, token: Token) -> Result<Envelope, CopyError> {
    let manifest = Manifest::new("annals.deleted")
        .map_err(|error| annals_journal::JournalError::rejected(id, error.to_string()))?;
    Ok(Envelope {
        persistence_id: id.clone(),
        seq_nr,
        token,
        writer: WriterId::from_bytes([0; 16]),
        timestamp: Timestamp::from_micros(0),
        manifest,
        schema_version: 1,
        codec: Codec::Json,
        tags: Vec::new(),
        trace_context: None,
        key_id: None,
        payload: Bytes::from_static(b"null"),
    })
}

const APPENDS: usize = 4;
const PLACEHOLDERS: usize = 256;
