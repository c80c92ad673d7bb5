use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use annals_journal::{Journal, Manifest, Records, WriterId};
use annals_snapshot::SnapshotStore;
use futures::future::{Either, select};
use tokio::sync::Mutex;
use tokio::time::sleep;

use super::waiting::Waiting;
use super::{RewriteError, RewriteReport, RewriteSettings, Rewriter, Sweep, Target};
use crate::{Announcement, Form, Member, MemberError, VersionRecords, VersionTable};

/// Rewrites a journal in place while others use it, and says in the journal's records what is stored afterwards.
///
/// ```text
/// register ─→ wait until nobody stands against it ─→ end the marks of one that was killed ─→ hold down what the target does not read
///   ─→ mark the forms that leave: nobody writes them any more ─→ wait until nobody may still write one
///   ─→ sweep ─→ look at everything, compare ─→ forms that are gone: stored no more; forms that remain: let be written again
/// ```
///
/// So a build that reads what is left starts afterwards, and one that runs meanwhile never meets what it cannot read.
///
/// # Cancel safety
/// One whose future is dropped is one that was killed: events were replaced or not, and forms stay marked as leaving. Start it again, or one
/// with another target, which lets be written again what it keeps.
#[derive(Debug)]
pub struct Rewriting {
    journal: Arc<dyn Journal>,
    records: Arc<dyn Records>,
    snapshots: Arc<dyn SnapshotStore>,
    rewriter: Rewriter,
    target: Target,
    settings: RewriteSettings,
    wait: Duration,
    lease: Duration,
}

/// What a rewriting would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// What would become what.
    pub report: RewriteReport,
    /// Who stands against it now, and what to do about it.
    pub in_the_way: Option<String>,
}

/// What a rewriting has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rewrote {
    /// What was done.
    pub done: RewriteReport,
    /// What the last look found.
    pub found: RewriteReport,
    /// Forms that are stored no more: a build that does not read them starts.
    pub gone: BTreeSet<Form>,
    /// Forms that the target does not keep and that are stored all the same; nothing forbids to write them.
    pub left: BTreeSet<Form>,
}

impl Rewriting {
    /// Over a journal, its records and the snapshots beside it, with the steps of the kinds that a build hosts.
    pub fn new(
        journal: Arc<dyn Journal>,
        records: Arc<dyn Records>,
        snapshots: Arc<dyn SnapshotStore>,
        rewriter: Rewriter,
        target: Target,
    ) -> Self {
        let settings = RewriteSettings::default();
        Self { journal, records, snapshots, rewriter, target, settings, wait: WAIT, lease: LEASE }
    }

    /// How the sweep goes.
    #[must_use]
    pub fn settings(mut self, settings: RewriteSettings) -> Self {
        self.settings = settings;
        self
    }

    /// How long it waits for processes that stand against it; default 45 s, in which the registration of one that was killed ends.
    #[must_use]
    pub fn wait(mut self, limit: Duration) -> Self {
        self.wait = limit;
        self
    }

    /// How long others count with it after it was killed; default 6 s.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease.max(Duration::from_millis(100));
        self
    }

    /// What [`Rewriting::apply`] would do. Writes nothing. `progress` is told how many events, and snapshots, were looked at.
    ///
    /// # Errors
    /// [`RewriteError`] when something cannot be read.
    pub async fn plan(self, progress: &(dyn Fn(u64) + Send + Sync)) -> Result<Plan, RewriteError> {
        let table = VersionRecords::new(self.records.clone()).table().await?;
        let in_the_way = self.in_the_way(&table, None).err().map(|error| error.to_string());
        let report = self.into_sweep().plan(progress).await?;
        Ok(Plan { report, in_the_way })
    }

    /// Rewrites. `progress` is told how many events, and snapshots, were looked at; `waits` for whom it waits, once for each reason.
    ///
    /// # Errors
    /// [`RewriteError`]; what was replaced stays replaced. Start it again.
    pub async fn apply(
        self,
        progress: &(dyn Fn(u64) + Send + Sync),
        waits: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Rewrote, RewriteError> {
        let member = self.enter(false).await?;
        let lease = self.lease;
        let member = Arc::new(Mutex::new(Registered { until: Instant::now() + lease, member }));
        let rewritten = {
            let work = std::pin::pin!(self.rewrite(&member, progress, waits));
            let renewed = std::pin::pin!(keep_registered(&member, lease));
            match select(work, renewed).await {
                Either::Left((done, _)) => done,
                Either::Right((error, _)) => Err(error),
            }
        };
        // One that is not removed counts until its lease ends.
        if let Ok(registered) = Arc::try_unwrap(member) {
            let _ = registered.into_inner().member.leave().await;
        }
        rewritten
    }

    async fn rewrite(
        self,
        shared: &Arc<Mutex<Registered>>,
        progress: &(dyn Fn(u64) + Send + Sync),
        waits: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Rewrote, RewriteError> {
        let leaving = self.begin(shared, waits).await?;
        let lease = self.lease;
        let (done, found) = {
            let member = Arc::clone(shared);
            let sweep = self.into_sweep().clear_with(Box::new(move |kind, form| {
                let member = Arc::clone(&member);
                Box::pin(async move {
                    let mut registered = member.lock().await;
                    registered.member.clear(&kind, &form).await.map_err(|error| match error {
                        MemberError::Refused { reason, .. } => reason,
                        other => other.to_string(),
                    })
                })
            }));
            sweep.apply(progress).await?
        };
        let remaining = found.remaining();
        let is_left = |form: &Form| {
            found.has_unread_lists
                || remaining.contains(form)
                || found.events.get(form).or(found.snapshots.get(form)).is_some()
        };
        let (mut left, mut gone): (BTreeSet<Form>, BTreeSet<Form>) = leaving.into_iter().partition(is_left);
        let mut registered = shared.lock().await;
        registered.check(lease)?;
        registered.member.end_leaving(&Vec::from_iter(gone.iter().cloned())).await?;
        // One that was marked by nobody any more is as good as stored.
        let table = registered.member.table();
        let stored = |form: &Form| {
            table.watermarks.get(&form.manifest).is_some_and(|(_, mark)| mark.stored.contains(&form.version))
        };
        left.extend(gone.extract_if(.., |form| stored(form)));
        // What is still to be replaced is so when it is run again.
        if found.replaced() == 0 {
            registered.member.give_up_leaving(&Vec::from_iter(left.iter().cloned())).await?;
        }
        Ok(Rewrote { done, found, gone, left })
    }

    /// Registers as one that hosts nothing, and may hold everything down that the target does not read.
    async fn enter(&self, holds: bool) -> Result<Member, RewriteError> {
        let mut announcement = Announcement::new(NAME);
        for (_, manifest) in self.manifests().into_iter().filter(|_| holds) {
            if let Some(highest) = self.target.highest(&manifest).filter(|highest| *highest < u32::MAX) {
                announcement.hold(manifest, highest);
            }
        }
        let (records, id) = (Arc::clone(&self.records), WriterId::random());
        Ok(Member::enter(records, id, announcement, self.lease, BTreeSet::new()).await?)
    }

    /// Waits until nobody stands against it, and has nobody write any more what leaves.
    async fn begin(
        &self,
        shared: &Mutex<Registered>,
        waits: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<BTreeSet<Form>, RewriteError> {
        let mut waiting = Waiting::new(self.wait, waits);
        while let Err(error) = self.clear_the_way(shared).await {
            waiting.wait_or_give_up(error).await?;
        }
        // Only now: what an earlier one has marked and what is held here could be everything that somebody can write.
        let holding = self.enter(true).await?;
        let began = Instant::now();
        {
            let mut registered = shared.lock().await;
            let before = std::mem::replace(&mut registered.member, holding);
            registered.until = began + self.lease;
            before.leave().await?;
        }
        loop {
            match self.try_to_begin(shared).await {
                Ok(leaving) => return Ok(leaving),
                Err(error) => waiting.wait_or_give_up(error).await?,
            }
        }
    }

    /// Ends the marks of an earlier one, when nobody stands against this one.
    async fn clear_the_way(&self, shared: &Mutex<Registered>) -> Result<(), RewriteError> {
        let mut registered = shared.lock().await;
        registered.renew(self.lease).await?;
        let member = &mut registered.member;
        self.in_the_way(member.table(), Some(member.id()))?;
        let marked = self.marked(member.table())?;
        Ok(member.cancel_leaving(&marked).await?)
    }

    async fn try_to_begin(&self, shared: &Mutex<Registered>) -> Result<BTreeSet<Form>, RewriteError> {
        let mut registered = shared.lock().await;
        registered.renew(self.lease).await?;
        let member = &mut registered.member;
        self.in_the_way(member.table(), Some(member.id()))?;
        let mut leaving = self.stored(member.table(), false);
        loop {
            member.begin_leaving(&Vec::from_iter(leaving.iter().cloned())).await?;
            // Somebody may have stored another one before it saw that it is held.
            let marked = leaving.len();
            leaving.extend(self.stored(member.table(), false));
            if leaving.len() == marked {
                return Ok(leaving);
            }
        }
    }

    /// Stored forms of the kinds that are hosted, which the target keeps, or does not.
    fn stored(&self, table: &VersionTable, kept: bool) -> BTreeSet<Form> {
        let today = self.today();
        let mut forms = BTreeSet::new();
        for (manifest, (_, watermark)) in &table.watermarks {
            if !self.rewriter.hosts(&watermark.kind) {
                continue;
            }
            let newest =
                today.iter().find(|(_, form)| form.manifest == *manifest).map(|(_, form)| form.version);
            let versions =
                watermark.stored.iter().chain(watermark.raising.as_ref().map(|(version, _)| version));
            let all = versions.map(|version| Form::new(manifest.clone(), *version));
            forms.extend(all.filter(|form| self.target.keeps(form, newest) == kept));
        }
        forms
    }

    /// Forms that an earlier one has marked as leaving, and that the target keeps; unless that one is still at work.
    fn marked(&self, table: &VersionTable) -> Result<Vec<Form>, RewriteError> {
        let (agreement, mut marked) = (table.agreement(), Vec::new());
        for form in self.stored(table, true) {
            let Some((_, watermark)) = table.watermarks.get(&form.manifest) else { continue };
            if !watermark.leaving.contains_key(&form.version) {
                continue;
            }
            if let Some(objection) = agreement.opposed(&watermark.kind, &form) {
                return Err(RewriteError::Refused { reason: objection.sentence(&form), form });
            }
            marked.push(form);
        }
        Ok(marked)
    }

    /// Looks for a process that could not read what would be written, or that would store again what would be removed.
    fn in_the_way(&self, table: &VersionTable, own: Option<WriterId>) -> Result<(), RewriteError> {
        let agreement = table.agreement();
        let others = || agreement.readers().filter(|(id, _)| Some(*id) != own);
        if self.settings.allow_loss {
            let hosted =
                |other: &Announcement| other.kinds().keys().find(|kind| self.rewriter.hosts(kind)).cloned();
            if let Some((id, node, kind)) =
                others().find_map(|(id, other)| Some((id, other.node().to_owned(), hosted(other)?)))
            {
                return Err(RewriteError::Hosted { node, id, kind });
            }
        }
        let leaving = self.stored(table, false);
        if leaving.is_empty() {
            return Ok(());
        }
        let today = self.today();
        if matches!(self.target, Target::Newest) {
            for (kind, form) in
                today.iter().filter(|(_, form)| leaving.iter().any(|old| old.manifest == form.manifest))
            {
                if let Some(objection) = agreement.opposed(kind, form) {
                    return Err(RewriteError::Refused {
                        form: form.clone(),
                        reason: objection.sentence(form),
                    });
                }
            }
            return Ok(());
        }
        for (kind, form) in today.iter().filter(|(_, form)| !self.target.keeps(form, None)) {
            let by_others = others().filter_map(|(_, other)| other.holds().get(&form.manifest));
            let held = table.holds.get(&form.manifest).into_iter().chain(by_others).min();
            let at = self.target.highest(&form.manifest).unwrap_or_default();
            if held.is_some_and(|held| *held <= at) {
                continue;
            }
            if let Some((id, other)) = others().find(|(_, other)| other.reads(kind, form) == Some(true)) {
                let reason = format!(
                    "process {:?} ({id}) knows it and would store it again: stop that process, or run `annals schema hold {} {at}`",
                    other.node(),
                    form.manifest
                );
                return Err(RewriteError::InTheWay { form: form.clone(), reason });
            }
        }
        Ok(())
    }

    /// What this build writes today, with its kind.
    fn today(&self) -> Vec<(String, Form)> {
        let mut today = Vec::new();
        for (kind, versions) in self.rewriter.versions() {
            let forms = versions.into_iter().filter_map(|of| of.writes.into_iter().next());
            today.extend(forms.map(|form| (kind.to_owned(), form)));
        }
        today
    }

    /// All manifests that this build can write, with their kinds.
    fn manifests(&self) -> BTreeSet<(String, Manifest)> {
        let mut manifests = BTreeSet::new();
        for (kind, versions) in self.rewriter.versions() {
            let forms = versions.into_iter().flat_map(|of| of.writes);
            manifests.extend(forms.map(|form| (kind.to_owned(), form.manifest)));
        }
        manifests
    }

    fn into_sweep(self) -> Sweep {
        Sweep::new(self.journal, self.snapshots, self.rewriter, self.target).settings(self.settings)
    }
}

/// A member, and until when others certainly count with it.
struct Registered {
    member: Member,
    until: Instant,
}

impl Registered {
    async fn renew(&mut self, lease: Duration) -> Result<(), RewriteError> {
        let began = Instant::now();
        self.member.renew().await?;
        self.until = began + lease;
        Ok(())
    }

    fn check(&self, lease: Duration) -> Result<(), RewriteError> {
        if Instant::now() > self.until { Err(RewriteError::Away(lease)) } else { Ok(()) }
    }
}

/// Renews until that fails for a whole lease.
async fn keep_registered(shared: &Mutex<Registered>, lease: Duration) -> RewriteError {
    loop {
        sleep(lease / RENEWALS).await;
        let mut registered = shared.lock().await;
        if let Err(away) = registered.check(lease) {
            return away;
        }
        match registered.renew(lease).await {
            Ok(()) | Err(RewriteError::Member(MemberError::Journal(_))) => {}
            Err(error) => return error,
        }
    }
}

/// What others read of it in their sentences.
const NAME: &str = "annals migrate rewrite";
const WAIT: Duration = Duration::from_secs(45);
const LEASE: Duration = Duration::from_secs(6);
const RENEWALS: u32 = 3;
