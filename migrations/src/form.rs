use std::fmt;
use std::ops::RangeInclusive;

use annals_journal::{Codec, Manifest};

use crate::Shape;

/// A manifest at one version: what a payload is said to be.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Form {
    /// What the payload is.
    pub manifest: Manifest,
    /// Version of its shape, from 1.
    pub version: u32,
}

impl Form {
    /// A manifest at a version.
    pub fn new(manifest: Manifest, version: u32) -> Self {
        Self { manifest, version }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} version {}", self.manifest, self.version)
    }
}

/// What a build does with one manifest: the versions that it reads, and the forms in which it can write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versions {
    /// What the payload is.
    pub manifest: Manifest,
    /// The oldest and the newest version that it reads, and all between them.
    pub reads: RangeInclusive<u32>,
    /// The forms in which it can write what it has today, newest first; those after the first are made by downcasters, and may have
    /// another manifest. Empty: it is only read.
    pub writes: Vec<Form>,
}

/// The shape of what is read of one form.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadShape {
    /// Which form.
    pub form: Form,
    /// How its payload is stored; `None`: whatever the step to the next version takes.
    pub codec: Option<Codec>,
    /// What is read; `None`: it cannot be seen.
    pub shape: Option<Shape>,
}

impl Versions {
    /// Only one version, read and written.
    pub fn only(manifest: Manifest, version: u32) -> Self {
        Self { reads: version..=version, writes: vec![Form::new(manifest.clone(), version)], manifest }
    }

    /// Whether a form is among those that are read.
    pub fn reads(&self, form: &Form) -> bool {
        self.manifest == form.manifest && self.reads.contains(&form.version)
    }
}
