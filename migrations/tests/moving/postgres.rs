//! A rewriting and a copy on the PostgreSQL server that `DATABASE_URL` names, as `cargo xtask test` gives it.

use std::io::Write as _;
use std::sync::Arc;

use annals_journal::postgres::{Options, PostgresJournal};
use annals_journal::{Epoch, Journal, Manifest, Token, WriterId};
use annals_migrations::Versions;
use annals_migrations::copy::{Copy, Side};
use annals_migrations::rewrite::{Sweep, Target};
use annals_snapshot::MemorySnapshotStore;

use crate::history::{Old, Stored, changes, id, moved, rewriter};

#[tokio::test]
async fn a_journal_on_a_server_is_rewritten_and_copied_both_ways() {
    let Ok(server) = std::env::var("DATABASE_URL") else {
        assert!(std::env::var_os("CI").is_none(), "CI tests with PostgreSQL, and DATABASE_URL is not set");
        // Not through `eprintln!`, which a passing test keeps to itself.
        let _ = writeln!(std::io::stderr(), "!!! NOT TESTED with PostgreSQL: DATABASE_URL is not set");
        return;
    };
    let schema: String = WriterId::random().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let options = Options::default().schema(format!("annals_{schema}"));
    let journal = Arc::new(PostgresJournal::open(&server, options).await.unwrap());
    let snapshots = Arc::new(MemorySnapshotStore::new());
    let there = || Side {
        name: "there".into(),
        journal: journal.clone(),
        records: journal.clone(),
        snapshots: snapshots.clone(),
    };
    let here = |name: &str, stored: &Stored| Side {
        name: name.into(),
        journal: stored.journal.clone(),
        records: stored.journal.clone(),
        snapshots: stored.snapshots.clone(),
    };

    let from = Stored::empty();
    let both = Old { manifest: "account.both", version: 1, payload: r#"{"amount":5,"text":"x"}"#.into() };
    for at in 0..60 {
        let event = if at % 7 == 0 { both.clone() } else { moved(at % 3 + 1, at.into(), "EUR") };
        from.append(&id(at as usize % 4), Token::new(Epoch(1), 1), &event).await;
    }
    from.journal.delete_to(&id(1), annals_journal::SeqNr::new(3).unwrap()).await.unwrap();
    let report = Copy::new(here("here", &from), there()).cut_over(&|_| {}).await.unwrap();
    assert_eq!((report.compared, report.compared_events), (4, 57));

    let first = ["account.moved", "account.noted", "account.both", "account.state"];
    let first = first.map(|name| Versions::only(Manifest::new(name).unwrap(), 1));
    for target in [Target::Newest, Target::readable_by(first), Target::Newest] {
        let sweep = Sweep::new(journal.clone(), snapshots.clone(), rewriter(), target);
        let (done, found) = sweep.apply(&|_| {}).await.unwrap();
        assert!(done.replaced() > 0, "{done:?}");
        assert_eq!((found.replaced(), found.left_alone, found.compared), (0, 0, Some(57)));
        for number in 0..4 {
            assert_eq!(changes(&*journal, &id(number)).await, from.changes(&id(number)).await);
        }
    }

    let back = Stored::empty();
    let report = Copy::new(there(), here("back", &back)).cut_over(&|_| {}).await.unwrap();
    assert_eq!((report.compared, report.compared_events), (4, 57));
    assert_eq!(back.seen().await, from.seen().await);
    journal.database().close().await;
}
