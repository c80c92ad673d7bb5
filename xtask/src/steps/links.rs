use std::path::{Component, Path, PathBuf};

use anyhow::Result;

use crate::markdown;
use crate::step::{Context, Outcome};

/// Relative links of all `*.md` resolve within the repository, their anchors too.
pub(super) fn run(context: &Context<'_>) -> Result<Outcome> {
    let pages = context.workspace.files_with_extension("md")?;
    let mut complaints = Vec::new();
    let mut links = 0;
    for page in &pages {
        for (line, target) in markdown::links(&context.workspace.read(page)?) {
            if is_elsewhere(&target) {
                continue;
            }
            links += 1;
            if let Some(reason) = broken(context, page, &target)? {
                complaints.push(format!("{}:{line}: `{target}`: {reason}", page.display()));
            }
        }
    }
    Ok(Outcome::from_complaints(format!("{links} links on {} pages", pages.len()), &complaints))
}

fn is_elsewhere(target: &str) -> bool {
    target.contains("://") || target.starts_with("mailto:")
}

fn broken(context: &Context<'_>, page: &Path, target: &str) -> Result<Option<String>> {
    let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    let file = if path.is_empty() {
        page.to_path_buf()
    } else {
        let Some(file) = resolve(page, path) else {
            return Ok(Some("leaves the repository".into()));
        };
        file
    };
    if !context.workspace.root().join(&file).exists() {
        return Ok(Some("no such file".into()));
    }
    match anchor {
        Some(anchor) if file.extension().is_some_and(|extension| extension == "md") => {
            let known = markdown::anchors(&context.workspace.read(&file)?);
            Ok((!known.iter().any(|heading| heading == anchor)).then(|| "no such heading".into()))
        }
        _ => Ok(None),
    }
}

/// The file that a link on `page` means, relative to the root; `None` when it is above the root.
fn resolve(page: &Path, link: &str) -> Option<PathBuf> {
    let mut file = page.parent()?.to_path_buf();
    for component in Path::new(link).components() {
        match component {
            Component::Normal(name) => file.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !file.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_resolve_from_the_page_that_holds_them() {
        let page = Path::new("docs/guide/effects.md");
        assert_eq!(resolve(page, "errors.md"), Some("docs/guide/errors.md".into()));
        assert_eq!(resolve(page, "../../README.md"), Some("README.md".into()));
        assert_eq!(resolve(page, "./x/../y.md"), Some("docs/guide/y.md".into()));
    }

    #[test]
    fn links_out_of_the_repository_are_refused() {
        assert_eq!(resolve(Path::new("README.md"), "../shared/STYLE.md"), None);
        assert_eq!(resolve(Path::new("README.md"), "/etc/passwd"), None);
    }
}
