use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

#[cfg(feature = "cassandra")]
use crate::cassandra;
#[cfg(feature = "postgres")]
use crate::postgres;
#[cfg(feature = "sqlite")]
use crate::sqlite;
use crate::{Journal, MemoryJournal, Records};

/// Says which journal to open.
///
/// | URL | journal |
/// |---|---|
/// | `memory:` | in memory, gone with the last handle |
/// | `sqlite://PATH` | a SQLite file; everything between `sqlite://` and the first `?` is its path, relative or absolute, as it stands |
/// | `postgres://USER:PASSWORD@HOST:PORT/DATABASE` | a schema on a PostgreSQL server, see `postgres::Database::open` |
/// | `cassandra://USER:PASSWORD@HOST:PORT,HOST:PORT/KEYSPACE` | a keyspace on Apache Cassandra, see `cassandra::Keyspace::open` |
///
/// | parameter of `sqlite` | default | meaning |
/// |---|---|---|
/// | `durability=each-commit` or `os` | `each-commit` | what an answered write survives, see `sqlite::Durability` |
/// | `busy_timeout_ms=` 0 to 3600000 | `5000` | how long to wait for another process that holds the file's lock |
/// | `readers=` 1 to 64 | `4` | the most reads at a time |
///
/// | parameter of `postgres` | default | meaning |
/// |---|---|---|
/// | `schema=` | `annals` | the schema that has the tables, made when it is missing |
/// | `writers=`, `readers=` 1 to 1000 | `4` | the most connections that write, and that read |
/// | `acquire_timeout_ms=` 0 to 3600000 | `5000` | how long to wait for a connection |
/// | `patience_ms=` 0 to 3600000 | `50` | how long a page of a reader waits for transactions that are open |
/// | `partitions=` 0 to 1024 | `0` | over how many tables the events of a journal that is made are spread |
/// | `sslmode=`, `sslrootcert=`, `sslcert=`, `sslkey=`, `application_name=`, `options=` | | as for libpq |
///
/// | parameter of `cassandra` | default | meaning |
/// |---|---|---|
/// | `journal=` | `annals` | which of the journals in the keyspace |
/// | `consistency=quorum` or `local-quorum` | `quorum` | how many replicas answer, see `cassandra::Consistency` |
/// | `replication_factor=` 1 to 99 | `3` | how many replicas a keyspace has that is made because it is missing |
/// | `request_timeout_ms=` 1 to 3600000 | `12000` | how long to wait for an answer |
/// | `patience_ms=` 0 to 3600000 | `200` | how long a page of a reader waits for writes that are on their way |
///
/// A password is in no text that is made of a URL: [`Display`](fmt::Display) writes `***` in its place.
///
/// ```
/// use annals_journal::JournalUrl;
///
/// # #[cfg(feature = "sqlite")] {
/// let url: JournalUrl = "sqlite://bank.db?durability=os&busy_timeout_ms=250".parse()?;
/// assert_eq!(url.to_string(), "sqlite://bank.db?durability=os&busy_timeout_ms=250");
/// # }
/// assert!("sqlite:/bank.db".parse::<JournalUrl>().is_err());
/// # Ok::<(), annals_journal::InvalidJournalUrl>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalUrl {
    text: String,
    target: Target,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Memory,
    #[cfg(feature = "sqlite")]
    Sqlite {
        path: std::path::PathBuf,
        options: sqlite::Options,
    },
    #[cfg(feature = "postgres")]
    Postgres {
        server: ServerUrl,
        options: postgres::Options,
    },
    #[cfg(feature = "cassandra")]
    Cassandra {
        server: ServerUrl,
        options: cassandra::Options,
    },
}

/// A URL that may have a password in it.
#[cfg(any(feature = "postgres", feature = "cassandra"))]
#[derive(Clone, PartialEq, Eq)]
struct ServerUrl(String);

#[cfg(any(feature = "postgres", feature = "cassandra"))]
impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_password(&self.0))
    }
}

impl JournalUrl {
    /// Opens the journal.
    ///
    /// # Errors
    /// [`OpenJournalError`] says what is in the way and what to do about it.
    pub async fn open(&self) -> Result<OpenJournal, OpenJournalError> {
        match &self.target {
            Target::Memory => {
                let journal = Arc::new(MemoryJournal::new());
                Ok(OpenJournal {
                    journal: journal.clone(),
                    records: journal,
                    #[cfg(feature = "sqlite")]
                    database: None,
                    #[cfg(feature = "postgres")]
                    postgres: None,
                    #[cfg(feature = "cassandra")]
                    cassandra: None,
                })
            }
            #[cfg(feature = "sqlite")]
            Target::Sqlite { path, options } => {
                Ok(OpenJournal::in_sqlite(sqlite::SqliteJournal::open(path, *options).await?))
            }
            #[cfg(feature = "postgres")]
            Target::Postgres { server, options } => {
                let journal = postgres::PostgresJournal::open(&server.0, options.clone()).await?;
                Ok(OpenJournal::in_postgres(journal))
            }
            #[cfg(feature = "cassandra")]
            Target::Cassandra { server, options } => {
                let journal = cassandra::CassandraJournal::open(&server.0, options.clone()).await?;
                Ok(OpenJournal::in_cassandra(journal))
            }
        }
    }

    /// Opens a journal that is there, for tools that look at it: nothing is created, migrated or written.
    ///
    /// A journal in memory is empty, because nobody else has it.
    ///
    /// # Errors
    /// [`OpenJournalError`] says what is in the way and what to do about it.
    pub async fn open_read_only(&self) -> Result<OpenJournal, OpenJournalError> {
        match &self.target {
            Target::Memory => self.open().await,
            #[cfg(feature = "sqlite")]
            Target::Sqlite { path, options } => {
                Ok(OpenJournal::in_sqlite(sqlite::SqliteJournal::open_read_only(path, *options).await?))
            }
            #[cfg(feature = "postgres")]
            Target::Postgres { server, options } => {
                let journal = postgres::PostgresJournal::open_read_only(&server.0, options.clone()).await?;
                Ok(OpenJournal::in_postgres(journal))
            }
            #[cfg(feature = "cassandra")]
            Target::Cassandra { server, options } => {
                let journal = cassandra::CassandraJournal::open_read_only(&server.0, options.clone()).await?;
                Ok(OpenJournal::in_cassandra(journal))
            }
        }
    }

    /// Whether the journal is gone with its process.
    pub fn is_memory(&self) -> bool {
        matches!(self.target, Target::Memory)
    }
}

/// Opens the journal that a URL names, see [`JournalUrl`].
///
/// # Errors
/// [`OpenJournalError`] says what is in the way and what to do about it.
pub async fn open(url: &str) -> Result<OpenJournal, OpenJournalError> {
    url.parse::<JournalUrl>()?.open().await
}

/// A journal that is open, as its backend made it: without group commit around it.
#[derive(Debug, Clone)]
pub struct OpenJournal {
    /// The events.
    pub journal: Arc<dyn Journal>,
    /// The named records beside them.
    pub records: Arc<dyn Records>,
    /// The SQLite file, for stores that keep something else in it; `None` when the journal is not in one.
    #[cfg(feature = "sqlite")]
    pub database: Option<sqlite::Database>,
    /// The schema on a PostgreSQL server, for the same; `None` when the journal is not in one.
    #[cfg(feature = "postgres")]
    pub postgres: Option<postgres::Database>,
    /// The keyspace on Cassandra, for the same; `None` when the journal is not in one.
    #[cfg(feature = "cassandra")]
    pub cassandra: Option<cassandra::Keyspace>,
}

impl OpenJournal {
    /// Finishes what is queued and closes the journal, with all that is kept in the same file; whoever asks afterwards is told so.
    ///
    /// A SQLite file that nobody else has open then needs no write-ahead log any more: a copy of it alone is whole.
    ///
    /// # Cancel safety
    /// Closing goes on when the future is dropped.
    pub async fn close(&self) {
        #[cfg(feature = "sqlite")]
        if let Some(database) = &self.database {
            database.close().await;
        }
        #[cfg(feature = "postgres")]
        if let Some(database) = &self.postgres {
            database.close().await;
        }
        #[cfg(feature = "cassandra")]
        if let Some(keyspace) = &self.cassandra {
            keyspace.close().await;
        }
    }
}

#[cfg(feature = "sqlite")]
impl OpenJournal {
    fn in_sqlite(journal: sqlite::SqliteJournal) -> Self {
        let journal = Arc::new(journal);
        let database = Some(journal.database().clone());
        Self {
            journal: journal.clone(),
            records: journal,
            database,
            #[cfg(feature = "postgres")]
            postgres: None,
            #[cfg(feature = "cassandra")]
            cassandra: None,
        }
    }
}

#[cfg(feature = "postgres")]
impl OpenJournal {
    fn in_postgres(journal: postgres::PostgresJournal) -> Self {
        let journal = Arc::new(journal);
        let postgres = Some(journal.database().clone());
        Self {
            journal: journal.clone(),
            records: journal,
            #[cfg(feature = "sqlite")]
            database: None,
            postgres,
            #[cfg(feature = "cassandra")]
            cassandra: None,
        }
    }
}

#[cfg(feature = "cassandra")]
impl OpenJournal {
    fn in_cassandra(journal: cassandra::CassandraJournal) -> Self {
        let journal = Arc::new(journal);
        let cassandra = Some(journal.keyspace().clone());
        Self {
            journal: journal.clone(),
            records: journal,
            #[cfg(feature = "sqlite")]
            database: None,
            #[cfg(feature = "postgres")]
            postgres: None,
            cassandra,
        }
    }
}

/// Why the journal of a URL could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenJournalError {
    /// The URL does not say which journal.
    #[error(transparent)]
    Url(#[from] InvalidJournalUrl),
    /// The SQLite file could not be opened.
    #[cfg(feature = "sqlite")]
    #[error(transparent)]
    Sqlite(#[from] sqlite::OpenError),
    /// The journal in PostgreSQL could not be opened.
    #[cfg(feature = "postgres")]
    #[error(transparent)]
    Postgres(#[from] postgres::OpenError),
    /// The journal in Cassandra could not be opened.
    #[cfg(feature = "cassandra")]
    #[error(transparent)]
    Cassandra(#[from] cassandra::OpenError),
}

/// Why a text is no journal URL; the message lists what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidJournalUrl {
    /// The beginning names no backend.
    #[error(
        "{url:?} names no journal; use memory:, sqlite://PATH, postgres://HOST/DATABASE or cassandra://HOST/KEYSPACE"
    )]
    UnknownScheme {
        /// The text.
        url: String,
    },
    /// This build does not have the backend.
    #[error("{url:?} needs a build with the feature {feature:?}")]
    NotBuilt {
        /// The text.
        url: String,
        /// The feature of the crate.
        feature: &'static str,
    },
    /// There is no path.
    #[error(
        "{url:?} has no path; write it between sqlite:// and ?, such as sqlite://bank.db or sqlite:///var/lib/bank.db"
    )]
    MissingPath {
        /// The text.
        url: String,
    },
    /// There is no such parameter.
    #[error("{url:?} has the parameter {name:?}; {}", allowed_parameters(.allowed))]
    UnknownParameter {
        /// The text.
        url: String,
        /// The parameter.
        name: String,
        /// The parameters that there are.
        allowed: &'static [&'static str],
    },
    /// The parameter is there twice.
    #[error("{url:?} has the parameter {name:?} twice; give it once")]
    RepeatedParameter {
        /// The text.
        url: String,
        /// The parameter.
        name: String,
    },
    /// The parameter cannot have this value.
    #[error("{url:?}: {name} cannot be {value:?}; it may be {allowed}")]
    InvalidValue {
        /// The text.
        url: String,
        /// The parameter.
        name: String,
        /// Its value.
        value: String,
        /// What is allowed.
        allowed: &'static str,
    },
}

impl FromStr for JournalUrl {
    type Err = InvalidJournalUrl;

    fn from_str(url: &str) -> Result<Self, InvalidJournalUrl> {
        let text = url.to_owned();
        if let Some(rest) = url.strip_prefix("memory:") {
            let rest = rest.trim_start_matches('/');
            return match rest.strip_prefix('?') {
                None if rest.is_empty() => Ok(Self { text, target: Target::Memory }),
                None => Err(InvalidJournalUrl::UnknownScheme { url: text }),
                Some(parameters) => match parameters.split('&').find(|parameter| !parameter.is_empty()) {
                    None => Ok(Self { text, target: Target::Memory }),
                    Some(parameter) => {
                        let name = parameter.split('=').next().unwrap_or_default().to_owned();
                        Err(InvalidJournalUrl::UnknownParameter { url: text, name, allowed: &[] })
                    }
                },
            };
        }
        if let Some(rest) = url.strip_prefix("sqlite://") {
            return Ok(Self { target: sqlite_target(url, rest)?, text });
        }
        let text = without_password(url);
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self { target: postgres_target(url, &text)?, text });
        }
        if url.starts_with("cassandra://") {
            return Ok(Self { target: cassandra_target(url, &text)?, text });
        }
        Err(InvalidJournalUrl::UnknownScheme { url: text })
    }
}

#[cfg(not(feature = "sqlite"))]
fn sqlite_target(url: &str, _rest: &str) -> Result<Target, InvalidJournalUrl> {
    Err(InvalidJournalUrl::NotBuilt { url: url.to_owned(), feature: "sqlite" })
}

#[cfg(feature = "sqlite")]
fn sqlite_target(url: &str, rest: &str) -> Result<Target, InvalidJournalUrl> {
    const ALLOWED: [&str; 3] = ["durability", "busy_timeout_ms", "readers"];
    let text = || url.to_owned();
    let (path, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    if path.is_empty() {
        return Err(InvalidJournalUrl::MissingPath { url: text() });
    }
    let mut options = sqlite::Options::default();
    let mut seen = Vec::new();
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let invalid = |allowed: &'static str| InvalidJournalUrl::InvalidValue {
            url: text(),
            name: name.to_owned(),
            value: value.to_owned(),
            allowed,
        };
        if seen.contains(&name) {
            return Err(InvalidJournalUrl::RepeatedParameter { url: text(), name: name.to_owned() });
        }
        seen.push(name);
        options = match name {
            "durability" => match value {
                "each-commit" => options.durability(sqlite::Durability::EachCommit),
                "os" => options.durability(sqlite::Durability::Os),
                _ => return Err(invalid("each-commit or os")),
            },
            "busy_timeout_ms" => match value.parse() {
                Ok(millis @ 0..=3_600_000) => options.busy_timeout(std::time::Duration::from_millis(millis)),
                _ => return Err(invalid("a number of milliseconds from 0 to 3600000")),
            },
            "readers" => match value.parse() {
                Ok(readers @ 1..=64) => options.readers(readers),
                _ => return Err(invalid("a number from 1 to 64")),
            },
            _ => {
                let (url, name) = (text(), name.to_owned());
                return Err(InvalidJournalUrl::UnknownParameter { url, name, allowed: &ALLOWED });
            }
        };
    }
    Ok(Target::Sqlite { path: path.into(), options })
}

#[cfg(not(feature = "postgres"))]
fn postgres_target(_url: &str, text: &str) -> Result<Target, InvalidJournalUrl> {
    Err(InvalidJournalUrl::NotBuilt { url: text.to_owned(), feature: "postgres" })
}

/// Takes our own parameters out; `text` is the URL without its password.
#[cfg(feature = "postgres")]
fn postgres_target(url: &str, text: &str) -> Result<Target, InvalidJournalUrl> {
    const ALLOWED: [&str; 12] = [
        "schema",
        "writers",
        "readers",
        "acquire_timeout_ms",
        "patience_ms",
        "partitions",
        "sslmode",
        "sslrootcert",
        "sslcert",
        "sslkey",
        "application_name",
        "options",
    ];
    let (server, parameters) = url.split_once('?').unwrap_or((url, ""));
    let mut options = postgres::Options::default();
    let (mut seen, mut others) = (Vec::new(), Vec::new());
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let invalid = |allowed: &'static str| InvalidJournalUrl::InvalidValue {
            url: text.to_owned(),
            name: name.to_owned(),
            value: value.to_owned(),
            allowed,
        };
        if seen.contains(&name) {
            return Err(InvalidJournalUrl::RepeatedParameter { url: text.to_owned(), name: name.to_owned() });
        }
        seen.push(name);
        let connections = || match value.parse() {
            Ok(number @ 1..=1_000) => Ok(number),
            _ => Err(invalid("a number from 1 to 1000")),
        };
        let partitions = || match value.parse() {
            Ok(number @ 0..=postgres::Options::MAX_PARTITIONS) => Ok(number),
            _ => Err(invalid("a number from 0 to 1024")),
        };
        let duration = || match value.parse() {
            Ok(millis @ 0..=3_600_000) => Ok(std::time::Duration::from_millis(millis)),
            _ => Err(invalid("a number of milliseconds from 0 to 3600000")),
        };
        options = match name {
            "schema" if postgres::Options::is_schema(value) => options.schema(value),
            "schema" => return Err(invalid("1 to 63 lower-case letters, digits and _, a letter first")),
            "writers" => options.writers(connections()?),
            "readers" => options.readers(connections()?),
            "acquire_timeout_ms" => options.acquire_timeout(duration()?),
            "patience_ms" => options.patience(duration()?),
            "partitions" => options.partitions(partitions()?),
            name if ALLOWED.contains(&name) => {
                others.push(parameter);
                options
            }
            _ => {
                let (url, name) = (text.to_owned(), name.to_owned());
                return Err(InvalidJournalUrl::UnknownParameter { url, name, allowed: &ALLOWED });
            }
        };
    }
    let question = if others.is_empty() { "" } else { "?" };
    let server = ServerUrl(format!("{server}{question}{}", others.join("&")));
    Ok(Target::Postgres { server, options })
}

#[cfg(not(feature = "cassandra"))]
fn cassandra_target(_url: &str, text: &str) -> Result<Target, InvalidJournalUrl> {
    Err(InvalidJournalUrl::NotBuilt { url: text.to_owned(), feature: "cassandra" })
}

/// Takes the parameters off; `text` is the URL without its password.
#[cfg(feature = "cassandra")]
fn cassandra_target(url: &str, text: &str) -> Result<Target, InvalidJournalUrl> {
    const ALLOWED: [&str; 5] =
        ["journal", "consistency", "replication_factor", "request_timeout_ms", "patience_ms"];
    let (server, parameters) = url.split_once('?').unwrap_or((url, ""));
    let mut options = cassandra::Options::default();
    let mut seen = Vec::new();
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let invalid = |allowed: &'static str| InvalidJournalUrl::InvalidValue {
            url: text.to_owned(),
            name: name.to_owned(),
            value: value.to_owned(),
            allowed,
        };
        if seen.contains(&name) {
            return Err(InvalidJournalUrl::RepeatedParameter { url: text.to_owned(), name: name.to_owned() });
        }
        seen.push(name);
        let duration = |least: u64, allowed| match value.parse() {
            Ok(millis) if (least..=3_600_000).contains(&millis) => {
                Ok(std::time::Duration::from_millis(millis))
            }
            _ => Err(invalid(allowed)),
        };
        options = match name {
            "journal" if cassandra::Options::is_name(value) => options.journal(value),
            "journal" => return Err(invalid("1 to 48 lower-case letters, digits and _, a letter first")),
            "consistency" => match value {
                "quorum" => options.consistency(cassandra::Consistency::Quorum),
                "local-quorum" => options.consistency(cassandra::Consistency::LocalQuorum),
                _ => return Err(invalid("quorum or local-quorum")),
            },
            "replication_factor" => match value.parse() {
                Ok(factor @ 1..=99) => options.replication_factor(factor),
                _ => return Err(invalid("a number from 1 to 99")),
            },
            "request_timeout_ms" => {
                options.request_timeout(duration(1, "a number of milliseconds from 1 to 3600000")?)
            }
            "patience_ms" => options.patience(duration(0, "a number of milliseconds from 0 to 3600000")?),
            _ => {
                let (url, name) = (text.to_owned(), name.to_owned());
                return Err(InvalidJournalUrl::UnknownParameter { url, name, allowed: &ALLOWED });
            }
        };
    }
    Ok(Target::Cassandra { server: ServerUrl(server.to_owned()), options })
}

/// The URL with `***` for a password: all between the first `:` behind the scheme and the last `@`, so that a password that was not
/// encoded is not told either.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    match (rest.find(':'), rest.rfind('@')) {
        (Some(colon), Some(at)) if colon < at => format!("{scheme}://{}:***{}", &rest[..colon], &rest[at..]),
        _ => url.to_owned(),
    }
}

impl fmt::Display for JournalUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn allowed_parameters(allowed: &[&str]) -> String {
    if allowed.is_empty() { "there is none".to_owned() } else { format!("it may be {}", allowed.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        url.parse::<JournalUrl>().expect_err(url).to_string()
    }

    #[test]
    fn memory_has_neither_path_nor_parameters() {
        for url in ["memory:", "memory://", "memory:?"] {
            assert_eq!(url.parse::<JournalUrl>().map(|url| url.target), Ok(Target::Memory), "{url}");
        }
        assert!(refused("memory:here").contains("use memory:, sqlite://PATH, postgres"));
        assert!(refused("memory:?size=3").contains("there is none"));
    }

    #[test]
    fn what_is_not_a_journal_url_is_told_what_is() {
        for url in ["", "bank.db", "mysql://localhost", "sqlite:bank.db", "SQLITE://bank.db"] {
            assert!(refused(url).contains("sqlite://PATH"), "{url}");
        }
    }

    #[cfg(feature = "sqlite")]
    #[test]
    fn everything_up_to_the_question_mark_is_the_path() {
        for (url, expected) in [
            ("sqlite://bank.db", "bank.db"),
            ("sqlite:///var/lib/bank.db?", "/var/lib/bank.db"),
            ("sqlite://data/my bank%20#1.db?durability=os", "data/my bank%20#1.db"),
            ("sqlite://:memory:", ":memory:"),
        ] {
            match url.parse::<JournalUrl>().map(|url| url.target) {
                Ok(Target::Sqlite { path, .. }) => assert_eq!(path, std::path::Path::new(expected)),
                other => panic!("{url}: {other:?}"),
            }
        }
        assert!(refused("sqlite://?durability=os").contains("sqlite://bank.db"));
    }

    #[cfg(feature = "sqlite")]
    #[test]
    fn parameters_are_checked() {
        let url: JournalUrl = "sqlite://a?durability=os&busy_timeout_ms=7&readers=2".parse().unwrap();
        let options = sqlite::Options::default()
            .durability(sqlite::Durability::Os)
            .busy_timeout(std::time::Duration::from_millis(7))
            .readers(2);
        assert_eq!(url.target, Target::Sqlite { path: "a".into(), options });
        assert!(refused("sqlite://a?sync=off").contains("durability, busy_timeout_ms, readers"));
        assert!(refused("sqlite://a?durability=off").contains("each-commit or os"));
        assert!(refused("sqlite://a?busy_timeout_ms=soon").contains("milliseconds"));
        assert!(refused("sqlite://a?readers=0").contains("1 to 64"));
        assert!(refused("sqlite://a?readers=1&readers=2").contains("twice"));
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn a_password_is_in_no_text() {
        let parsed: JournalUrl = "postgres://annals:sesame@db:5432/bank?writers=8".parse().unwrap();
        let told = format!("{parsed} {parsed:?}");
        assert!(!told.contains("sesame") && told.contains("annals:***@db"), "{told}");
        assert_eq!(without_password("postgres://a:ses:a/m@e?@db/bank"), "postgres://a:***@db/bank");
        assert!(!refused("postgres://annals:sesame@db/bank?colour=red").contains("sesame"));
        assert!(!refused("mongo://annals:sesame@db/bank").contains("sesame"));
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn parameters_of_a_server_are_checked() {
        let url: JournalUrl =
            "postgres://db/bank?schema=a_b&writers=2&sslmode=require&patience_ms=7".parse().unwrap();
        let options = postgres::Options::default()
            .schema("a_b")
            .writers(2)
            .patience(std::time::Duration::from_millis(7));
        let server = ServerUrl("postgres://db/bank?sslmode=require".into());
        assert_eq!(url.target, Target::Postgres { server, options });
        assert!(refused("postgres://db/bank?password=x").contains("schema, writers"));
        assert!(refused("postgres://db/bank?schema=A;B").contains("lower-case"));
        assert!(refused("postgres://db/bank?writers=0").contains("1 to 1000"));
        assert!(refused("postgres://db/bank?partitions=1025").contains("0 to 1024"));
        assert!(refused("postgres://db/bank?readers=1&readers=2").contains("twice"));
    }

    #[cfg(feature = "cassandra")]
    #[test]
    fn parameters_of_a_keyspace_are_checked() {
        let url: JournalUrl = "cassandra://annals:sesame@a,b:9043/bank?journal=x&consistency=local-quorum\
                               &replication_factor=1&request_timeout_ms=7&patience_ms=8"
            .parse()
            .unwrap();
        let told = format!("{url} {url:?}");
        assert!(!told.contains("sesame") && told.contains("annals:***@a"), "{told}");
        let options = cassandra::Options::default()
            .journal("x")
            .consistency(cassandra::Consistency::LocalQuorum)
            .replication_factor(1)
            .request_timeout(std::time::Duration::from_millis(7))
            .patience(std::time::Duration::from_millis(8));
        let server = ServerUrl("cassandra://annals:sesame@a,b:9043/bank".into());
        assert_eq!(url.target, Target::Cassandra { server, options });
        assert!(refused("cassandra://a/bank?keyspace=x").contains("journal, consistency"));
        assert!(refused("cassandra://a/bank?consistency=one").contains("quorum or local-quorum"));
        assert!(refused("cassandra://a/bank?journal=A;B").contains("lower-case"));
        assert!(refused("cassandra://a/bank?patience_ms=1&patience_ms=2").contains("twice"));
    }
}
