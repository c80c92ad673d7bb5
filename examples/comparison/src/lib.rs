//! One small aggregate, an account that refuses to be overdrawn, in Annals and in what else there is.
//!
//! `docs/guide/comparison.md` shows these files and says what each gives and lacks. There is nothing to use here: the code is
//! compiled and run by `cargo test -p annals-comparison`, which also checks that the page shows it as it stands.
//!

#[cfg(test)]
mod with_annals;
#[cfg(test)]
mod with_cqrs_es;
#[cfg(test)]
mod with_kameo;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    #[test]
    fn the_page_shows_these_files() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let page = fs::read_to_string(here.join("../../docs/guide/comparison.md")).unwrap();
        for file in ["src/with_annals.rs", "src/with_kameo.rs", "src/with_cqrs_es.rs", "account.scala"] {
            let source = fs::read_to_string(here.join(file)).unwrap();
            // Without the test at the end.
            let shown = source.split("\n#[cfg(test)]").next().unwrap().trim_end();
            let fence = if file.ends_with(".rs") { "rust" } else { "scala" };
            assert!(
                page.contains(&format!("```{fence}\n{shown}\n```\n")),
                "comparison.md does not show {file}"
            );
        }
    }

    #[test]
    fn the_page_names_the_versions_that_are_compiled_here() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let page = fs::read_to_string(here.join("../../docs/guide/comparison.md")).unwrap();
        let lock = fs::read_to_string(here.join("../../Cargo.lock")).unwrap();
        for name in ["kameo", "cqrs-es"] {
            let (_, entry) = lock.split_once(&format!("name = \"{name}\"\nversion = \"")).unwrap();
            let version = entry.split('"').next().unwrap();
            assert!(page.contains(&format!("{name} {version}")), "{name} {version} is compiled");
        }
    }
}
