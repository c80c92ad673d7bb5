//! `loans replay`: recovers every case, then folds the journal's events by hand and compares.

use std::time::{Duration, Instant};

use annals::journal::{Journal, ReplayRange, Replayed};
use annals::migrations::{EventAdapter, KindAdapter};
use annals::prelude::*;
use anyhow::{Context as _, bail};
use futures::{Stream, TryStreamExt, stream};

use crate::event::LoanEvent;
use crate::insist::insist;
use crate::loan::{Loan, Show};
use crate::totals::Totals;

/// What came out of the journal.
pub(crate) struct Replay {
    /// What the recovered entities say.
    pub(crate) totals: Totals,
    /// How long recovering took.
    pub(crate) took: Duration,
    /// Cases whose entity is not what its events make.
    pub(crate) different: Vec<String>,
}

/// Recovers every case of a node's journal and checks it.
pub(crate) async fn replay(node: &Node) -> anyhow::Result<Replay> {
    let started = Instant::now();
    let totals = cases(node)
        .map_ok(|id| async move { recovered(node, &id).await })
        .try_buffer_unordered(CASES)
        .try_fold(Totals::default(), async |mut totals, loan| {
            // An import that was killed may have claimed an id without a row of it.
            if loan.known {
                totals.add(loan.rows, loan.outcome);
            }
            Ok(totals)
        })
        .await?;
    let took = started.elapsed();
    let adapter = &KindAdapter::<LoanEvent>::new(Loan::KIND)?;
    let different = cases(node)
        .map_ok(|id| async move {
            let entity = recovered(node, &id).await?;
            let folded = fold(&**node.journal(), adapter, &id, |_| {}).await?;
            anyhow::Ok((entity != folded).then(|| id.entity_id().to_owned()))
        })
        .try_buffer_unordered(CASES)
        .try_filter_map(async |different| Ok(different))
        .try_collect()
        .await?;
    Ok(Replay { totals, took, different })
}

/// The state that the events of a case make, without snapshots and entities; each event is shown to `see` first.
pub(crate) async fn fold(
    journal: &dyn Journal,
    adapter: &dyn EventAdapter<LoanEvent>,
    id: &PersistenceId,
    mut see: impl FnMut(&LoanEvent),
) -> anyhow::Result<Loan> {
    let mut loan = Loan::default();
    let mut events = journal.replay(ReplayRange::all(id));
    while let Some(item) = events.try_next().await? {
        let Replayed::Event(event) = item else {
            bail!("events of {id} were deleted");
        };
        let seq_nr = event.envelope.seq_nr;
        adapter
            .from_journal(&event.envelope, &mut |event| {
                see(&event);
                loan.apply(&event);
            })
            .with_context(|| format!("event {seq_nr} of {id}"))?;
    }
    Ok(loan)
}

async fn recovered(node: &Node, id: &PersistenceId) -> anyhow::Result<Loan> {
    let loan = node.entity::<Loan>(id.entity_id());
    insist(|| loan.ask(Show)).await.with_context(|| format!("recovering {id}"))
}

/// The ids of all cases, a page at a time.
fn cases(node: &Node) -> impl Stream<Item = anyhow::Result<PersistenceId>> {
    let pages = stream::try_unfold(Some(None), move |after: Option<Option<PersistenceId>>| async move {
        let Some(after) = after else {
            return anyhow::Ok(None);
        };
        let page = node.journal().persistence_ids(after.as_ref(), PAGE).await?;
        let next = (page.len() == PAGE).then(|| page.last().cloned());
        Ok(Some((stream::iter(page.into_iter().map(anyhow::Ok)), next)))
    });
    pages.try_flatten().try_filter(|id| std::future::ready(id.kind() == Loan::KIND))
}

/// How many cases are recovered at a time.
const CASES: usize = 64;
/// How many ids are read at once.
const PAGE: usize = 1_000;
