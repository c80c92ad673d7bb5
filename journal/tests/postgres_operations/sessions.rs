use std::time::Duration;

use annals_journal::postgres::PostgresJournal;
use annals_journal::postgres::sqlx::{self, AssertSqlSafe, Connection as _, PgConnection};
use annals_journal::{Journal, JournalError, JournalExt};

use crate::support::{append, id, nr, token};
use crate::{postgres, run};

/// An operator, a pooler or a firewall ends connections: the next read does not see it, the next write is certain or says that it is not.
#[tokio::test]
async fn connections_that_were_ended_are_opened_anew() {
    let Some(url) = postgres::url() else { return };
    let schema = postgres::schema();
    let named = format!("{url}?application_name={schema}");
    let journal = PostgresJournal::open(&named, postgres::options(&schema)).await.unwrap();
    let a = id("a");
    for head in 0..5 {
        let token = token(1, head + 1);
        // As after each error: claim, and read where it is.
        let claimed = loop {
            match journal.claim(&a, token).await {
                Ok(claimed) => break claimed,
                Err(JournalError::Unavailable { .. } | JournalError::Unknown { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(claimed.seq_nr.get(), head);
        assert_eq!(journal.append(append(&a, token, head, 1)).await.unwrap().seq_nr, nr(head + 1));
        run(
            &url,
            &format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{schema}'"
            ),
        )
        .await;
        assert_eq!(journal.head(&a).await.unwrap().seq_nr, nr(head + 1), "a read that is done again");
    }
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_certainly_not_stored() {
    let Some(url) = postgres::url() else { return };
    let schema = postgres::schema();
    let hasty = format!("{url}?options=-c%20statement_timeout=200");
    let journal = PostgresJournal::open(&hasty, postgres::options(&schema)).await.unwrap();
    let a = id("a");
    journal.append(append(&a, token(1, 1), 0, 1)).await.unwrap();
    let mut somebody = PgConnection::connect(&url).await.unwrap();
    let mut open = somebody.begin().await.unwrap();
    let lock = format!("SELECT 1 FROM {schema}.streams FOR UPDATE");
    sqlx::query(AssertSqlSafe(lock)).execute(&mut *open).await.unwrap();
    let error = journal.append(append(&a, token(1, 1), 1, 1)).await.unwrap_err();
    assert!(matches!(error, JournalError::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("statement_timeout"), "{error}");
    open.rollback().await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), async {
        assert_eq!(journal.append(append(&a, token(1, 1), 1, 1)).await.unwrap().seq_nr, nr(2));
    })
    .await
    .unwrap();
}
