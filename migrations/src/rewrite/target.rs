use std::collections::HashMap;
use std::ops::RangeInclusive;

use annals_journal::Manifest;

use crate::{Form, Versions};

/// In which versions a rewriting leaves a journal.
#[derive(Debug, Clone)]
pub enum Target {
    /// Everything as this build writes it.
    Newest,
    /// Only what is above what another build reads is brought down to the newest form that it reads.
    ReadableBy(HashMap<Manifest, RangeInclusive<u32>>),
}

impl Target {
    /// What a build with these versions reads, such as those of a lock file.
    pub fn readable_by(versions: impl IntoIterator<Item = Versions>) -> Self {
        Self::ReadableBy(versions.into_iter().map(|of| (of.manifest, of.reads)).collect())
    }

    /// Above which version of a manifest nothing may be written while it is rewritten; `None`: any.
    pub(super) fn highest(&self, manifest: &Manifest) -> Option<u32> {
        match self {
            Self::Newest => None,
            Self::ReadableBy(reads) => Some(reads.get(manifest).map_or(0, |versions| *versions.end())),
        }
    }

    /// Whether what is stored so may stay; `today` is what this build writes under the manifest.
    pub(super) fn keeps(&self, form: &Form, today: Option<u32>) -> bool {
        match self {
            Self::Newest => today == Some(form.version),
            Self::ReadableBy(reads) => {
                reads.get(&form.manifest).is_some_and(|versions| versions.contains(&form.version))
            }
        }
    }

    /// The first of these forms that is wanted.
    pub(super) fn choose<'f>(&self, forms: &'f [Form]) -> Option<&'f Form> {
        match self {
            Self::Newest => forms.first(),
            Self::ReadableBy(_) => forms.iter().find(|form| self.keeps(form, None)),
        }
    }
}
