use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use annals_journal::{Manifest, Records, Timestamp, WriterId};
use annals_migrations::{
    Announcement, Form, Member, MemberError, Permission, Role, Versions, Written, WrittenForms,
};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until};

use super::Ask;
use crate::Clock;
use crate::node::Shared;
use crate::telemetry::{version_held, written_version};

/// Keeps a node registered, and its written forms in accordance with what all readers of the journal announce.
pub(crate) struct Keeper {
    member: Member,
    forms: Arc<WrittenForms>,
    kept: BTreeMap<Manifest, Kept>,
    lease: Duration,
    clock: Arc<dyn Clock>,
    until: Timestamp,
    node: String,
}

/// Something that the node can write.
pub(crate) struct Kept {
    pub(crate) kind: &'static str,
    pub(crate) role: Role,
    pub(crate) versions: Versions,
    /// What the forms say now.
    pub(crate) said: Option<Permission>,
}

impl Keeper {
    /// Registers a node.
    pub(crate) async fn register(
        records: Arc<dyn Records>,
        id: WriterId,
        announcement: Announcement,
        kept: BTreeMap<Manifest, Kept>,
        lease: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, MemberError> {
        let wanted = kept
            .values()
            .filter(|kept| kept.role != Role::Command)
            .flat_map(|kept| kept.versions.writes.iter().cloned())
            .collect();
        let node = announcement.node().to_owned();
        let began = clock.now();
        let member = Member::enter(records, id, announcement, lease, wanted).await?;
        let (forms, until) = (Arc::new(WrittenForms::new()), began.plus(lease));
        let mut keeper = Self { member, forms, kept, lease, clock, until, node };
        keeper.forms.valid_until(until);
        keeper.decide();
        Ok(keeper)
    }

    pub(crate) fn forms(&self) -> &Arc<WrittenForms> {
        &self.forms
    }

    /// Gives up the registration of a node that does not start.
    pub(crate) async fn leave(self) {
        for manifest in self.kept.keys() {
            written_version(manifest).set(0.0);
            version_held(manifest).set(0.0);
        }
        let node = self.node;
        if let Err(error) = self.member.leave().await {
            tracing::warn!(node, %error, "the node's registration was not removed: others count it until its lease ends");
        }
    }

    /// Renews and answers until the node has stopped, or nobody has it any more.
    pub(crate) async fn run(mut self, mut asked: UnboundedReceiver<Ask>, node: Weak<Shared>) {
        let mut next = Instant::now() + self.lease / RENEWALS;
        loop {
            let ask = tokio::select! {
                ask = asked.recv() => ask,
                () = sleep_until(next) => {
                    let renewed = self.renew(&node).await;
                    // One that has failed is tried again soon.
                    next = Instant::now() + self.lease / if renewed { RENEWALS } else { 10 * RENEWALS };
                    continue;
                }
            };
            match ask {
                Some(Ask::Clear(manifest, answer)) => {
                    // Who asked and has gone does not need it.
                    let _ = answer.send(self.clear(&manifest, &node).await);
                }
                Some(Ask::Leave(done)) => {
                    self.leave().await;
                    let _ = done.send(());
                    return;
                }
                None => return self.leave().await,
            }
        }
    }

    async fn renew(&mut self, node: &Weak<Shared>) -> bool {
        let began = self.clock.now();
        match self.member.renew().await {
            Ok(()) => {
                self.until = began.plus(self.lease);
                self.forms.valid_until(self.until);
                self.decide();
                true
            }
            Err(error) => {
                self.failed(error, node);
                false
            }
        }
    }

    /// Says what an error means, and stops the node that must not go on.
    fn failed(&mut self, error: MemberError, node: &Weak<Shared>) -> String {
        let sentence = error.to_string();
        let name = &self.node;
        match error {
            MemberError::Unreadable(unreadable) => {
                self.until = Timestamp::default();
                self.forms.valid_until(self.until);
                if let Some(node) = node.upgrade() {
                    tracing::error!(node = name, %unreadable, "the node was away for longer than its lease, and cannot go on: it stops");
                    node.stop_because(unreadable);
                }
            }
            error => {
                tracing::warn!(node = name, %error, lease = ?self.lease, "the node's registration was not renewed: when its lease ends, it writes nothing until it is");
            }
        }
        sentence
    }

    /// Finds out how a manifest may be written now.
    async fn clear(&mut self, manifest: &Manifest, node: &Weak<Shared>) -> Result<(), String> {
        if self.clock.now() > self.until && !self.renew(node).await {
            return Err(format!(
                "the node's registration has ended and cannot be renewed, so it does not know who reads {manifest}"
            ));
        }
        let mut refused = BTreeSet::new();
        loop {
            let Some(kept) = self.kept.get(manifest) else { return Ok(()) };
            let Some(form) = self.form(kept) else { break };
            if refused.contains(&form) || self.member.writes().contains(&form) {
                break;
            }
            match self.member.clear(kept.kind, &form).await {
                Ok(()) => {
                    tracing::info!(node = self.node, %manifest, version = form.version, r#as = %form.manifest, "written in this version from now on");
                }
                Err(MemberError::Refused { form, reason }) => {
                    tracing::info!(node = self.node, %form, reason, "not written in this version for now");
                    refused.insert(form);
                }
                Err(error) => return Err(self.failed(error, node)),
            }
        }
        self.decide();
        Ok(())
    }

    /// The form that everybody reads, by what was read last.
    fn form(&self, kept: &Kept) -> Option<Form> {
        self.member.table().agreement().form(kept.kind, &kept.versions).ok()
    }

    /// Sets the forms as everybody agrees on, by what was read last.
    fn decide(&mut self) {
        let agreement = self.member.table().agreement();
        let mut chosen = BTreeSet::new();
        for (manifest, kept) in &mut self.kept {
            let (permission, version) = match agreement.form(kept.kind, &kept.versions) {
                Err(none) => (Permission { written: Written::Refused(none.to_string()), ask: false }, 0),
                Ok(form) => {
                    // Nothing of a command is stored: who reads it is asked when it is sent.
                    let ask = kept.role != Role::Command && !self.member.writes().contains(&form);
                    let today = kept.versions.writes.first() == Some(&form);
                    let version = form.version;
                    chosen.insert(form.clone());
                    let written = if today { Written::Today } else { Written::As(form) };
                    (Permission { written, ask }, version)
                }
            };
            written_version(manifest).set(f64::from(version));
            version_held(manifest).set(agreement.held(manifest).map_or(-1.0, f64::from));
            kept.say(&self.node, &self.forms, manifest, permission);
        }
        self.member.keep(|form| chosen.contains(form));
    }
}

impl Kept {
    /// Says from now on how it is written.
    fn say(&mut self, node: &str, forms: &WrittenForms, manifest: &Manifest, permission: Permission) {
        let before = self.said.as_ref().map(|said| &said.written);
        if before != Some(&permission.written) {
            match &permission.written {
                Written::Today if before.is_none() => {}
                Written::Today => {
                    tracing::info!(node, %manifest, "everybody reads today's version, and no hold forbids it");
                }
                Written::As(form) => {
                    tracing::info!(node, %manifest, %form, "an older form is what everybody reads, and no hold forbids");
                }
                Written::Refused(reason) if self.role == Role::Command => {
                    tracing::debug!(node, %manifest, reason, "not everybody reads it");
                }
                Written::Refused(reason) => {
                    tracing::warn!(node, %manifest, reason, "cannot be written for now");
                }
            }
        }
        forms.set(manifest.clone(), permission.clone());
        self.said = Some(permission);
    }
}

/// So often a lease is renewed before it would end.
const RENEWALS: u32 = 3;
