use anyhow::Result;

use crate::metadata::{Metadata, Package};
use crate::step::{Context, Outcome};

/// Each published crate builds by itself without features and with each one alone; all together is clippy's part.
pub(super) fn run(context: &Context<'_>) -> Result<Outcome> {
    let metadata = Metadata::load(context)?;
    let mut complaints = Vec::new();
    let mut checks = 0;
    for package in metadata.members().into_iter().filter(|package| package.is_published()) {
        for features in sets(package) {
            checks += 1;
            let mut args = vec!["check", "--locked", "--package", &package.name, "--no-default-features"];
            if let Some(feature) = features {
                args.extend(["--features", feature]);
            }
            let invocation = context.cargo(&args);
            let shown = invocation.shown().to_owned();
            let printed = context.run(invocation)?;
            // Deny by what is printed: a flag for rustc would build every dependency anew.
            if !printed.success || printed.text.lines().any(|line| line.starts_with("warning: `annals")) {
                complaints.push(format!("$ {shown}\n{}", printed.text));
            }
        }
    }
    Ok(Outcome::from_complaints(format!("{checks} builds"), &complaints))
}

fn sets(package: &Package) -> impl Iterator<Item = Option<&str>> {
    let each = package.features.keys().map(String::as_str).filter(|name| *name != "default").map(Some);
    std::iter::once(None).chain(each)
}
