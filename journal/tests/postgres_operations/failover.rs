use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use annals_journal::postgres::{OpenError, PostgresJournal};
use annals_journal::{
    Journal, JournalError, JournalExt, Offset, PageItem, PersistenceId, ReplayRange, SliceRange, Token,
};
use annals_services::{Private, Settings};
use futures::TryStreamExt as _;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::support::{append, id, token};
use crate::{folder, postgres, run, server};

/// An address that leads to whoever is the primary, as a service of Kubernetes or a load balancer gives.
struct Address {
    port: u16,
    target: Arc<AtomicU16>,
}

impl Address {
    async fn of(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = Arc::new(AtomicU16::new(port_of(url)));
        let address = Self { port, target: Arc::clone(&target) };
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let target = target.load(Ordering::SeqCst);
                tokio::spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(("127.0.0.1", target)).await {
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        address
    }

    fn leads_to(&self, url: &str) {
        self.target.store(port_of(url), Ordering::SeqCst);
    }

    fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }
}

fn port_of(url: &str) -> u16 {
    url.rsplit(':').next().unwrap().split('/').next().unwrap().parse().unwrap()
}

/// Owns an id as an entity does: after each error under a newer activation, from where the journal is.
async fn write_until(journal: &PostgresJournal, id: &PersistenceId, activation: &mut u64, head: u64) -> u64 {
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < Duration::from_secs(60), "the journal does not come back");
        *activation += 1;
        let Ok(claimed) = journal.claim(id, owner(*activation)).await else { continue };
        let mut at = claimed.seq_nr.get();
        while at < head {
            match journal.append(append(id, owner(*activation), at, 1)).await {
                Ok(stored) => at = stored.seq_nr.get(),
                Err(JournalError::Unavailable { .. } | JournalError::Unknown { .. }) => break,
                Err(error) => panic!("{error}"),
            }
        }
        if at >= head {
            return at;
        }
    }
}

fn owner(activation: u64) -> Token {
    token(1, activation)
}

async fn read_on(journal: &PostgresJournal, after: &mut Offset) -> Vec<u64> {
    let page = journal.events_by_slice(SliceRange::ALL, *after, 1000).await.unwrap();
    *after = page.complete_to;
    let number = |item: &PageItem| match item {
        PageItem::Event(event) => event.envelope.seq_nr.get(),
        other => panic!("{other:?}"),
    };
    page.items.iter().map(number).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_to_a_standby_loses_nothing_acknowledged() {
    let Some((primary, url)) = server(&Settings::default()) else { return };
    let standby = Private::from(primary.standby(&folder()).unwrap_or_else(|error| panic!("{error:#}")));
    let other = standby.start(&Settings::default()).unwrap();
    // Answered is what both have.
    run(&url, "ALTER SYSTEM SET synchronous_standby_names = '*'").await;
    run(&url, "SELECT pg_reload_conf()").await;
    while !follows(&url).await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    let address = Address::of(&url).await;
    let options = || postgres::options("annals").acquire_timeout(Duration::from_secs(2));
    let journal = PostgresJournal::open(&address.url(), options()).await.unwrap();
    let a = id("a");
    let mut activation = 0;
    write_until(&journal, &a, &mut activation, 10).await;
    let mut mark = Offset::BEGINNING;
    assert_eq!(read_on(&journal, &mut mark).await, (1..=10).collect::<Vec<_>>());
    write_until(&journal, &a, &mut activation, 15).await;

    tokio::task::block_in_place(|| primary.kill().unwrap());
    address.leads_to(&other);
    // The standby answers, takes no writes, and says so; nothing was stored.
    let error = loop {
        match journal.append(append(&a, owner(activation), 15, 1)).await.unwrap_err() {
            // What was connected to the dead one.
            JournalError::Unknown { .. } => {}
            error @ JournalError::Unavailable { .. } if error.to_string().contains("standby") => break error,
            JournalError::Unavailable { .. } => {}
            error => panic!("{error}"),
        }
    };
    assert!(error.to_string().contains("connect to the primary"), "{error}");
    let events: Vec<_> = journal.replay(ReplayRange::all(&a)).try_collect().await.unwrap();
    assert_eq!(events.len(), 15);
    let refused = PostgresJournal::open(&other, postgres::options("elsewhere")).await.unwrap_err();
    assert!(matches!(refused, OpenError::ReadOnly { .. }), "{refused:?}");

    tokio::task::block_in_place(|| standby.promote().unwrap());
    run(&other, "ALTER SYSTEM RESET synchronous_standby_names").await;
    run(&other, "SELECT pg_reload_conf()").await;
    assert_eq!(write_until(&journal, &a, &mut activation, 20).await, 20);
    // A reader goes on from its old offset, under the generation of the new primary.
    let generation = mark.generation;
    assert_eq!(read_on(&journal, &mut mark).await, (11..=20).collect::<Vec<_>>());
    assert!(mark.generation > generation, "{mark}");
    journal.database().close().await;
}

async fn follows(url: &str) -> bool {
    use annals_journal::postgres::sqlx::{Connection as _, PgConnection, query_scalar};
    let mut admin = PgConnection::connect(url).await.unwrap();
    let state: Option<String> =
        query_scalar("SELECT sync_state FROM pg_stat_replication").fetch_optional(&mut admin).await.unwrap();
    state.as_deref() == Some("sync")
}
