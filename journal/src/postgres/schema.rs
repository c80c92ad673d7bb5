use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{Database, OpenError};

/// The tables of one component, as the steps that made them.
///
/// The first step creates version 1, each further one leads to the next version. Released steps never change. They name their tables
/// without a schema.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// Whose tables, such as `journal`.
    pub component: &'static str,
    /// The statements of each step.
    pub steps: &'static [&'static str],
}

impl Schema {
    fn version(&self) -> u32 {
        u32::try_from(self.steps.len()).unwrap_or(u32::MAX)
    }
}

/// Makes the schema when it is missing, and checks that it is ours.
pub(super) async fn prepare(database: &Database) -> Result<(), OpenError> {
    let failed = |error: sqlx::Error| database.failed(&error);
    let mut connection = database.connect().await?;
    if !is_there(database, &mut connection).await? {
        let mut transaction = connection.begin().await.map_err(failed)?;
        sqlx::query(LOCK).execute(&mut *transaction).await.map_err(failed)?;
        // Read again, now that nobody else makes it.
        if !is_there(database, &mut transaction).await? {
            // The name was checked. A role without the right to make schemas may have been given one.
            let name = &database.options().schema;
            let make = format!(
                "DO $$ BEGIN IF to_regnamespace('{name}') IS NULL THEN CREATE SCHEMA \"{name}\"; END IF; END $$;
                 CREATE TABLE annals_schema (component text PRIMARY KEY, version int4 NOT NULL);"
            );
            sqlx::raw_sql(AssertSqlSafe(make)).execute(&mut *transaction).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)?;
    }
    connection.close().await.map_err(failed)
}

/// Checks that there is a journal, and changes nothing.
pub(super) async fn look_at(database: &Database) -> Result<(), OpenError> {
    let mut connection = database.connect().await?;
    if !is_there(database, &mut connection).await? {
        let (server, schema) = (database.server().to_owned(), database.options().schema.clone());
        return Err(OpenError::Missing { server, schema });
    }
    connection.close().await.map_err(|error| database.failed(&error))
}

/// Brings a component's tables to the newest version; of several processes that do so at once one does it.
pub(super) async fn migrate(database: &Database, schema: &Schema) -> Result<(), OpenError> {
    let failed = |error: sqlx::Error| database.failed(&error);
    let mut connection = database.connect().await?;
    let found = version(database, &mut connection, schema).await?;
    if found < schema.version() {
        if database.is_read_only() {
            return Err(OpenError::OlderSchema {
                server: database.server().to_owned(),
                schema: database.options().schema.clone(),
                component: schema.component.to_owned(),
                found,
                known: schema.version(),
            });
        }
        let mut transaction = connection.begin().await.map_err(failed)?;
        sqlx::query(LOCK).execute(&mut *transaction).await.map_err(failed)?;
        // Read again, now that nobody else migrates.
        let found = version(database, &mut transaction, schema).await?;
        let partitions = database.options().partitions;
        let setting = format!("SET LOCAL annals.partitions = {partitions}");
        sqlx::raw_sql(AssertSqlSafe(setting)).execute(&mut *transaction).await.map_err(failed)?;
        for step in schema.steps.iter().skip(usize::try_from(found).unwrap_or(usize::MAX)) {
            sqlx::raw_sql(*step).execute(&mut *transaction).await.map_err(failed)?;
        }
        sqlx::query(
            "INSERT INTO annals_schema (component, version) VALUES ($1, $2)
             ON CONFLICT (component) DO UPDATE SET version = excluded.version",
        )
        .bind(schema.component)
        .bind(schema.version().cast_signed())
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
    }
    connection.close().await.map_err(failed)
}

/// Whether the schema has our tables; an error when it has those of something else.
async fn is_there(database: &Database, connection: &mut PgConnection) -> Result<bool, OpenError> {
    let found: Option<(Option<bool>, Option<String>)> = sqlx::query_as(
        "SELECT bool_or(c.relname = 'annals_schema'), min(c.relname::text)
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm')",
    )
    .bind(&database.options().schema)
    .fetch_optional(connection)
    .await
    .map_err(|error| database.failed(&error))?;
    match found {
        Some((Some(true), _)) => Ok(true),
        Some((Some(false), Some(table))) => {
            let (server, schema) = (database.server().to_owned(), database.options().schema.clone());
            Err(OpenError::Foreign { server, schema, table })
        }
        _ => Ok(false),
    }
}

/// The version of a component's tables; 0 when there are none.
async fn version(
    database: &Database,
    connection: &mut PgConnection,
    schema: &Schema,
) -> Result<u32, OpenError> {
    let found: Option<i32> = sqlx::query_scalar("SELECT version FROM annals_schema WHERE component = $1")
        .bind(schema.component)
        .fetch_optional(connection)
        .await
        .map_err(|error| database.failed(&error))?;
    let found = found.unwrap_or(0).cast_unsigned();
    if found > schema.version() {
        return Err(OpenError::NewerSchema {
            server: database.server().to_owned(),
            schema: database.options().schema.clone(),
            component: schema.component.to_owned(),
            found,
            known: schema.version(),
        });
    }
    Ok(found)
}

/// One at a time in the whole database: "Annals".
const LOCK: &str = "SELECT pg_advisory_xact_lock(71886066117747)";
