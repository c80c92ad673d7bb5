use annals_journal::{Codec, InvalidName, Manifest};

use crate::Form;

/// Why a value has no bytes, or bytes are no value.
///
/// The messages of this crate's errors are complete: what they contain is not their `source` besides.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// serde_json refused; its message says why and where.
    #[error("JSON: {0}")]
    Json(serde_json::Error),
    /// The bytes are no such protobuf message.
    #[error("protobuf: {0}")]
    Protobuf(prost::DecodeError),
    /// The event has no schema with this index.
    #[error("there is no schema number {0}")]
    UnknownSchema(usize),
    /// A codec of the user's own refused.
    #[error("{0}")]
    Custom(Box<dyn std::error::Error + Send + Sync>),
}

impl CodecError {
    /// What a codec or a [`Step`](crate::Step) of the user's own has to say.
    pub fn custom(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Custom(reason.into())
    }
}

impl From<serde_json::Error> for CodecError {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error)
    }
}

impl From<prost::DecodeError> for CodecError {
    fn from(error: prost::DecodeError) -> Self {
        Self::Protobuf(error)
    }
}

/// Why an event, a state or a command cannot be stored or read.
///
/// All of them lie in the code that runs or in what is stored, so trying again does not help: deploy code that fits.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdaptError {
    /// No type of this build is stored under that name.
    #[error(
        "manifest {manifest} is unknown to this build (stored is version {stored}): a variant or type was renamed or removed; give it its old name with \
         `manifest = \"{manifest}\"`, or say with `from(..)` or `retired(..)` how it is read"
    )]
    UnknownManifest {
        /// What the envelope says.
        manifest: Manifest,
        /// Its version, as the envelope says.
        stored: u32,
    },
    /// Stored by newer code.
    #[error(
        "{manifest} version {stored} was stored by a newer build, this one reads {}: run the newer build",
        versions(*oldest, *newest)
    )]
    FromTheFuture {
        /// What the payload is.
        manifest: Manifest,
        /// The version in the journal.
        stored: u32,
        /// The oldest version that this build reads.
        oldest: u32,
        /// The newest version that this build reads.
        newest: u32,
    },
    /// Stored by older code, and nothing says how to read it today.
    #[error(
        "{manifest} version {stored} is older than what this build reads, {}: \
         add an upcaster from version {stored}",
        versions(*oldest, *newest)
    )]
    NoUpcaster {
        /// What the payload is.
        manifest: Manifest,
        /// The version in the journal.
        stored: u32,
        /// The oldest version that this build reads.
        oldest: u32,
        /// The newest version that this build reads.
        newest: u32,
    },
    /// Stored in another encoding than this build's.
    #[error(
        "{manifest} version {version} is stored as {stored}, this build reads it as {expected}: \
         a change of codec needs a new version"
    )]
    OtherCodec {
        /// What the payload is.
        manifest: Manifest,
        /// The version of both.
        version: u32,
        /// What the envelope says.
        stored: Codec,
        /// What this build reads.
        expected: Codec,
    },
    /// The bytes do not have the shape that manifest and version promise.
    #[error(
        "{manifest} version {version} cannot be read: {reason} \
         (when its shape changed, it needs a new version)"
    )]
    Undecodable {
        /// What the payload is.
        manifest: Manifest,
        /// The version in the journal.
        version: u32,
        /// What the codec said.
        reason: CodecError,
    },
    /// The value has no stored form.
    #[error("{manifest} version {version} cannot be stored: {reason}")]
    Unencodable {
        /// What the payload would be.
        manifest: Manifest,
        /// The version that it would have.
        version: u32,
        /// What the codec said.
        reason: CodecError,
    },
    /// The value has a stored form, from which it could not be read again.
    #[error(
        "{manifest} version {version} is not stored, because it could not be read again: {reason} \
         (give serde a default for what it skips, keep numbers finite)"
    )]
    Unreadable {
        /// What the payload would be.
        manifest: Manifest,
        /// The version that it would have.
        version: u32,
        /// What the codec said.
        reason: CodecError,
    },
    /// A hand-written `Event` says that it has a schema which it does not list.
    #[error(
        "the event says that it has schema number {index}, which its SCHEMAS do not list: correct its `schema`"
    )]
    NoSchema {
        /// What its `schema` answered.
        index: usize,
    },
    /// A step up refused what is stored, or could not read it.
    #[error("{manifest} version {version} cannot be read: the step from {at}: {reason}")]
    StepUp {
        /// What the payload is.
        manifest: Manifest,
        /// The version in the journal.
        version: u32,
        /// Where the step begins; today's form when the last step did not yield its shape.
        at: Form,
        /// What the step said.
        reason: CodecError,
    },
    /// A step down refused the value.
    #[error("{from} cannot be written as {to}: {reason}")]
    StepDown {
        /// What it is today.
        from: Form,
        /// As what it was to be written.
        to: Form,
        /// What the step said.
        reason: CodecError,
    },
    /// No step leads down to what is to be written.
    #[error("{from} cannot be written as {to}: add a downcaster with `to({} => ..)`", to.version)]
    NoDowncaster {
        /// What it is today.
        from: Form,
        /// As what it is to be written.
        to: Form,
    },
    /// An adapter of the user's own refused.
    #[error("{manifest} version {version}: {reason}")]
    Custom {
        /// What the payload is.
        manifest: Manifest,
        /// The version in the journal.
        version: u32,
        /// What the adapter said.
        reason: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Why the types of a kind cannot be stored; found when the kind is registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// The kind and a name make no manifest.
    #[error("kind {kind:?}: {reason}")]
    Name {
        /// The kind.
        kind: String,
        /// Which rule is broken.
        reason: InvalidName,
    },
    /// Two variants of one event would be stored under one name.
    #[error(
        "kind {kind:?}: two variants are stored as {manifest}: \
         give one of them another name with #[event(manifest = \"...\")]"
    )]
    Duplicate {
        /// The kind.
        kind: String,
        /// The name that both have.
        manifest: Manifest,
    },
    /// Versions begin at 1.
    #[error("{manifest} has version 0: versions begin at 1")]
    VersionZero {
        /// What has no version.
        manifest: Manifest,
    },
    /// A step leads to a version, or skips one, that nothing reads.
    #[error(
        "nothing reads {missing}, which follows {from}: add a step from version {} with `from({} => ..)`",
        missing.version, missing.version
    )]
    MissingStep {
        /// Where the step before it begins.
        from: Form,
        /// What nothing reads.
        missing: Form,
    },
    /// A step down begins where no other one leads.
    #[error("no step leads down to {missing}, so it cannot be written as {to}: add a step to version {}", missing.version)]
    MissingStepDown {
        /// Where the step that is there begins.
        missing: Form,
        /// Where it leads.
        to: Form,
    },
    /// Two steps begin at one version, or a retired manifest has one.
    #[error("two steps begin at {from}: remove one")]
    DuplicateStep {
        /// Where both begin.
        from: Form,
    },
    /// Steps lead round in a circle.
    #[error("steps lead in a circle: {}", path(circle))]
    Circle {
        /// The way, from a form back to it.
        circle: Vec<Form>,
    },
    /// A step begins at what this build writes today, or later, or that was retired.
    #[error(
        "{from} is what this build writes today, and a step begins there: raise the version of the variant that it is to become, or \
         remove the step"
    )]
    StepFromToday {
        /// Where it begins.
        from: Form,
    },
    /// A step follows one that ends the chain.
    #[error("a step from {from} goes on after one that ends the chain: remove what follows `.then(..)`")]
    StepAfterEnd {
        /// Where it begins.
        from: Form,
    },
    /// A step ends in another type than the kind's.
    #[error("the step from {from} yields {made}, where {wanted} belongs")]
    WrongEnd {
        /// Where it begins.
        from: Form,
        /// What it yields.
        made: &'static str,
        /// What it should yield.
        wanted: &'static str,
    },
    /// A step down yields no one shape.
    #[error("the step down from {from} divides or drops: what is written must have one shape")]
    DividesDown {
        /// Where it begins.
        from: Form,
    },
    /// What a step down writes could not be read again by the build that wrote it.
    #[error("{form} is written by a downcaster, and nothing reads it: add a step from version {} with `from({} => ..)`", form.version, form.version)]
    WrittenUnread {
        /// What would be written.
        form: Form,
    },
}

fn path(circle: &[Form]) -> String {
    circle.iter().map(ToString::to_string).collect::<Vec<_>>().join(" → ")
}

fn versions(oldest: u32, newest: u32) -> String {
    if newest == u32::MAX {
        return "every version".to_owned();
    }
    if oldest == newest { format!("version {newest}") } else { format!("versions {oldest} to {newest}") }
}
