use std::path::{Component, Path, PathBuf};

use anyhow::Result;

use crate::markdown;
use crate::step::{Context, Outcome};

/// Relative links of all `*.md` resolve within the repository, their anchors too; so do the files that the map names.
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
    for (line, file) in named_files(&context.workspace.read(Path::new(MAP))?) {
        links += 1;
        if !context.workspace.root().join(&file).exists() {
            complaints.push(format!("{MAP}:{line}: `{file}`: no such file"));
        }
    }
    Ok(Outcome::from_complaints(format!("{links} links on {} pages", pages.len()), &complaints))
}

/// Files between backticks. One without a folder lies in the folder of the one before it in the same line.
fn named_files(page: &str) -> Vec<(usize, String)> {
    let mut files: Vec<(usize, String)> = Vec::new();
    for (line, span) in markdown::code_spans(page) {
        if !FILES.iter().any(|extension| span.ends_with(extension)) && !span.ends_with('/') {
            continue;
        }
        let file = match files.last().and_then(|(before, file)| Some((*before, file.rsplit_once('/')?.0))) {
            Some((before, folder)) if before == line && !span.contains('/') => format!("{folder}/{span}"),
            _ => span.to_owned(),
        };
        files.push((line, file));
    }
    files
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

const MAP: &str = "ARCHITECTURE.md";
const FILES: &[&str] = &[".rs", ".md", ".toml"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_folder_lies_beside_the_one_before_it() {
        let page = "| `a/b/c.rs`, `d.rs`; `e/` |\n| `f.rs` and `cargo test` |";
        let files: Vec<String> = named_files(page).into_iter().map(|(_, file)| file).collect();
        assert_eq!(files, ["a/b/c.rs", "a/b/d.rs", "e/", "f.rs"]);
    }

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
