use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use annals_journal::{JournalError, Records, WriterId};
use tokio::time::sleep;

use super::agreement::read;
use super::membership::{Answer, Membership, Outcome, Refusal, Request};
use super::{Announcement, Unreadable, VersionRecords, VersionTable};
use crate::Form;

/// A process that is registered among those that use a journal.
///
/// It reads all that is stored, and nothing that it cannot read is stored by others as long as it [renews](Self::renew) its lease in time;
/// and it writes a form only when it is [cleared](Self::clear): everybody reads it, and no hold forbids it.
///
/// A node has one. A tool that writes events, as a rewrite does, takes part as one that hosts nothing:
///
/// ```
/// use std::sync::Arc;
///
/// use annals_journal::{Manifest, MemoryJournal, WriterId};
/// use annals_migrations::{Announcement, DEFAULT_LEASE, Form, Member};
///
/// # async fn run() -> Result<(), annals_migrations::MemberError> {
/// # let journal = Arc::new(MemoryJournal::new());
/// # let moved = Manifest::new("account.moved").unwrap();
/// let tool = Announcement::new("migrate");
/// let mut member = Member::enter(journal, WriterId::random(), tool, DEFAULT_LEASE, [].into()).await?;
/// member.clear("account", &Form::new(moved, 2)).await?;
/// // It writes them, and calls `member.renew()` at least three times a lease.
/// member.leave().await?;
/// # Ok(())
/// # }
/// # futures::executor::block_on(run()).unwrap();
/// ```
///
/// # Cancel safety
/// What is dropped half-way is as after a crash: the next call begins again.
pub struct Member {
    records: VersionRecords,
    membership: Membership,
    table: VersionTable,
}

impl Member {
    /// Registers a process; of the forms that are wanted, it may write at once those that are stored already and that nobody objects to.
    ///
    /// It waits for a process that is raising a version which this one cannot read, at most until that one's lease ends.
    ///
    /// # Errors
    /// [`MemberError::Unreadable`] when versions are stored that it does not read.
    pub async fn enter(
        records: Arc<dyn Records>,
        id: WriterId,
        announcement: Announcement,
        lease: Duration,
        wanted: BTreeSet<Form>,
    ) -> Result<Self, MemberError> {
        let mut member = Self {
            records: VersionRecords::new(records),
            membership: Membership::new(id, announcement, lease),
            table: VersionTable::default(),
        };
        member.enter_again(wanted).await?;
        Ok(member)
    }

    /// Sets the lease anew, and looks at what others say. A process whose registration was removed meanwhile, because it was away for
    /// longer than its lease, enters again.
    ///
    /// # Errors
    /// [`MemberError::Unreadable`] when it was away and others have stored what it cannot read: it must stop.
    pub async fn renew(&mut self) -> Result<(), MemberError> {
        let wanted = self.membership.writes().clone();
        self.membership.renew();
        match self.run().await? {
            Outcome::Lost => self.enter_again(wanted).await,
            outcome => self.judge(outcome, None),
        }
    }

    /// Asks whether a form may be written for entities of a kind, from now on and until it is [given up](Self::keep).
    ///
    /// # Errors
    /// [`MemberError::Refused`] when someone who must read it cannot, or it is held, or a rewrite removes it;
    /// [`MemberError::Unreadable`] as [`Member::renew`].
    pub async fn clear(&mut self, kind: &str, form: &Form) -> Result<(), MemberError> {
        loop {
            let wanted = self.membership.writes().clone();
            self.membership.clear(kind, form.clone());
            match self.run().await? {
                Outcome::Lost => self.enter_again(wanted).await?,
                outcome => return self.judge(outcome, Some(form)),
            }
        }
    }

    /// Keeps only some of the forms that it may write without asking; others know it two renewals later.
    pub fn keep(&mut self, keep: impl Fn(&Form) -> bool) {
        self.membership.keep(keep);
    }

    /// Has nobody begin to write forms that a rewrite is going to remove.
    ///
    /// # Errors
    /// [`MemberError::Refused`] while a registered process may write one of them without asking; hold the manifest, and try again when
    /// it has followed. What was marked stays marked until it is done again or [ended](Self::end_leaving).
    pub async fn begin_leaving(&mut self, forms: &[Form]) -> Result<(), MemberError> {
        self.membership.begin_leaving(forms.to_vec());
        let outcome = self.run().await?;
        self.judge(outcome, forms.first())
    }

    /// Says that none of the forms is stored any more: after a rewrite that has seen the whole journal. One whose mark somebody has ended
    /// meanwhile stays as stored, for others may have stored it again since.
    ///
    /// # Errors
    /// As [`Records`]; [`JournalError::Unknown`] when its lease has ended meanwhile: somebody may have stored them again.
    pub async fn end_leaving(&mut self, forms: &[Form]) -> Result<(), MemberError> {
        self.membership.end_leaving(forms.to_vec());
        let outcome = self.run().await?;
        self.judge(outcome, None)
    }

    /// Lets forms be written again that were to [leave](Self::begin_leaving), whoever has marked them: a rewrite that was killed is not to
    /// go on.
    ///
    /// # Errors
    /// As [`Member::end_leaving`].
    pub async fn cancel_leaving(&mut self, forms: &[Form]) -> Result<(), MemberError> {
        self.membership.cancel_leaving(forms.to_vec());
        let outcome = self.run().await?;
        self.judge(outcome, None)
    }

    /// Lets forms be written again that this process was to remove, and that no other one removes which is there: a rewrite has left some.
    ///
    /// # Errors
    /// As [`Member::end_leaving`].
    pub async fn give_up_leaving(&mut self, forms: &[Form]) -> Result<(), MemberError> {
        self.membership.give_up_leaving(forms.to_vec());
        let outcome = self.run().await?;
        self.judge(outcome, None)
    }

    /// Removes the registration. One that is not removed counts until its lease ends.
    ///
    /// # Errors
    /// As [`Records`].
    pub async fn leave(mut self) -> Result<(), MemberError> {
        self.membership.leave();
        self.run().await?;
        Ok(())
    }

    /// What it saw last.
    pub fn table(&self) -> &VersionTable {
        &self.table
    }

    /// The forms that it may write without asking.
    pub fn writes(&self) -> &BTreeSet<Form> {
        self.membership.writes()
    }

    /// The process's id.
    pub fn id(&self) -> WriterId {
        self.membership.id()
    }

    async fn enter_again(&mut self, wanted: BTreeSet<Form>) -> Result<(), MemberError> {
        self.membership.enter(wanted);
        let outcome = self.run().await?;
        self.judge(outcome, None)
    }

    fn judge(&self, outcome: Outcome, form: Option<&Form>) -> Result<(), MemberError> {
        match (outcome, form) {
            (Outcome::Unreadable(unreadable), _) => Err(UnreadableStored { unreadable }.into()),
            (Outcome::Refused(refusal), Some(form)) => {
                Err(MemberError::Refused { form: form.clone(), reason: sentence(form, &refusal) })
            }
            (Outcome::Lost, _) => Err(JournalError::Unknown {
                reason: format!("the registration of process {} was removed: its lease had ended", self.id()),
                source: None,
            }
            .into()),
            _ => Ok(()),
        }
    }

    /// Does what the state machine asks for, to its end.
    async fn run(&mut self) -> Result<Outcome, JournalError> {
        loop {
            match self.membership.request() {
                Request::Done(outcome) => return Ok(outcome),
                Request::Look => {
                    self.table = self.records.table().await?;
                    self.membership.answer(Answer::Seen(&self.table));
                }
                Request::Change(change) => {
                    let made = self.records.change(&change).await?;
                    self.membership.answer(Answer::Changed(made));
                }
                Request::Pause => {
                    sleep(PAUSE).await;
                    self.membership.answer(Answer::Paused);
                }
            }
        }
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("id", &self.id())
            .field("node", &self.membership.announcement().node())
            .field("writes", self.membership.writes())
            .finish_non_exhaustive()
    }
}

fn sentence(form: &Form, refusal: &Refusal) -> String {
    match refusal {
        Refusal::Objection(objection) => objection.sentence(form),
        Refusal::Written { node, by } => {
            format!(
                "process {node:?} ({by}) may still write it: hold the manifest below, or stop that process"
            )
        }
    }
}

/// Why a process may not take part, or not write.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemberError {
    /// It does not read what is stored.
    #[error(transparent)]
    Unreadable(#[from] UnreadableStored),
    /// A form is not written, or does not leave, for now.
    #[error("{form}: {reason}")]
    Refused {
        /// The form; of several the first.
        form: Form,
        /// Who stands against it.
        reason: String,
    },
    /// The journal's records cannot be asked.
    #[error("the journal's records of versions cannot be asked: {0}")]
    Journal(#[from] JournalError),
}

/// Versions are stored that a build does not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct UnreadableStored {
    /// Each manifest with what of it is stored and cannot be read; at least one.
    pub unreadable: Vec<Unreadable>,
}

impl fmt::Display for UnreadableStored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut newer, mut older) = (false, false);
        for (at, Unreadable { kind, manifest, stored, reads }) in self.unreadable.iter().enumerate() {
            let versions: Vec<String> = stored.iter().map(u32::to_string).collect();
            let (is, end) = if stored.len() == 1 { ("version", "is") } else { ("versions", "are") };
            let and = if at == 0 { "" } else { "; and " };
            write!(f, "{and}{is} {} of {manifest} (kind {kind:?}) {end} stored, ", versions.join(", "))?;
            write!(f, "and this build reads {} of it", read(reads))?;
            let newest = reads.as_ref().map_or(0, |reads| *reads.end());
            newer |= stored.iter().any(|version| *version > newest);
            older |= stored.iter().any(|version| *version <= newest);
        }
        f.write_str(": start a build that reads them")?;
        if newer {
            f.write_str(", or bring the journal down with `annals migrate rewrite --to LOCKFILE`")?;
        }
        if older {
            f.write_str(", or bring the journal up with that build's `annals migrate rewrite`")?;
        }
        for unreadable in &self.unreadable {
            write!(f, ", or start with --allow-unreadable {}", unreadable.manifest)?;
        }
        f.write_str(", and only the entities that hold such events fail")
    }
}

/// How long a registration counts that is not renewed.
pub const DEFAULT_LEASE: Duration = Duration::from_secs(30);
/// Between two looks at a process that is about to raise a version.
const PAUSE: Duration = Duration::from_millis(20);
