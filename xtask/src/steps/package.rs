use std::path::PathBuf;
use std::{env, fs, io};

use anyhow::Result;

use crate::step::{Context, Outcome};

/// Every published crate packages. With `--full` each package is also built from what was packed.
pub(super) fn run(context: &Context<'_>) -> Result<Outcome> {
    let mut args = vec![
        "package",
        "--workspace",
        "--exclude",
        "xtask",
        "--exclude",
        "annals-comparison",
        "--exclude",
        "redb-journal",
        "--locked",
    ];
    if context.full {
        forget_unpacked()?;
    } else {
        args.push("--no-verify");
    }
    // At work the tree is seldom clean; in CI it has to be.
    if env::var_os("CI").is_none() {
        args.push("--allow-dirty");
    }
    context.check(context.cargo(&args))
}

/// Cargo unpacks what it has packed into its home, and takes what lies there since an earlier run for the same package: version and
/// folder have not changed.
fn forget_unpacked() -> io::Result<()> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")));
    let Some(sources) = home.map(|home| home.join("registry/src")).filter(|sources| sources.is_dir()) else {
        return Ok(());
    };
    for registry in fs::read_dir(sources)? {
        let registry = registry?;
        // A registry of a server begins with its host.
        if !registry.file_name().to_string_lossy().starts_with('-') {
            continue;
        }
        for package in fs::read_dir(registry.path())? {
            let package = package?;
            if package.file_name().to_string_lossy().starts_with("annals") {
                fs::remove_dir_all(package.path())?;
            }
        }
    }
    Ok(())
}
