//! How the journal in this directory was recorded: by a node, from commands.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::sync::Arc;

use annals::actors::{Node, Stores};
use annals::journal::MemoryJournal;
use annals::snapshot::MemorySnapshotStore;
use annals::testing::export;

use crate::loan::{End, Loan, Offer, SendBack, Submit};

/// Writes a new recording; answers how many events it has.
pub(crate) async fn record(to: &Path) -> anyhow::Result<u64> {
    let journal = Arc::new(MemoryJournal::new());
    let stores = Stores {
        journal: journal.clone(),
        records: journal.clone(),
        snapshots: Arc::new(MemorySnapshotStore::new()),
    };
    let node = Node::builder("loans").entity::<Loan>().start(stores).await?;
    for number in 0..40_u64 {
        let loan = node.entity::<Loan>(&format!("{}", 173_688 + number));
        let amount = 1_000 * (number % 7 + 1);
        loan.ask(Submit { amount }).await?;
        for offer in 0..number % 3 {
            loan.ask(Offer { amount: amount - 100 * offer }).await?;
            loan.ask(SendBack { signed: offer == 1 }).await?;
        }
        match number % 6 {
            0 => drop(loan.ask(End::Cancel).await?),
            1 => drop(loan.ask(End::Decline { reason: "income".into() }).await?),
            _ => {}
        }
    }
    node.shutdown().await;
    let mut out = BufWriter::new(File::create(to)?);
    Ok(export(&*journal, &mut out).await?)
}
