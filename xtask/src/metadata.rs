use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::step::Context;

/// What `cargo metadata` says, as far as a step looks at it.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    workspace_members: Vec<String>,
}

#[derive(Deserialize)]
pub(crate) struct Package {
    id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    /// `None`: a path on this machine.
    pub(crate) source: Option<String>,
    pub(crate) features: BTreeMap<String, Vec<String>>,
    /// Registries that it may be published to; `None`: all, an empty list: none.
    publish: Option<Vec<String>>,
}

impl Metadata {
    /// Of all packages with all features; fails when `Cargo.lock` is not up to date.
    pub(crate) fn load(context: &Context<'_>) -> Result<Self> {
        let args = ["metadata", "--format-version", "1", "--all-features", "--locked", "--quiet"];
        let printed = context.run(context.cargo(&args))?;
        if !printed.success {
            bail!("cargo metadata failed: {}", printed.text.trim());
        }
        let json = printed.text.lines().find(|line| line.starts_with('{')).unwrap_or_default();
        serde_json::from_str(json).context("reading what cargo metadata printed")
    }

    /// The workspace's own packages, in the order of their names.
    pub(crate) fn members(&self) -> Vec<&Package> {
        let mut members: Vec<_> =
            self.packages.iter().filter(|package| self.workspace_members.contains(&package.id)).collect();
        members.sort_by(|a, b| a.name.cmp(&b.name));
        members
    }
}

impl Package {
    pub(crate) fn is_published(&self) -> bool {
        self.publish.as_ref().is_none_or(|registries| !registries.is_empty())
    }
}
