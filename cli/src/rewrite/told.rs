use std::collections::{BTreeMap, BTreeSet};

use annals_migrations::Form;
use annals_migrations::rewrite::{FormCounts, LeftAlone, Plan, RewriteReport, Rewrote};
use serde_json::{Value, json};

use super::RewriteArgs;
use crate::console::{print, print_json};
use crate::exit::Exit;
use crate::table::{Align, Table};

/// Says what would be done.
pub(super) fn planned(args: &RewriteArgs, plan: &Plan) -> anyhow::Result<Exit> {
    let Plan { report, in_the_way, .. } = plan;
    if args.json {
        let mut said = counts("planned", report, report);
        said["in_the_way"] = json!(in_the_way);
        print_json(&said)?;
    } else {
        print_counts(report)?;
        print(format!(
            "{} of {} events and snapshots would be rewritten; nothing was changed: this was a dry run, --apply does it",
            report.replaced(),
            report.seen()
        ))?;
    }
    name_the_rest(report);
    if let Some(reason) = in_the_way {
        eprintln!("in the way now: {reason}");
    }
    Ok(if report.left_alone == 0 && in_the_way.is_none() { Exit::Well } else { Exit::Found })
}

/// Says what was done.
pub(super) fn rewritten(args: &RewriteArgs, rewrote: &Rewrote) -> anyhow::Result<Exit> {
    let Rewrote { done, found, gone, left, .. } = rewrote;
    let to_do = found.replaced();
    if args.json {
        let mut said = counts("rewritten", done, found);
        said["still_to_do"] = json!(to_do);
        said["compared"] = json!(found.compared);
        said["gone"] = forms(gone);
        said["left"] = forms(left);
        print_json(&said)?;
    } else {
        print_counts(done)?;
        print(format!(
            "{} of {} events and snapshots were rewritten; a last look at {} found {to_do} more",
            done.replaced(),
            done.seen(),
            found.seen()
        ))?;
        if let Some(events) = found.compared {
            print(format!("{events} events are, byte for byte, what they were to be"))?;
        }
        for form in gone {
            print(format!("stored no more: {form}"))?;
        }
        for form in left {
            print(format!("still stored: {form}"))?;
        }
    }
    name_the_rest(found);
    if to_do > 0 {
        eprintln!("applications wrote older versions meanwhile: run it again");
    }
    Ok(if found.left_alone + to_do == 0 && left.is_empty() { Exit::Well } else { Exit::Found })
}

fn name_the_rest(report: &RewriteReport) {
    for LeftAlone { persistence_id, seq_nr, is_snapshot, reason } in &report.named {
        let what = if *is_snapshot { "snapshot" } else { "event" };
        eprintln!("{what} {seq_nr:?} of {persistence_id} is left as it is: {reason}");
    }
    if report.left_alone > report.named.len() as u64 {
        eprintln!("and {} more", report.left_alone - report.named.len() as u64);
    }
}

fn print_counts(report: &RewriteReport) -> anyhow::Result<()> {
    let mut table = Table::new([
        ("stored", Align::Left),
        ("version", Align::Right),
        ("becomes", Align::Left),
        ("count", Align::Right),
    ]);
    for (form, counts) in report.events.iter().chain(&report.snapshots) {
        for (becomes, count) in outcomes(counts) {
            table.row([form.manifest.to_string(), form.version.to_string(), becomes, count.to_string()]);
        }
    }
    for line in table.lines() {
        print(line)?;
    }
    for (kind, count) in &report.not_hosted {
        print(format!(
            "{count} events and snapshots of kind {kind:?} are left as they are: this build does not host it"
        ))?;
    }
    Ok(())
}

fn outcomes(counts: &FormCounts) -> Vec<(String, u64)> {
    let FormCounts { stay, become_form, dropped, left_alone } = counts;
    let mut outcomes = vec![("stays".to_owned(), *stay)];
    outcomes.extend(become_form.iter().map(|(form, count)| (form.to_string(), *count)));
    outcomes.extend([("is deleted".to_owned(), *dropped), ("is left as it is".to_owned(), *left_alone)]);
    outcomes.retain(|(_, count)| *count > 0);
    outcomes
}

fn counts(state: &str, report: &RewriteReport, last: &RewriteReport) -> Value {
    json!({
        "state": state, "seen": report.seen(), "replaced": report.replaced(),
        "changed_meanwhile": report.changed_meanwhile, "left_alone": last.left_alone,
        "events": by_form(&report.events), "snapshots": by_form(&report.snapshots), "not_hosted": report.not_hosted,
    })
}

fn by_form(found: &BTreeMap<Form, FormCounts>) -> Vec<Value> {
    let line = |(form, counts): (&Form, &FormCounts)| {
        let mut line = one(form);
        let becomes = counts.become_form.iter().filter(|(_, count)| **count > 0).map(|(to, count)| {
            let mut to = one(to);
            to["count"] = json!(count);
            to
        });
        line["becomes"] = becomes.collect();
        for (name, count) in
            [("stay", counts.stay), ("deleted", counts.dropped), ("left_alone", counts.left_alone)]
        {
            line[name] = json!(count);
        }
        line
    };
    found.iter().map(line).collect()
}

fn forms(forms: &BTreeSet<Form>) -> Value {
    forms.iter().map(one).collect()
}

fn one(form: &Form) -> Value {
    json!({"manifest": form.manifest.as_str(), "version": form.version})
}
