//! Finds what is missing, said twice or goes round before anything is read.

use std::any::{TypeId, type_name};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use annals_journal::{Codec, Manifest};

use super::{Chain, Down, Line, Link, Links, OfSchema, Stage, Target};
use crate::migrations::{Edge, Name};
use crate::step::End;
use crate::{CodecError, Form, Migrations, SchemaError, Step};

pub(super) fn chain<T: 'static>(
    kind: &str,
    today: &[(Manifest, u32, Codec)],
    migrations: Migrations<T>,
    finish: fn(usize, Stage) -> Result<T, CodecError>,
) -> Result<Chain<T>, SchemaError> {
    let Migrations { up, down, retired, .. } = migrations;
    let names = Names { kind, today };
    let retired = retired.iter().map(|name| names.manifest(name)).collect::<Result<BTreeSet<_>, _>>()?;
    let steps = Steps::new::<T>(&names, up, retired)?;
    steps.check()?;
    let down = Downward::new(&names, down)?;
    let ways = (0..today.len()).map(|schema| down.way(schema, &steps)).collect::<Result<Vec<_>, _>>()?;
    down.check_reached(&ways)?;
    Ok(steps.into_chain(ways, finish))
}

/// Makes what was said into manifests.
struct Names<'a> {
    kind: &'a str,
    today: &'a [(Manifest, u32, Codec)],
}

impl Names<'_> {
    fn manifest(&self, name: &Name) -> Result<Manifest, SchemaError> {
        let text = match name {
            Name::Schema(index) => return Ok(self.today[*index].0.clone()),
            Name::Said(text) if text.contains('.') => text.clone(),
            Name::Said(text) => format!("{}.{text}", self.kind),
        };
        Manifest::new(&text).map_err(|reason| SchemaError::Name { kind: self.kind.to_owned(), reason })
    }

    fn form(&self, (name, version): &(Name, u32)) -> Result<Form, SchemaError> {
        let form = Form::new(self.manifest(name)?, *version);
        if form.version == 0 {
            return Err(SchemaError::VersionZero { manifest: form.manifest });
        }
        Ok(form)
    }

    fn today(&self, manifest: &Manifest) -> Option<(usize, u32)> {
        let schema = self.today.iter().position(|(live, ..)| live == manifest)?;
        Some((schema, self.today[schema].1))
    }
}

/// All steps up.
struct Steps<'a> {
    names: &'a Names<'a>,
    from: BTreeMap<Form, (Step, Vec<Form>)>,
    retired: BTreeSet<Manifest>,
}

impl<'a> Steps<'a> {
    fn new<T: 'static>(
        names: &'a Names<'a>,
        up: Vec<Edge>,
        retired: BTreeSet<Manifest>,
    ) -> Result<Self, SchemaError> {
        let mut from = BTreeMap::new();
        for Edge { from: start, to, step } in up {
            let (start, next) = (names.form(&start)?, names.form(&to)?);
            let to = match step.end() {
                End::GoesOn => vec![next],
                End::Nothing => Vec::new(),
                End::Parts(parts) => parts
                    .iter()
                    .map(|(name, version)| names.form(&(Name::Said(name.clone()), *version)))
                    .collect::<Result<_, _>>()?,
                End::Values(made, _) if *made == TypeId::of::<T>() => Vec::new(),
                End::Values(_, made) => {
                    return Err(SchemaError::WrongEnd { from: start, made, wanted: type_name::<T>() });
                }
                End::Twice => return Err(SchemaError::StepAfterEnd { from: start }),
            };
            if from.contains_key(&start) || retired.contains(&start.manifest) {
                return Err(SchemaError::DuplicateStep { from: start });
            }
            from.insert(start, (step, to));
        }
        Ok(Self { names, from, retired })
    }

    fn check(&self) -> Result<(), SchemaError> {
        for manifest in &self.retired {
            if let Some((_, today)) = self.names.today(manifest) {
                return Err(SchemaError::StepFromToday { from: Form::new(manifest.clone(), today) });
            }
        }
        self.check_circles()?;
        for (form, (_, targets)) in &self.from {
            let today = self.names.today(&form.manifest).map(|(_, today)| today);
            if today.is_some_and(|today| form.version >= today) {
                return Err(SchemaError::StepFromToday { from: form.clone() });
            }
            let next = Form::new(form.manifest.clone(), form.version.saturating_add(1));
            let newer = self.from.range(&next..).any(|(other, _)| other.manifest == form.manifest);
            // A manifest's versions have no gaps.
            let follows = (newer || today.is_some()).then_some(&next);
            for wanted in targets.iter().chain(follows) {
                if !self.reads(wanted) {
                    return Err(SchemaError::MissingStep { from: form.clone(), missing: wanted.clone() });
                }
            }
        }
        Ok(())
    }

    /// Whether something reads a form: today's code, or a step.
    fn reads(&self, form: &Form) -> bool {
        self.is_today(form) || self.from.contains_key(form) || self.retired.contains(&form.manifest)
    }

    fn is_today(&self, form: &Form) -> bool {
        self.names.today(&form.manifest).is_some_and(|(_, today)| today == form.version)
    }

    fn check_circles(&self) -> Result<(), SchemaError> {
        let mut done = BTreeSet::new();
        for start in self.from.keys() {
            self.walk(start, &mut Vec::new(), &mut done)?;
        }
        Ok(())
    }

    fn walk<'f>(
        &'f self,
        form: &'f Form,
        path: &mut Vec<&'f Form>,
        done: &mut BTreeSet<&'f Form>,
    ) -> Result<(), SchemaError> {
        if let Some(at) = path.iter().position(|earlier| *earlier == form) {
            let circle = path[at..].iter().copied().chain([form]).cloned().collect();
            return Err(SchemaError::Circle { circle });
        }
        if done.contains(form) || self.is_today(form) {
            return Ok(());
        }
        if let Some((_, targets)) = self.from.get(form) {
            path.push(form);
            for target in targets {
                self.walk(target, path, done)?;
            }
            path.pop();
        }
        done.insert(form);
        Ok(())
    }

    fn into_chain<T: 'static>(
        self,
        ways: Vec<Vec<Down>>,
        finish: fn(usize, Stage) -> Result<T, CodecError>,
    ) -> Chain<T> {
        let Self { names, from, retired } = self;
        let mut oldest: BTreeMap<Manifest, u32> = retired.iter().map(|name| (name.clone(), 1)).collect();
        for form in from.keys() {
            oldest.entry(form.manifest.clone()).or_insert(form.version);
        }
        let index: BTreeMap<&Manifest, usize> =
            oldest.keys().enumerate().map(|(at, name)| (name, at)).collect();
        let target = |form: &Form| match names.today(&form.manifest) {
            Some((schema, today)) if today == form.version => Target::Today(schema),
            _ if retired.contains(&form.manifest) => Target::Nothing,
            // Each target was found to be read.
            _ => Target::Link {
                line: index[&form.manifest],
                at: (form.version - oldest[&form.manifest]) as usize,
            },
        };
        let mut lines: Vec<Line> = oldest
            .iter()
            .map(|(manifest, oldest)| Line {
                manifest: manifest.clone(),
                oldest: *oldest,
                links: if retired.contains(manifest) { Links::Retired } else { Links::Steps(Vec::new()) },
            })
            .collect();
        for (form, (step, to)) in from {
            let to = to.iter().map(target).collect();
            if let Links::Steps(links) = &mut lines[index[&form.manifest]].links {
                links.push(Link { step: Arc::new(step), to });
            }
        }
        let schemas = names
            .today
            .iter()
            .zip(ways)
            .map(|((manifest, version, codec), down)| OfSchema {
                today: Form::new(manifest.clone(), *version),
                codec: *codec,
                line: index.get(manifest).copied(),
                down,
            })
            .collect();
        Chain { lines, schemas, finish, is_stored_whole: false }
    }
}

/// All steps down.
struct Downward<'a> {
    names: &'a Names<'a>,
    from: BTreeMap<Form, (Arc<Step>, Form)>,
}

impl<'a> Downward<'a> {
    fn new(names: &'a Names<'a>, down: Vec<Edge>) -> Result<Self, SchemaError> {
        let mut from = BTreeMap::new();
        for Edge { from: start, to, step } in down {
            let (start, to) = (names.form(&start)?, names.form(&to)?);
            if !matches!(step.end(), End::GoesOn) {
                return Err(SchemaError::DividesDown { from: start });
            }
            if from.contains_key(&start) {
                return Err(SchemaError::DuplicateStep { from: start });
            }
            from.insert(start, (Arc::new(step), to));
        }
        Ok(Self { names, from })
    }

    /// The steps down from today's version of a schema.
    fn way(&self, schema: usize, steps: &Steps<'_>) -> Result<Vec<Down>, SchemaError> {
        let (manifest, version, _) = &self.names.today[schema];
        let mut path = vec![Form::new(manifest.clone(), *version)];
        let mut way = Vec::new();
        while let Some((step, to)) = path.last().and_then(|last| self.from.get(last)) {
            if path.contains(to) {
                path.push(to.clone());
                return Err(SchemaError::Circle { circle: path });
            }
            if !steps.reads(to) {
                return Err(SchemaError::WrittenUnread { form: to.clone() });
            }
            way.push(Down { to: to.clone(), step: Arc::clone(step) });
            path.push(to.clone());
        }
        Ok(way)
    }

    fn check_reached(&self, ways: &[Vec<Down>]) -> Result<(), SchemaError> {
        let today = self.names.today.iter().map(|(name, version, _)| Form::new(name.clone(), *version));
        let reached: BTreeSet<Form> =
            today.chain(ways.iter().flatten().map(|down| down.to.clone())).collect();
        match self.from.iter().find(|(from, _)| !reached.contains(from)) {
            None => Ok(()),
            Some((from, (_, to))) => {
                Err(SchemaError::MissingStepDown { missing: from.clone(), to: to.clone() })
            }
        }
    }
}
