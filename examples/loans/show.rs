//! `loans show`: what is known about one case, read from the journal alone, so that it disturbs nobody who owns the case.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;

use annals::journal::encryption::{
    DataKeyOptions, DataKeys, KeySource, RingKeys, SealedJournal, SealedOptions,
};
use annals::journal::{self, Journal, is_encrypted};
use annals::migrations::KindAdapter;
use annals::prelude::*;
use anyhow::{anyhow, bail};
use serde_json::Value;

use crate::event::LoanEvent;
use crate::loan::Loan;
use crate::replay::fold;

/// The case as text.
pub(crate) async fn show(url: &str, keys: &[String], case: &str) -> anyhow::Result<String> {
    let journal = open(url, keys).await?;
    let id = PersistenceId::new(Loan::KIND, case)?;
    let adapter = KindAdapter::<LoanEvent>::new(Loan::KIND)?;
    let mut history = String::new();
    let mut written = Ok(());
    let loan = fold(&*journal, &adapter, &id, |event| {
        let line = history.lines().count() + 1;
        if let (Some(fact), Ok(())) = (event.fact(), written) {
            let (at, by) = (fact.at.as_deref().unwrap_or("-"), fact.by.as_deref().unwrap_or("-"));
            written = write!(history, "{line:>5}  {at:<29}  {by:<8}  {event}");
            for (key, value) in &fact.attributes {
                written = written.and_then(|()| write!(history, "  {key}={}", text(value)));
            }
            history.push('\n');
        }
    })
    .await?;
    written?;
    if !loan.known {
        bail!(not_there(&*journal, case, url).await?);
    }
    Ok(format!("{}\n{history}", summary(case, &loan)?))
}

/// The journal alone, through its keys when it is encrypted: nothing is written.
async fn open(url: &str, keys: &[String]) -> anyhow::Result<Arc<dyn Journal>> {
    let opened = journal::open(url).await?;
    if !is_encrypted(&*opened.records).await? {
        return Ok(opened.journal);
    }
    if keys.is_empty() {
        bail!("{url} is encrypted: give its ring with --keys file:ring.json");
    }
    let sources = keys.iter().map(|source| source.parse()).collect::<Result<Vec<KeySource>, _>>()?;
    let masters = RingKeys::open_for_reading(&sources, &*opened.records).await?;
    let keys =
        DataKeys::open_for_reading(opened.records, Arc::new(masters), DataKeyOptions::default()).await?;
    Ok(Arc::new(SealedJournal::open(opened.journal, keys, SealedOptions::default()).await?))
}

async fn not_there(journal: &dyn Journal, case: &str, url: &str) -> anyhow::Result<anyhow::Error> {
    let any = journal.persistence_ids(None, 1_000).await?;
    let example = any.iter().find(|id| id.kind() == Loan::KIND && id.entity_id() != case);
    Ok(match example {
        Some(example) => {
            anyhow!("there is no case {case:?} in {url}; there is, for example, {:?}", example.entity_id())
        }
        None => anyhow!("there is no case in {url}: import a log first"),
    })
}

fn summary(case: &str, loan: &Loan) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    writeln!(out, "case     {case}")?;
    if let Some(name) = &loan.case.name {
        writeln!(out, "name     {name}")?;
    }
    writeln!(out, "outcome  {}", loan.outcome)?;
    if let Some(amount) = &loan.amount {
        writeln!(out, "amount   {amount}")?;
    }
    if let Some(step) = loan.step {
        writeln!(out, "step     {step}")?;
    }
    write!(out, "rows     {}", loan.rows)?;
    if let (Some(first), Some(last)) = (&loan.first_at, &loan.last_at) {
        write!(out, ", {first} to {last}")?;
    }
    out.push('\n');
    if loan.other > 0 {
        writeln!(out, "         {} of them are no activity of a loan application", loan.other)?;
    }
    for stage in loan.offers.stages() {
        writeln!(out, "offer    {stage}")?;
    }
    for (item, work) in &loan.work {
        let crate::loan::Work { scheduled, started, completed } = work;
        writeln!(out, "work     {item:<29} scheduled {scheduled}, started {started}, completed {completed}")?;
    }
    for (key, value) in &loan.case.attributes {
        writeln!(out, "{key:<8} {}", text(value))?;
    }
    Ok(out)
}

/// A text without its quotes, anything else as JSON.
fn text(value: &Value) -> Cow<'_, str> {
    value.as_str().map_or_else(|| Cow::Owned(value.to_string()), Cow::Borrowed)
}
