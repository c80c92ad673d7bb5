//! The steps of a kind, checked and put in order.
//!
//! ```text
//! lines (one a manifest)          links (one an old version)
//! account.withdrawn   oldest 1    1 ─→ 2 ─→ today's schema 0
//! account.shifted     oldest 1    1 ─→ today's schema 1
//! account.pinged      retired     any ─→ nothing
//! ```

mod check;
mod stage;

use std::sync::Arc;

use annals_journal::{Codec, Manifest};
use bytes::Bytes;

pub(crate) use stage::{Stage, take};

use crate::{AdaptError, CodecError, Encoded, Form, Migrations, ReadShape, SchemaError, Step, Versions};

/// Brings what was stored up to a `T` of today, and what is stored today down to older versions.
pub(crate) struct Chain<T> {
    /// Sorted by manifest.
    lines: Vec<Line>,
    /// In the order of the schemas: the line of its older versions, and the steps down from today's.
    schemas: Vec<OfSchema>,
    finish: fn(usize, Stage) -> Result<T, CodecError>,
    /// A `T` is what is stored, too, so an older version may have that type as well: a step that yields one need not be the last.
    is_stored_whole: bool,
}

/// What one manifest is read with.
struct Line {
    manifest: Manifest,
    oldest: u32,
    links: Links,
}

enum Links {
    /// From `oldest` on.
    Steps(Vec<Link>),
    Retired,
}

struct Link {
    step: Arc<Step>,
    /// One, or as many as the step has parts, or none after its end.
    to: Vec<Target>,
}

#[derive(Clone, Copy)]
enum Target {
    Today(usize),
    Link { line: usize, at: usize },
    Nothing,
}

struct OfSchema {
    today: Form,
    codec: Codec,
    line: Option<usize>,
    down: Vec<Down>,
}

struct Down {
    to: Form,
    step: Arc<Step>,
}

impl<T: 'static> Chain<T> {
    /// Puts steps in order.
    ///
    /// `today` has the manifest, version and codec of each schema; `finish` makes the last stage into a value of a schema.
    pub(crate) fn new(
        kind: &str,
        today: &[(Manifest, u32, Codec)],
        migrations: Migrations<T>,
        finish: fn(usize, Stage) -> Result<T, CodecError>,
    ) -> Result<Self, SchemaError> {
        check::chain(kind, today, migrations, finish)
    }

    /// Values of the type are stored whole.
    pub(crate) fn stored_whole(self) -> Self {
        Self { is_stored_whole: true, ..self }
    }

    /// The versions of each manifest, today's first, in the order of the schemas.
    pub(crate) fn versions(&self) -> Vec<Versions> {
        let live = self.schemas.iter().map(|schema| Versions {
            manifest: schema.today.manifest.clone(),
            reads: self.oldest(schema)..=schema.today.version,
            writes: std::iter::once(&schema.today)
                .chain(schema.down.iter().map(|down| &down.to))
                .cloned()
                .collect(),
        });
        let is_live = |line: &Line| self.schemas.iter().any(|schema| schema.today.manifest == line.manifest);
        let old = self.lines.iter().filter(|line| !is_live(line)).map(|line| Versions {
            manifest: line.manifest.clone(),
            reads: line.oldest..=line.newest(),
            writes: Vec::new(),
        });
        live.chain(old).collect()
    }

    /// What the steps from older versions take.
    pub(crate) fn shapes(&self) -> impl Iterator<Item = ReadShape> {
        self.lines.iter().flat_map(|line| {
            let links = match &line.links {
                Links::Steps(links) => links.as_slice(),
                Links::Retired => &[],
            };
            (line.oldest..).zip(links).map(|(version, link)| ReadShape {
                form: Form::new(line.manifest.clone(), version),
                codec: None,
                shape: link.step.takes(),
            })
        })
    }

    /// Reads what is not at today's version of schema `index` in today's codec; the error says why when there is no way.
    pub(crate) fn read_older(
        &self,
        index: usize,
        stored: Stored<'_>,
        each: &mut dyn FnMut(T),
    ) -> Result<(), AdaptError> {
        let schema = &self.schemas[index];
        let (oldest, newest) = (self.oldest(schema), schema.today.version);
        let manifest = || stored.manifest.clone();
        if stored.version > newest {
            return Err(AdaptError::FromTheFuture {
                manifest: manifest(),
                stored: stored.version,
                oldest,
                newest,
            });
        }
        if stored.version == newest {
            return Err(AdaptError::OtherCodec {
                manifest: manifest(),
                version: newest,
                stored: stored.codec,
                expected: schema.codec,
            });
        }
        match schema.line {
            Some(line) if stored.version >= oldest => self.go(line, stored, each),
            _ => Err(AdaptError::NoUpcaster { manifest: manifest(), stored: stored.version, oldest, newest }),
        }
    }

    /// Reads what is stored under a manifest that no schema has today.
    pub(crate) fn read_other(&self, stored: Stored<'_>, each: &mut dyn FnMut(T)) -> Result<(), AdaptError> {
        let Ok(line) = self.lines.binary_search_by(|line| line.manifest.cmp(stored.manifest)) else {
            return Err(AdaptError::UnknownManifest {
                manifest: stored.manifest.clone(),
                stored: stored.version,
            });
        };
        let Line { oldest, .. } = self.lines[line];
        let newest = self.lines[line].newest();
        let (manifest, version) = (|| stored.manifest.clone(), stored.version);
        if version > newest {
            return Err(AdaptError::FromTheFuture { manifest: manifest(), stored: version, oldest, newest });
        }
        if version < oldest {
            return Err(AdaptError::NoUpcaster { manifest: manifest(), stored: version, oldest, newest });
        }
        self.go(line, stored, each)
    }

    /// What is stored, in an older form, of the value of schema `index` whose stored form today is `encoded`.
    pub(crate) fn write_as(
        &self,
        index: usize,
        encoded: Encoded,
        form: &Form,
    ) -> Result<Encoded, AdaptError> {
        let schema = &self.schemas[index];
        let Some(last) = schema.down.iter().position(|down| down.to == *form) else {
            return Err(AdaptError::NoDowncaster { from: schema.today.clone(), to: form.clone() });
        };
        let mut stage = Stage::Stored(encoded.codec, encoded.payload);
        for down in &schema.down[..=last] {
            stage = down.step.run(stage).map_err(|reason| AdaptError::StepDown {
                from: schema.today.clone(),
                to: down.to.clone(),
                reason,
            })?;
        }
        let (codec, payload) = stage.into_stored().map_err(|reason| AdaptError::StepDown {
            from: schema.today.clone(),
            to: form.clone(),
            reason,
        })?;
        Ok(Encoded {
            manifest: form.manifest.clone(),
            schema_version: form.version,
            codec,
            payload,
            read_back: true,
        })
    }

    /// Whether today's form of schema `index` is meant.
    pub(crate) fn is_today(&self, index: usize, form: &Form) -> bool {
        self.schemas[index].today == *form
    }

    fn oldest(&self, schema: &OfSchema) -> u32 {
        schema.line.map_or(schema.today.version, |line| self.lines[line].oldest)
    }

    fn go(&self, line: usize, stored: Stored<'_>, each: &mut dyn FnMut(T)) -> Result<(), AdaptError> {
        let at = (stored.version - self.lines[line].oldest) as usize;
        let target = match self.lines[line].links {
            Links::Retired => return Ok(()),
            Links::Steps(_) => Target::Link { line, at },
        };
        self.follow(target, Stage::Stored(stored.codec, stored.payload.clone()), stored, each)
    }

    fn follow(
        &self,
        mut target: Target,
        mut stage: Stage,
        stored: Stored<'_>,
        each: &mut dyn FnMut(T),
    ) -> Result<(), AdaptError> {
        let failed = |at: Form, reason| AdaptError::StepUp {
            manifest: stored.manifest.clone(),
            version: stored.version,
            at,
            reason,
        };
        loop {
            let (line, at) = match target {
                Target::Nothing => return Ok(()),
                Target::Today(schema) => {
                    let value = (self.finish)(schema, stage)
                        .map_err(|reason| failed(self.schemas[schema].today.clone(), reason))?;
                    each(value);
                    return Ok(());
                }
                Target::Link { line, at } => (&self.lines[line], at),
            };
            let Links::Steps(links) = &line.links else { return Ok(()) };
            let form = || Form::new(line.manifest.clone(), line.oldest.saturating_add(at as u32));
            stage = links[at].step.run(stage).map_err(|reason| failed(form(), reason))?;
            match stage {
                Stage::Nothing => return Ok(()),
                Stage::Ended(values) => {
                    // The type was compared when the chain was made.
                    if let Ok(values) = values.downcast::<Vec<T>>() {
                        values.into_iter().for_each(each);
                    }
                    return Ok(());
                }
                Stage::Parts(parts) => {
                    for (place, part) in parts {
                        self.follow(links[at].to[place], Stage::Json(part), stored, each)?;
                    }
                    return Ok(());
                }
                Stage::Typed(mut typed) => {
                    let ends = !self.is_stored_whole || matches!(links[at].to[..], [Target::Today(_)]);
                    if let Some(value) = ends.then(|| take::<T>(&mut *typed)).flatten() {
                        each(value);
                        return Ok(());
                    }
                    stage = Stage::Typed(typed);
                }
                Stage::Stored(..) | Stage::Json(_) => {}
            }
            target = links[at].to.first().copied().unwrap_or(Target::Nothing);
        }
    }
}

/// What is read.
#[derive(Clone, Copy)]
pub(crate) struct Stored<'a> {
    pub(crate) manifest: &'a Manifest,
    pub(crate) version: u32,
    pub(crate) codec: Codec,
    pub(crate) payload: &'a Bytes,
}

impl Line {
    fn newest(&self) -> u32 {
        match &self.links {
            Links::Retired => u32::MAX,
            Links::Steps(links) => self.oldest.saturating_add(links.len() as u32 - 1),
        }
    }
}
