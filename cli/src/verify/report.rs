use serde::Serialize;

use super::Args;
use super::entity::{Checked, Count};
use super::finding::Finding;
use crate::console::{Progress, print, print_json};
use crate::exit::Exit;
use crate::stores::GIVE_KEYS;

/// Prints findings as they come, and what they come to.
pub(super) struct Report {
    json: bool,
    pub(super) progress: Progress,
    pub(super) totals: Totals,
}

#[derive(Default, Serialize)]
pub(super) struct Totals {
    ids: u64,
    events: u64,
    snapshots: u64,
    pub(super) findings: u64,
    /// How much of it is sealed; `None`: the journal has no keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sealed: Option<Sealed>,
}

#[derive(Default, Serialize)]
pub(super) struct Sealed {
    /// Whether the keys were there to look into what is sealed.
    checked: bool,
    events: u64,
    snapshots: u64,
    in_the_clear: Plain,
    erased_ids: u64,
    erased_events: u64,
    erased_snapshots: u64,
}

#[derive(Default, Serialize)]
struct Plain {
    ids: u64,
    events: u64,
    snapshots: u64,
}

impl Report {
    pub(super) fn new(args: &Args, progress: Progress, sealed: Option<Sealed>) -> Self {
        Self { json: args.json, progress, totals: Totals { sealed, ..Totals::default() } }
    }

    pub(super) fn findings(&mut self, findings: impl IntoIterator<Item = Finding>) -> anyhow::Result<()> {
        for finding in findings {
            self.totals.findings += 1;
            if self.json {
                self.progress.print_json(&serde_json::json!({ "finding": finding }))?;
            } else {
                self.progress.print(finding.to_string())?;
            }
        }
        Ok(())
    }

    /// Takes in what was found about an id.
    pub(super) fn id(&mut self, checked: Checked) -> anyhow::Result<()> {
        let Checked { findings, events, snapshots, erased, .. } = checked;
        self.progress.add(1);
        self.totals.ids += 1;
        self.totals.events += events.all;
        self.totals.snapshots += snapshots.all;
        if let Some(sealed) = &mut self.totals.sealed {
            sealed.add(events, snapshots, erased);
        }
        self.findings(findings.into_vec())
    }

    pub(super) fn end(self) -> anyhow::Result<Exit> {
        let Self { json, progress, totals } = self;
        drop(progress);
        let Totals { ids, events, snapshots, findings, sealed } = &totals;
        if json {
            print_json(&serde_json::json!({ "ok": *findings == 0, "totals": totals }))?;
        } else {
            sealed.as_ref().map_or(Ok(()), Sealed::print)?;
            let verdict = match findings {
                0 => "nothing is wrong".to_owned(),
                1 => "1 finding".to_owned(),
                findings => format!("{findings} findings"),
            };
            print(format!("{ids} ids, {events} events, {snapshots} snapshots: {verdict}"))?;
        }
        Ok(if *findings == 0 { Exit::Well } else { Exit::Found })
    }
}

impl Sealed {
    pub(super) fn new(checked: bool) -> Self {
        Self { checked, ..Self::default() }
    }

    fn add(&mut self, events: Count, snapshots: Count, erased: bool) {
        self.events += events.sealed;
        self.snapshots += snapshots.sealed;
        self.in_the_clear.events += events.plain;
        self.in_the_clear.snapshots += snapshots.plain;
        self.in_the_clear.ids += u64::from(events.plain + snapshots.plain > 0);
        self.erased_ids += u64::from(erased);
        self.erased_events += events.erased;
        self.erased_snapshots += snapshots.erased;
    }

    fn print(&self) -> anyhow::Result<()> {
        let Self { events, snapshots, in_the_clear, .. } = self;
        print(format!("sealed: {events} events, {snapshots} snapshots"))?;
        let Plain { ids, events, snapshots } = in_the_clear;
        print(format!("in the clear: {events} events, {snapshots} snapshots, of {ids} ids"))?;
        if self.erased_ids + self.erased_events + self.erased_snapshots > 0 {
            let Self { erased_ids: ids, erased_events: events, erased_snapshots: snapshots, .. } = self;
            print(format!(
                "erased: {ids} ids; {events} events, {snapshots} snapshots that nobody opens again"
            ))?;
        }
        if !self.checked {
            print(format!(
                "what is sealed was not looked into, and its chains were not checked: {GIVE_KEYS}"
            ))?;
        }
        Ok(())
    }
}
