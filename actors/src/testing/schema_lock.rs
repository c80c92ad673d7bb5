use std::fmt;
use std::path::{Path, PathBuf};

use annals_journal::{Codec, Envelope, PersistenceId, SeqNr, Timestamp, Token, WriterId};
use annals_migrations::{
    AdaptError, BreakReason, Command, CommandAdapter, Encoded, Form, LockError, LockFile, Role, SchemaBreak,
    SchemaError,
};
use bytes::Bytes;

use crate::{CommandList, Handle, Kind, PersistentActor};

/// Holds what today's code stores, sends and reads against a lock file: is everything that older code stored still read, and as the same?
///
/// The file is JSON and belongs into version control. It has the shape of each event, state and command at each version; no derive is needed
/// for that, see [`Shape`](annals_migrations::Shape). Commands are in it as well, because they cross nodes that run other builds. A shape that changed without a new version, a manifest that is gone, a version
/// without an upcaster fail the test with an explanation and the remedy; what is merely new fails it until it is locked.
///
/// | `ANNALS_LOCK` | |
/// |---|---|
/// | not set | nothing is written |
/// | `update` | what is new is locked; a break still fails |
/// | `overwrite` | today's code is locked as it is: for what is stored nowhere yet |
///
/// ```no_run
/// # use annals_actors::PersistentActor;
/// use annals_actors::testing::SchemaLock;
///
/// # fn check<Account: PersistentActor, Transfer: PersistentActor>() {
/// SchemaLock::at("schemas.lock").entity::<Account>().entity::<Transfer>().check();
/// # }
/// ```
#[must_use = "a lock does nothing before `.check()` or `.run()`"]
pub struct SchemaLock {
    path: PathBuf,
    mode: Mode,
    today: LockFile,
    readers: Vec<Reader>,
    error: Option<SchemaLockError>,
}

/// What becomes of what is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Check,
    Update,
    Overwrite,
}

/// Reads a sample of a kind, and stores it again.
struct Reader {
    kind: &'static str,
    role: Role,
    reads: Reads,
}

type Reads = Box<dyn Fn(&Form, Codec, &Bytes) -> Result<Vec<Encoded>, AdaptError>>;

/// Why nothing could be held against a lock file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaLockError {
    /// The file cannot be read or written.
    #[error("{path}: {reason}", path = path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is in the way.
        reason: String,
    },
    /// The file is no lock file.
    #[error("{path}: {reason}", path = path.display())]
    Lock {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: LockError,
    },
    /// The kind cannot be run at all.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A sample cannot be stored.
    #[error("a sample of kind {kind:?}: {reason}")]
    Sample {
        /// Of which kind.
        kind: &'static str,
        /// Why not.
        reason: AdaptError,
    },
    /// `ANNALS_LOCK` says something else than `update` or `overwrite`.
    #[error("ANNALS_LOCK={0:?} is unknown; it may be `update` or `overwrite`")]
    Mode(String),
}

/// What came of it.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct SchemaLockReport {
    /// What today's code does to what older code stored.
    pub breaks: Vec<SchemaBreak>,
    /// What is not locked yet: a sentence each. Empty when it was locked now.
    pub news: Vec<String>,
    /// Whether the file was written.
    pub written: bool,
}

impl SchemaLock {
    /// A lock file; a relative path begins at the package's directory, where cargo runs tests.
    pub fn at(path: impl AsRef<Path>) -> Self {
        let (mode, error) = match std::env::var(VARIABLE).as_deref() {
            Ok("update") => (Mode::Update, None),
            Ok("overwrite") => (Mode::Overwrite, None),
            Ok("") | Err(_) => (Mode::Check, None),
            Ok(other) => (Mode::Check, Some(SchemaLockError::Mode(other.to_owned()))),
        };
        Self { path: path.as_ref().to_path_buf(), mode, today: LockFile::new(), readers: Vec::new(), error }
    }

    /// A kind of entity, as [`Kind::new`] has it.
    pub fn entity<A: PersistentActor>(self) -> Self {
        self.kind(Kind::<A>::new())
    }

    /// A kind of entity with an adapter of its own.
    pub fn kind<A: PersistentActor>(mut self, kind: Kind<A>) -> Self {
        let added = self.add(&kind);
        self.or_error(added)
    }

    fn add<A: PersistentActor>(&mut self, kind: &Kind<A>) -> Result<(), SchemaLockError> {
        let sample = PersistenceId::new(A::KIND, "sample")
            .map_err(|reason| SchemaError::Name { kind: A::KIND.to_owned(), reason })?;
        let (events, states) = (kind.adapter()?, Kind::<A>::states()?);
        self.today.add(A::KIND, Role::Event, &events.versions(), &events.shapes());
        if !A::REPLACES_STATE {
            self.today.add(A::KIND, Role::State, &states.versions(), &states.shapes());
        }
        let reads: Reads = Box::new(move |form, codec, payload| {
            let (mut read, envelope) = (Vec::new(), envelope(&sample, form, codec, payload));
            events.from_journal(&envelope, &mut |event| read.push(event))?;
            read.iter().map(|event| events.to_journal(event)).collect()
        });
        self.readers.push(Reader { kind: A::KIND, role: Role::Event, reads });
        let reads: Reads = Box::new(move |form, codec, payload| {
            let state = states.decode(&form.manifest, form.version, codec, payload)?;
            Ok(vec![states.encode(&state)?])
        });
        self.readers.push(Reader { kind: A::KIND, role: Role::State, reads });
        let (versions, shapes) = (A::Commands::versions(A::KIND)?, A::Commands::shapes(A::KIND)?);
        self.today.add(A::KIND, Role::Command, &versions, &shapes);
        let reads: Reads = Box::new(|form, codec, payload| {
            // A manifest that no command is read from is said to be gone.
            A::Commands::sent_again(A::KIND, form, codec, payload).into_iter().collect()
        });
        self.readers.push(Reader { kind: A::KIND, role: Role::Command, reads });
        Ok(())
    }

    /// Examples of a kind's events, stored as [`Kind::new`] does; needed where a shape cannot be seen, as that of a protobuf message.
    ///
    /// What is stored of them is locked, and has to be read by all later code; at the same version it has to be written as it was.
    pub fn samples<A: PersistentActor>(self, events: impl IntoIterator<Item = A::Event>) -> Self {
        self.samples_of(&Kind::<A>::new(), events)
    }

    /// The same of a kind with an adapter of its own.
    pub fn samples_of<A: PersistentActor>(
        mut self,
        kind: &Kind<A>,
        events: impl IntoIterator<Item = A::Event>,
    ) -> Self {
        let added = self.add_samples(kind, events);
        self.or_error(added)
    }

    fn add_samples<A: PersistentActor>(
        &mut self,
        kind: &Kind<A>,
        events: impl IntoIterator<Item = A::Event>,
    ) -> Result<(), SchemaLockError> {
        let adapter = kind.adapter()?;
        for event in events {
            let stored = adapter
                .to_journal(&event)
                .map_err(|reason| SchemaLockError::Sample { kind: A::KIND, reason })?;
            let form = Form::new(stored.manifest, stored.schema_version);
            self.today.add_sample(A::KIND, Role::Event, &form, stored.codec, &stored.payload);
        }
        Ok(())
    }

    /// An example of a kind's state; what is stored of it in snapshots is locked as that of events is.
    pub fn state_sample<A: PersistentActor>(mut self, state: &A) -> Self {
        let added = self.add_state_sample(state);
        self.or_error(added)
    }

    fn add_state_sample<A: PersistentActor>(&mut self, state: &A) -> Result<(), SchemaLockError> {
        let stored = Kind::<A>::states()?
            .encode(state)
            .map_err(|reason| SchemaLockError::Sample { kind: A::KIND, reason })?;
        let form = Form::new(stored.manifest, stored.schema_version);
        self.today.add_sample(A::KIND, Role::State, &form, stored.codec, &stored.payload);
        Ok(())
    }

    /// An example of a command; what is sent of it is locked as what is stored of events is.
    pub fn command_sample<A: Handle<C>, C: Command>(mut self, command: &C) -> Self {
        let added = self.add_command_sample::<A, C>(command);
        self.or_error(added)
    }

    fn add_command_sample<A: Handle<C>, C: Command>(&mut self, command: &C) -> Result<(), SchemaLockError> {
        let sent = CommandAdapter::<C>::new(A::KIND)?
            .encode(command)
            .map_err(|reason| SchemaLockError::Sample { kind: A::KIND, reason })?;
        let form = Form::new(sent.manifest, sent.schema_version);
        self.today.add_sample(A::KIND, Role::Command, &form, sent.codec, &sent.payload);
        Ok(())
    }

    fn or_error(mut self, done: Result<(), SchemaLockError>) -> Self {
        if let Err(error) = done {
            self.error.get_or_insert(error);
        }
        self
    }

    /// Writes what is new, as `ANNALS_LOCK=update` does.
    pub fn updating(mut self) -> Self {
        self.mode = Mode::Update;
        self
    }

    /// Writes today's code as it is, as `ANNALS_LOCK=overwrite` does.
    pub fn overwriting(mut self) -> Self {
        self.mode = Mode::Overwrite;
        self
    }

    /// Only compares, whatever `ANNALS_LOCK` says.
    pub fn only_comparing(mut self) -> Self {
        self.mode = Mode::Check;
        self
    }

    /// Holds today's code against the file.
    ///
    /// # Panics
    /// With an explanation and the remedy, when something that was stored is not read as it was, or the file is not up to date.
    #[track_caller]
    pub fn check(self) {
        let path = self.path.clone();
        match self.run() {
            Ok(report) if report.is_clean() => {}
            Ok(report) => panic!("{} does not fit today's code\n{report}", path.display()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Holds today's code against the file, and leaves it to the caller what to make of it.
    ///
    /// # Errors
    /// [`SchemaLockError`] when the file cannot be read or written, or a kind cannot be run.
    pub fn run(self) -> Result<SchemaLockReport, SchemaLockError> {
        let Self { path, mode, today, readers, error } = self;
        if let Some(error) = error {
            return Err(error);
        }
        let mut locked = read(&path)?;
        if mode == Mode::Overwrite {
            let before = locked.clone();
            // What today's code cannot read is said to be stored nowhere.
            locked.retain_samples(|kind, role, form, codec, payload| {
                unread(&readers, kind, role, form, codec, payload).is_none()
            });
            let overwritten = locked.overwritten(&today);
            let breaks = overwritten.unseen();
            let written = breaks.is_empty() && write(&path, &before, &overwritten)?;
            return Ok(SchemaLockReport { breaks, written, ..SchemaLockReport::default() });
        }
        let updated = locked.updated(&today);
        let mut report = SchemaLockReport { breaks: locked.breaks(&today), ..SchemaLockReport::default() };
        for kind in today.kinds() {
            for role in [Role::Event, Role::State, Role::Command] {
                let samples = locked.samples(kind, role);
                report.breaks.extend(samples.iter().filter_map(|(form, codec, payload)| {
                    unread(&readers, kind, role, form, *codec, payload)
                }));
            }
        }
        report.breaks.extend(updated.unseen());
        report.news = locked.news(&today);
        if mode == Mode::Update && report.breaks.is_empty() {
            report.news.clear();
            report.written = write(&path, &locked, &updated)?;
        }
        Ok(report)
    }
}

impl SchemaLockReport {
    /// Whether all that was stored is read as it was, and nothing is to be locked.
    pub fn is_clean(&self) -> bool {
        self.breaks.is_empty() && self.news.is_empty()
    }
}

impl fmt::Display for SchemaLockReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for broken in &self.breaks {
            writeln!(f, "\n{broken}")?;
        }
        if !self.news.is_empty() {
            writeln!(f, "\nNot locked yet:")?;
            self.news.iter().try_for_each(|new| writeln!(f, "    {new}"))?;
            let first = if self.breaks.is_empty() { "" } else { "When what is above is mended: " };
            writeln!(f, "  {first}{VARIABLE}=update cargo test writes it; commit the file.")?;
        }
        Ok(())
    }
}

impl fmt::Debug for SchemaLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchemaLock")
            .field("path", &self.path)
            .field("mode", &self.mode)
            .field("kinds", &self.today.kinds().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// What is wrong with a sample, if anything.
fn unread(
    readers: &[Reader],
    kind: &str,
    role: Role,
    form: &Form,
    codec: Codec,
    payload: &Bytes,
) -> Option<SchemaBreak> {
    let reader = readers.iter().find(|reader| reader.kind == kind && reader.role == role)?;
    let version = form.version;
    let reason = match (reader.reads)(form, codec, payload) {
        Err(error) => BreakReason::SampleUnread { version, error: error.to_string() },
        Ok(stored) => {
            // What comes from an older version is written as another one.
            let [stored] = stored.as_slice() else { return None };
            let same_form = stored.manifest == form.manifest && stored.schema_version == version;
            if !same_form || stored.codec == codec && same(codec, &stored.payload, payload) {
                return None;
            }
            let (locked, today) = (shown(codec, payload), shown(stored.codec, &stored.payload));
            BreakReason::SampleChanged { version, locked, today }
        }
    };
    Some(SchemaBreak { kind: kind.to_owned(), role, manifest: form.manifest.to_string(), reason })
}

fn same(codec: Codec, one: &Bytes, other: &Bytes) -> bool {
    let value = |bytes: &Bytes| serde_json::from_slice::<serde_json::Value>(bytes).ok();
    one == other || codec == Codec::Json && value(one).is_some() && value(one) == value(other)
}

fn shown(codec: Codec, payload: &Bytes) -> String {
    match (codec, std::str::from_utf8(payload)) {
        (Codec::Json, Ok(text)) => text.to_owned(),
        _ => format!("{codec}, {} bytes: {payload:?}", payload.len()),
    }
}

fn envelope(sample: &PersistenceId, form: &Form, codec: Codec, payload: &Bytes) -> Envelope {
    Envelope {
        persistence_id: sample.clone(),
        seq_nr: SeqNr::FIRST,
        token: Token::NONE,
        writer: WriterId::from_bytes([0; 16]),
        timestamp: Timestamp::from_micros(0),
        manifest: form.manifest.clone(),
        schema_version: form.version,
        codec,
        tags: Vec::new(),
        trace_context: None,
        key_id: None,
        payload: payload.clone(),
    }
}

/// A file that is not there yet has locked nothing.
fn read(path: &Path) -> Result<LockFile, SchemaLockError> {
    match std::fs::read_to_string(path) {
        Ok(text) => LockFile::parse(&text)
            .map_err(|reason| SchemaLockError::Lock { path: path.to_path_buf(), reason }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(LockFile::new()),
        Err(error) => Err(SchemaLockError::File { path: path.to_path_buf(), reason: error.to_string() }),
    }
}

/// Leaves a file alone that says the same; whether it was written.
fn write(path: &Path, before: &LockFile, after: &LockFile) -> Result<bool, SchemaLockError> {
    if before.text() == after.text() {
        return Ok(false);
    }
    std::fs::write(path, after.text())
        .map_err(|error| SchemaLockError::File { path: path.to_path_buf(), reason: error.to_string() })?;
    Ok(true)
}

const VARIABLE: &str = "ANNALS_LOCK";
