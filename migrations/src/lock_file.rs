use std::collections::BTreeMap;

use annals_journal::{Codec, Manifest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Form, ReadShape, Role, Shape, Versions};

mod compare;
mod schema_break;

pub use schema_break::{BreakReason, SchemaBreak};

/// What a build stores, sends and reads: a text to keep in the repository, that a test holds today's code against.
///
/// ```text
/// {
///   "annals": "schemas", "format": 1,
///   "kinds": {
///     "account": {
///       "events": {
///         "account.pinged": { "reads": [1, 4294967295] },
///         "account.withdrawn": {
///           "reads": [1, 2],                                 the oldest and the newest version, and all between
///           "version": 2, "codec": "json",                   what is written; neither: it is only read
///           "writes": [["account.withdrawn", 2], ..],        the forms that it can be written in, newest first
///           "shapes": { "1": {"cents": "i64"}, "2": .. },    of all versions that were ever locked
///           "samples": { "1": [{"json": {"cents": 5}}] }     payloads that were locked; or {"codec": 2, "base64": ".."}
///         }
///       },
///       "state": { "account.state": .. },
///       "commands": { "account.withdraw": .. }
///     }
///   }
/// }
/// ```
///
/// The test that writes and checks it is `SchemaLock` of the test kit; this is the file alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockFile {
    annals: String,
    format: u32,
    kinds: BTreeMap<String, LockedKind>,
}

/// What one kind of entity stores and reads.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LockedKind {
    #[serde(default)]
    events: BTreeMap<String, Locked>,
    #[serde(default)]
    state: BTreeMap<String, Locked>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    commands: BTreeMap<String, Locked>,
}

/// One manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Locked {
    reads: (u32, u32),
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    codec: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    writes: Vec<(String, u32)>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    shapes: BTreeMap<u32, Shape>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    samples: BTreeMap<u32, Vec<Sample>>,
    /// What the steps from older versions take; only of a build, never in a file.
    #[serde(skip)]
    steps: BTreeMap<u32, Shape>,
}

/// A payload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Sample {
    Json { json: Value },
    Bytes { codec: u32, base64: String },
}

/// Why a text is no lock file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// It is not the JSON of one.
    #[error("it is no lock file of schemas: {0}")]
    Json(serde_json::Error),
    /// Its format is newer than this build.
    #[error(
        "its format is {format}, this build reads {FORMAT}: read it with the version of Annals that wrote it"
    )]
    Format {
        /// What it says.
        format: u32,
    },
    /// Something in it cannot be.
    #[error("kind {kind:?}, manifest {manifest:?}: {reason}")]
    Manifest {
        /// Of which kind.
        kind: String,
        /// What it says.
        manifest: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl LockFile {
    /// Without any kind.
    pub fn new() -> Self {
        Self { annals: WHAT.to_owned(), format: FORMAT, kinds: BTreeMap::new() }
    }

    /// Reads the text of one.
    ///
    /// # Errors
    /// [`LockError`] when it is none, or of a newer format.
    pub fn parse(text: &str) -> Result<Self, LockError> {
        /// Read first, because a newer format may have other fields.
        #[derive(Deserialize)]
        struct Header {
            annals: String,
            format: u32,
        }
        let header: Header = serde_json::from_str(text).map_err(LockError::Json)?;
        if header.annals != WHAT {
            let error =
                serde::de::Error::custom(format!("it says \"annals\": {:?}, not {WHAT:?}", header.annals));
            return Err(LockError::Json(error));
        }
        if header.format != FORMAT {
            return Err(LockError::Format { format: header.format });
        }
        let lock: Self = serde_json::from_str(text).map_err(LockError::Json)?;
        lock.check()?;
        Ok(lock)
    }

    /// The text, which [`LockFile::parse`] reads; it ends with a new line.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // A tree of texts and numbers has a JSON form.
        write(&serde_json::to_value(self).unwrap_or_default(), 0, &mut text);
        text.push('\n');
        text
    }

    /// Adds what a kind stores as events or as its state, or is sent as commands; what was said of that before is replaced.
    pub fn add(&mut self, kind: &str, role: Role, versions: &[Versions], shapes: &[ReadShape]) {
        let mut all = BTreeMap::new();
        for of in versions {
            let today =
                of.writes.first().filter(|form| form.manifest == of.manifest).map(|form| form.version);
            let shaped = || shapes.iter().filter(|shape| shape.form.manifest == of.manifest);
            let now = shaped().find(|shape| Some(shape.form.version) == today && shape.codec.is_some());
            let steps = shaped().filter(|shape| shape.codec.is_none());
            let steps = steps.filter_map(|shape| Some((shape.form.version, shape.shape.clone()?)));
            let locked = Locked {
                reads: (*of.reads.start(), *of.reads.end()),
                version: today,
                codec: now.and_then(|shape| shape.codec).map(|codec| codec.to_string()),
                writes: of.writes.iter().map(|form| (form.manifest.to_string(), form.version)).collect(),
                shapes: now
                    .and_then(|shape| Some((shape.form.version, shape.shape.clone()?)))
                    .into_iter()
                    .collect(),
                samples: BTreeMap::new(),
                steps: steps.collect(),
            };
            all.insert(of.manifest.to_string(), locked);
        }
        *self.kinds.entry(kind.to_owned()).or_default().role_mut(role) = all;
    }

    /// Adds a payload of today's code, unless the form has it.
    pub fn add_sample(&mut self, kind: &str, role: Role, form: &Form, codec: Codec, payload: &Bytes) {
        let of_kind = self.kinds.entry(kind.to_owned()).or_default();
        let Some(locked) = of_kind.role_mut(role).get_mut(form.manifest.as_str()) else { return };
        let samples = locked.samples.entry(form.version).or_default();
        let sample = Sample::of(codec, payload);
        if !samples.contains(&sample) {
            samples.push(sample);
        }
    }

    /// The kinds, in order.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.kinds.keys().map(String::as_str)
    }

    /// What the build reads and writes in a journal: events and states of all kinds.
    pub fn versions(&self) -> Vec<Versions> {
        let all = self.kinds.values().flat_map(|kind| kind.events.iter().chain(&kind.state));
        all.filter_map(|(manifest, locked)| {
            // Each was checked when the file was read, or is a build's own.
            let form = |(manifest, version): &(String, u32)| {
                Some(Form::new(Manifest::new(manifest).ok()?, *version))
            };
            Some(Versions {
                manifest: Manifest::new(manifest).ok()?,
                reads: locked.reads.0..=locked.reads.1,
                writes: locked.writes.iter().filter_map(form).collect(),
            })
        })
        .collect()
    }

    /// The payloads that were locked of a kind, each with its form and codec.
    pub fn samples(&self, kind: &str, role: Role) -> Vec<(Form, Codec, Bytes)> {
        let of_kind = self.kinds.get(kind).map(|kind| kind.role(role)).into_iter().flatten();
        let mut samples = Vec::new();
        for (manifest, locked) in of_kind {
            let Ok(manifest) = Manifest::new(manifest) else { continue };
            for (version, sample) in
                locked.samples.iter().flat_map(|(version, all)| all.iter().map(move |one| (version, one)))
            {
                // Checked when the file was read.
                if let Ok((codec, payload)) = sample.payload() {
                    samples.push((Form::new(manifest.clone(), *version), codec, payload));
                }
            }
        }
        samples
    }

    /// Forgets the payloads that were locked, but for those to keep.
    pub fn retain_samples(&mut self, mut keep: impl FnMut(&str, Role, &Form, Codec, &Bytes) -> bool) {
        for (kind, of_kind) in &mut self.kinds {
            for role in ROLES {
                for (manifest, locked) in of_kind.role_mut(role) {
                    let Ok(manifest) = Manifest::new(manifest) else { continue };
                    for (version, samples) in &mut locked.samples {
                        let form = Form::new(manifest.clone(), *version);
                        samples.retain(|sample| {
                            sample
                                .payload()
                                .is_ok_and(|(codec, payload)| keep(kind, role, &form, codec, &payload))
                        });
                    }
                    locked.samples.retain(|_, samples| !samples.is_empty());
                }
            }
        }
    }

    fn check(&self) -> Result<(), LockError> {
        for (kind, of_kind) in &self.kinds {
            for (manifest, locked) in ROLES.into_iter().flat_map(|role| of_kind.role(role)) {
                locked.check(manifest).map_err(|reason| LockError::Manifest {
                    kind: kind.clone(),
                    manifest: manifest.clone(),
                    reason,
                })?;
            }
        }
        Ok(())
    }
}

impl Default for LockFile {
    fn default() -> Self {
        Self::new()
    }
}

impl LockedKind {
    fn role(&self, role: Role) -> &BTreeMap<String, Locked> {
        match role {
            Role::Event => &self.events,
            Role::State => &self.state,
            Role::Command => &self.commands,
        }
    }

    fn role_mut(&mut self, role: Role) -> &mut BTreeMap<String, Locked> {
        match role {
            Role::Event => &mut self.events,
            Role::State => &mut self.state,
            Role::Command => &mut self.commands,
        }
    }
}

impl Locked {
    fn check(&self, manifest: &str) -> Result<(), String> {
        for name in self.writes.iter().map(|(name, _)| name.as_str()).chain([manifest]) {
            Manifest::new(name).map_err(|error| error.to_string())?;
        }
        if self.reads.0 == 0 || self.reads.0 > self.reads.1 {
            return Err(format!("\"reads\": [{}, {}] is no range of versions", self.reads.0, self.reads.1));
        }
        for sample in self.samples.values().flatten() {
            sample.payload().map_err(|error| format!("a sample: {error}"))?;
        }
        Ok(())
    }
}

impl Sample {
    fn of(codec: Codec, payload: &Bytes) -> Self {
        match (codec, serde_json::from_slice(payload)) {
            (Codec::Json, Ok(json)) => Self::Json { json },
            _ => Self::Bytes { codec: codec.number(), base64: STANDARD.encode(payload) },
        }
    }

    fn payload(&self) -> Result<(Codec, Bytes), String> {
        match self {
            Self::Json { json } => Ok((Codec::Json, json.to_string().into())),
            Self::Bytes { codec, base64 } => {
                let codec =
                    Codec::from_number(*codec).ok_or_else(|| format!("no codec has number {codec}"))?;
                let payload = STANDARD.decode(base64).map_err(|error| error.to_string())?;
                Ok((codec, payload.into()))
            }
        }
    }
}

/// JSON with what is short on one line: a shape that changed is a line or two in version control.
fn write(value: &Value, depth: usize, out: &mut String) {
    let whole = value.to_string();
    let indent = "  ".repeat(depth + 1);
    let is_short = depth > 1 && indent.len() + whole.len() <= WIDTH;
    let (open, close, entries) = match value {
        Value::Object(fields) if !is_short && !fields.is_empty() => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_by_key(|(name, _)| *name);
            let named = |(name, value)| (format!("{}: ", Value::String(String::clone(name))), value);
            ('{', '}', sorted.into_iter().map(named).collect::<Vec<_>>())
        }
        Value::Array(elements) if !is_short && !elements.is_empty() => {
            ('[', ']', elements.iter().map(|value| (String::new(), value)).collect())
        }
        _ => return out.push_str(&whole),
    };
    out.push(open);
    for (at, (name, value)) in entries.into_iter().enumerate() {
        out.push_str(if at == 0 { "\n" } else { ",\n" });
        out.push_str(&indent);
        out.push_str(&name);
        write(value, depth + 1, out);
    }
    out.push('\n');
    out.push_str(&indent[2..]);
    out.push(close);
}

const ROLES: [Role; 3] = [Role::Event, Role::State, Role::Command];
const WIDTH: usize = 100;
const WHAT: &str = "schemas";
const FORMAT: u32 = 1;
