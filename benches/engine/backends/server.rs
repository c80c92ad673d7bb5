use std::path::Path;
use std::time::Duration;

use annals_services::{Installation, Private, Settings};
use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::contestant::{Contestant, Persisted};
use crate::scenario::Load;

/// A PostgreSQL of the bench's own, whose commits are on disk. Each contestant has a schema.
pub(crate) struct Server {
    url: String,
    // Stopped before its folder goes.
    _server: Private,
    _folder: TempDir,
}

impl Server {
    pub(crate) fn start() -> Result<Self> {
        let installation = Installation::find_or_install()?;
        let beside = annals_services::folder(Path::new(env!("CARGO_TARGET_TMPDIR")));
        std::fs::create_dir_all(&beside)?;
        let folder = tempfile::tempdir_in(beside).context("making a folder for PostgreSQL")?;
        let more = [("shared_buffers", "512MB"), ("max_wal_size", "4GB")];
        let more = more.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let (server, url) =
            Private::start(installation, &folder.path().join("server"), &Settings { fsync: true, more })?;
        Ok(Self { url, _server: server, _folder: folder })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The journal of a contestant.
    pub(crate) fn journal(&self, schema: &str) -> String {
        format!("{}?schema={schema}", self.url)
    }

    /// A connection that sees a contestant's tables.
    pub(crate) async fn connect(&self, schema: &str) -> Result<PgConnection> {
        let url = format!("{}?options=-c%20search_path={schema}", self.url);
        PgConnection::connect(&url).await.context("connecting to PostgreSQL")
    }

    /// Makes a contestant's schema anew. What was written before is on disk when this returns.
    pub(crate) async fn empty(&self, schema: &str) -> Result<()> {
        let mut admin = PgConnection::connect(&self.url).await?;
        for statement in [
            format!("DROP SCHEMA IF EXISTS {schema} CASCADE"),
            format!("CREATE SCHEMA {schema}"),
            "CHECKPOINT".to_owned(),
        ] {
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut admin).await?;
        }
        Ok(())
    }
}

/// A contestant whose journal is emptied before it persists.
pub(crate) struct OnServer<'a, C> {
    pub(crate) contestant: &'a C,
    pub(crate) server: &'a Server,
    pub(crate) runtime: &'a Runtime,
}

impl<C: Contestant> Contestant for OnServer<'_, C> {
    fn name(&self) -> &'static str {
        self.contestant.name()
    }

    fn persist(&self, load: &Load, folder: &Path, rows_a_commit: u32) -> Result<Persisted> {
        self.runtime.block_on(self.server.empty(self.name()))?;
        self.contestant.persist(load, folder, rows_a_commit)
    }

    fn recover(&self, load: &Load, folder: &Path) -> Result<Duration> {
        self.contestant.recover(load, folder)
    }
}
