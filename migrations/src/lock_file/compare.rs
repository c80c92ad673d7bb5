//! Today's code against what was locked.

use super::schema_break::BreakReason;
use super::{LockFile, Locked, ROLES, SchemaBreak};
use crate::Role;

impl LockFile {
    /// What today's code does to what older code stored; `self` is what was locked.
    pub fn breaks(&self, today: &Self) -> Vec<SchemaBreak> {
        let mut found = Vec::new();
        for (kind, locked) in &self.kinds {
            let Some(now) = today.kinds.get(kind) else {
                found.push(SchemaBreak {
                    kind: kind.clone(),
                    role: Role::Event,
                    manifest: String::new(),
                    reason: BreakReason::KindGone,
                });
                continue;
            };
            for role in ROLES {
                for (manifest, locked) in locked.role(role) {
                    let reasons = match now.role(role).get(manifest) {
                        None => {
                            vec![BreakReason::Removed { newest: locked.version.unwrap_or(locked.reads.1) }]
                        }
                        Some(now) => locked.breaks(now),
                    };
                    found.extend(reasons.into_iter().map(|reason| SchemaBreak {
                        kind: kind.clone(),
                        role,
                        manifest: manifest.clone(),
                        reason,
                    }));
                }
            }
        }
        found
    }

    /// Today's forms whose shape cannot be seen and for which no sample is locked or given.
    pub fn unseen(&self) -> Vec<SchemaBreak> {
        self.each()
            .filter_map(|(kind, role, manifest, locked)| {
                let version = locked.version?;
                let seen = locked.shapes.contains_key(&version) || locked.samples.contains_key(&version);
                let reason = BreakReason::Unseen { version, codec: locked.codec.clone() };
                (!seen).then(|| SchemaBreak {
                    kind: kind.to_owned(),
                    role,
                    manifest: manifest.to_owned(),
                    reason,
                })
            })
            .collect()
    }

    /// The lock file that goes with today's code: with the shapes and samples of older versions that were locked.
    #[must_use]
    pub fn updated(&self, today: &Self) -> Self {
        let mut updated = today.clone();
        for (kind, now) in &mut updated.kinds {
            let Some(locked) = self.kinds.get(kind) else { continue };
            for role in ROLES {
                for (manifest, now) in now.role_mut(role) {
                    now.steps.clear();
                    let Some(locked) = locked.role(role).get(manifest) else { continue };
                    let readable = |version: &u32| (now.reads.0..=now.reads.1).contains(version);
                    let shapes = locked.shapes.iter().filter(|(version, _)| readable(version));
                    for (version, shape) in shapes {
                        now.shapes.entry(*version).or_insert_with(|| shape.clone());
                    }
                    let samples = locked.samples.iter().filter(|(version, _)| readable(version));
                    for (version, samples) in samples {
                        let all = now.samples.entry(*version).or_default();
                        for sample in
                            samples.iter().rev().filter(|sample| !all.contains(sample)).collect::<Vec<_>>()
                        {
                            all.insert(0, sample.clone());
                        }
                    }
                }
            }
        }
        updated
    }

    /// As [`LockFile::updated`], and without the shapes of older versions that today's steps cannot read.
    #[must_use]
    pub fn overwritten(&self, today: &Self) -> Self {
        let mut all = self.updated(today);
        for (kind, of_kind) in &today.kinds {
            for role in ROLES {
                for (manifest, now) in of_kind.role(role) {
                    let Some(locked) =
                        all.kinds.get_mut(kind).and_then(|kind| kind.role_mut(role).get_mut(manifest))
                    else {
                        continue;
                    };
                    locked.shapes.retain(|version, shape| {
                        now.steps.get(version).is_none_or(|takes| takes.cannot_read(shape).is_empty())
                    });
                }
            }
        }
        all
    }

    /// What today's code has that is not locked yet: a sentence each.
    pub fn news(&self, today: &Self) -> Vec<String> {
        let updated = self.updated(today);
        let mut news = Vec::new();
        for (kind, role, manifest, now) in updated.each() {
            let Some(of_kind) = self.kinds.get(kind) else {
                news.push(format!("kind {kind:?}"));
                continue;
            };
            let version = now.version.map_or(String::new(), |version| format!(" version {version}"));
            match of_kind.role(role).get(manifest) {
                None => news.push(format!("{manifest}{version}")),
                Some(locked) if locked.version != now.version => news.push(format!("{manifest}{version}")),
                Some(locked) if locked.reads != now.reads => {
                    news.push(format!("{manifest} is read from version {} to {}", now.reads.0, now.reads.1));
                }
                Some(locked) if locked.writes != now.writes => {
                    news.push(format!("{manifest} can be written in other older forms"));
                }
                Some(locked) if locked.samples != now.samples => news.push(format!("samples of {manifest}")),
                Some(locked) if locked.shapes != now.shapes || locked.codec != now.codec => {
                    news.push(format!("the shape of {manifest}"));
                }
                Some(_) => {}
            }
        }
        news.dedup();
        news
    }

    fn each(&self) -> impl Iterator<Item = (&str, Role, &str, &Locked)> {
        self.kinds.iter().flat_map(|(kind, of_kind)| {
            ROLES.into_iter().flat_map(move |role| {
                let all = of_kind.role(role).iter();
                all.map(move |(manifest, locked)| (kind.as_str(), role, manifest.as_str(), locked))
            })
        })
    }
}

impl Locked {
    /// What a build with `now` does to what one with this one stored.
    fn breaks(&self, now: &Self) -> Vec<BreakReason> {
        let mut found = Vec::new();
        if let (Some(locked), Some(today)) = (self.version, now.version)
            && today < locked
        {
            // All else follows from it.
            return vec![BreakReason::Lowered { locked, today }];
        }
        // A manifest that was retired was read whatever its version; what came before is what was stored.
        let newest = self.version.unwrap_or(self.reads.1.min(now.reads.1));
        if now.reads.0 > self.reads.0 {
            let to = newest.min(now.reads.0 - 1).max(self.reads.0);
            found.push(BreakReason::NoUpcaster { from: self.reads.0, to, today: now.version });
        } else if now.reads.1 < newest {
            found.push(BreakReason::NoUpcaster { from: now.reads.1 + 1, to: newest, today: now.version });
        }
        if let (true, Some(version)) = (self.version == now.version, self.version) {
            found.extend(self.changed(now, version));
        }
        for (version, takes) in &now.steps {
            let Some(stored) = self.shapes.get(version) else { continue };
            let differences = takes.cannot_read(stored);
            if !differences.is_empty() {
                found.push(BreakReason::StepReadsOther { version: *version, differences });
            }
        }
        found
    }

    /// What changed within a version.
    fn changed(&self, now: &Self, version: u32) -> Option<BreakReason> {
        if let (Some(locked), Some(today)) = (&self.codec, &now.codec)
            && locked != today
        {
            return Some(BreakReason::CodecChanged { version, locked: locked.clone(), today: today.clone() });
        }
        let (locked, today) = (self.shapes.get(&version)?, now.shapes.get(&version)?);
        let differences = locked.differences(today);
        (!differences.is_empty()).then_some(BreakReason::ShapeChanged { version, differences })
    }
}
