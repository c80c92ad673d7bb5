use annals_journal::postgres::{OpenError, PostgresJournal, sqlx};
use annals_journal::{
    Gate, Journal, JournalError, JournalExt, Offset, RecordChange, RecordKey, Records, SliceRange,
};

use crate::support::{append, id, nr, token};
use crate::{postgres, run};

/// The grants of docs/backends.md for applications that cannot change tables.
const GRANTS: &str = "\
GRANT USAGE ON SCHEMA annals TO app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA annals TO app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA annals TO app;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA annals TO app;
";

fn in_schema(grants: &str, schema: &str, role: &str) -> String {
    grants.replace("SCHEMA annals", &format!("SCHEMA {schema}")).replace("TO app", &format!("TO {role}"))
}

#[test]
fn the_grants_are_those_of_the_page() {
    let page = include_str!("../../../docs/backends.md");
    assert!(page.contains(GRANTS), "docs/backends.md has other grants");
}

#[tokio::test]
async fn a_role_that_owns_the_schema_needs_nothing_else() {
    let Some(url) = postgres::url() else { return };
    let (schema, role) = (postgres::schema(), postgres::schema());
    run(&url, &format!("CREATE ROLE {role} LOGIN; CREATE SCHEMA {schema} AUTHORIZATION {role}")).await;
    let journal = postgres::open(&url.replace("postgres@", &format!("{role}@")), &schema).await;
    journal.append(append(&id("a"), token(1, 1), 0, 2)).await.unwrap();
    assert_eq!(journal.events_by_slice(SliceRange::ALL, Offset::BEGINNING, 10).await.unwrap().items.len(), 2);
}

#[tokio::test]
async fn an_application_writes_with_the_grants_of_the_page_and_can_change_no_table() {
    let Some(url) = postgres::url() else { return };
    let (schema, role) = (postgres::schema(), postgres::schema());
    let as_role = url.replace("postgres@", &format!("{role}@"));
    run(&url, &format!("CREATE ROLE {role} LOGIN")).await;
    let owner = postgres::open(&url, &schema).await;
    let error = PostgresJournal::open(&as_role, postgres::options(&schema)).await.unwrap_err();
    assert!(matches!(&error, OpenError::Forbidden { user, .. } if *user == role), "{error:?}");

    run(&url, &in_schema(GRANTS, &schema, &role)).await;
    let journal = postgres::open(&as_role, &schema).await;
    let a = id("a");
    journal.claim(&a, token(1, 1)).await.unwrap();
    journal.append(append(&a, token(1, 1), 0, 3)).await.unwrap();
    journal.delete_to(&a, nr(1)).await.unwrap();
    let change = RecordChange::set(RecordKey::new("tests/x").unwrap(), None, vec![1].into());
    let _revision = journal.change(vec![change]).await.pop().unwrap().unwrap();
    assert_eq!(journal.events_by_slice(SliceRange::ALL, Offset::BEGINNING, 10).await.unwrap().items.len(), 3);
    let mut connection = journal.database().writer().await.unwrap();
    let dropped = sqlx::raw_sql("DROP TABLE events").execute(&mut *connection).await;
    assert!(dropped.unwrap_err().to_string().contains("must be owner"));
    owner.database().close().await;
}

#[tokio::test]
async fn a_role_that_may_only_look_reads_and_writes_nothing() {
    let Some(url) = postgres::url() else { return };
    let (schema, role) = (postgres::schema(), postgres::schema());
    let owner = postgres::open(&url, &schema).await;
    owner.append(append(&id("a"), token(1, 1), 0, 2)).await.unwrap();
    let grants = format!(
        "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}"
    );
    run(&url, &grants).await;
    let as_role = url.replace("postgres@", &format!("{role}@"));
    let looked = PostgresJournal::open_read_only(&as_role, postgres::options(&schema)).await.unwrap();
    assert_eq!(looked.head(&id("a")).await.unwrap().seq_nr, nr(2));
    assert_eq!(looked.events_by_slice(SliceRange::ALL, Offset::BEGINNING, 10).await.unwrap().items.len(), 2);
    assert!(looked.get(Gate::key()).await.unwrap().is_none());
    // As a writer it is told which right it lacks, and nothing is stored.
    match PostgresJournal::open(&as_role, postgres::options(&schema)).await {
        Err(error) => assert!(matches!(error, OpenError::Forbidden { .. }), "{error:?}"),
        Ok(journal) => {
            let error = journal.append(append(&id("a"), token(1, 1), 2, 1)).await.unwrap_err();
            assert!(matches!(error, JournalError::Unavailable { .. }), "{error:?}");
            assert!(error.to_string().contains("docs/backends.md has the grants"), "{error}");
        }
    }
    assert_eq!(owner.head(&id("a")).await.unwrap().seq_nr, nr(2));
}
