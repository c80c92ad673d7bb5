use anyhow::Result;

use crate::step::{Context, Outcome};

/// Every published crate packages. With `--full` each package is also built from what was packed.
pub(super) fn run(context: &Context<'_>) -> Result<Outcome> {
    let mut args =
        vec!["package", "--workspace", "--exclude", "xtask", "--exclude", "annals-comparison", "--locked"];
    if !context.full {
        args.push("--no-verify");
    }
    // At work the tree is seldom clean; in CI it has to be.
    if std::env::var_os("CI").is_none() {
        args.push("--allow-dirty");
    }
    context.check(context.cargo(&args))
}
