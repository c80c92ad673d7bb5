use std::fmt;

use annals_journal::{Codec, Manifest};
use bytes::Bytes;

use crate::value_adapter::ValueAdapter;
use crate::{AdaptError, Command, Encoded, Form, ReadShape, SchemaError, Versions};

/// Makes a command into bytes that another node reads, and back, whichever of its versions the two nodes know.
///
/// ```
/// use annals_migrations::{Command, CommandAdapter};
/// # use serde::{Deserialize, Serialize};
/// #[derive(Serialize, Deserialize, Command)]
/// #[command(version = 2, from(1 => Step::default_value("reason", "")))]
/// struct Withdraw { cents: i64, reason: String }
/// # use annals_migrations::Step;
///
/// let withdraw = CommandAdapter::<Withdraw>::new("account")?;
/// let sent = br#"{"cents":5}"#.as_slice().into();
/// let read = withdraw.decode(&withdraw.form().manifest, 1, annals_journal::Codec::Json, &sent)?;
/// assert_eq!((read.cents, read.reason.as_str()), (5, ""));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct CommandAdapter<C>(ValueAdapter<C>);

impl<C: Command> CommandAdapter<C> {
    /// The adapter for entities of a kind.
    ///
    /// # Errors
    /// [`SchemaError`] when kind and name make no manifest, or its steps have a gap.
    pub fn new(kind: &str) -> Result<Self, SchemaError> {
        Ok(Self(ValueAdapter::new(kind, &C::SCHEMA, C::migrations())?))
    }

    /// What it is sent as to those who run today's code.
    pub fn form(&self) -> &Form {
        self.0.today()
    }

    /// The versions that it reads and the forms that it can be sent in.
    pub fn versions(&self) -> Vec<Versions> {
        self.0.versions()
    }

    /// The shapes of what it reads, for the lock file.
    pub fn shapes(&self) -> Vec<ReadShape> {
        self.0.shapes()
    }

    /// What is sent of a command.
    ///
    /// # Errors
    /// [`AdaptError::Unencodable`] when it has no stored form.
    pub fn encode(&self, command: &C) -> Result<Encoded, AdaptError> {
        self.0.encode(command)
    }

    /// What is sent of a command to a node that does not read today's form.
    ///
    /// # Errors
    /// As [`EventAdapter::to_journal_as`](crate::EventAdapter::to_journal_as).
    pub fn encode_as(&self, command: &C, form: &Form) -> Result<Encoded, AdaptError> {
        self.0.encode_as(command, form)
    }

    /// The command that was sent.
    ///
    /// # Errors
    /// [`AdaptError`] when this build cannot read it.
    pub fn decode(
        &self,
        manifest: &Manifest,
        version: u32,
        codec: Codec,
        payload: &Bytes,
    ) -> Result<C, AdaptError> {
        self.0.decode(manifest, version, codec, payload)
    }
}

impl<C> fmt::Debug for CommandAdapter<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CommandAdapter").field(&self.0).finish()
    }
}
