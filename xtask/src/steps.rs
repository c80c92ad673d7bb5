//! The steps of `cargo xtask test`, cheap ones first.

mod dependencies;
mod features;
mod links;
mod names;
mod package;
mod paths;
mod telemetry;
mod tests;

use anyhow::Result;

use crate::step::{Context, Outcome, Step};

pub(crate) use tests::totals as test_totals;

/// All steps in the order in which they run.
pub(crate) const ALL: &[Step] = &[
    Step { name: "fmt", about: "rustfmt changes nothing", run: fmt },
    Step {
        name: "paths",
        about: "no machine paths, registry hosts or keys in tracked files",
        run: paths::run,
    },
    Step { name: "links", about: "relative links of the pages resolve", run: links::run },
    Step {
        name: "telemetry",
        about: "docs/telemetry.md names every metric, and no other",
        run: telemetry::run,
    },
    Step { name: "names", about: "what docs/guide/troubleshooting.md names is in the code", run: names::run },
    Step {
        name: "deps",
        about: "licences, duplicates and sources of the dependencies",
        run: dependencies::run,
    },
    Step { name: "clippy", about: "clippy without warnings, all targets and features", run: clippy },
    Step { name: "doc", about: "rustdoc without warnings", run: doc },
    Step {
        name: "features",
        about: "each crate builds without features and with each alone",
        run: features::run,
    },
    Step { name: "package", about: "each crate packages", run: package::run },
    Step { name: "test", about: "unit, integration, example and doc tests", run: tests::run },
];

fn fmt(context: &Context<'_>) -> Result<Outcome> {
    context.check(context.cargo(&["fmt", "--all", "--check", "--", "--color=never"]))
}

fn clippy(context: &Context<'_>) -> Result<Outcome> {
    let args =
        ["clippy", "--workspace", "--all-targets", "--all-features", "--locked", "--", "-D", "warnings"];
    context.check(context.cargo(&args))
}

fn doc(context: &Context<'_>) -> Result<Outcome> {
    let args = ["doc", "--workspace", "--all-features", "--no-deps", "--locked"];
    context.check(context.cargo(&args).env("RUSTDOCFLAGS", "-D warnings"))
}
