//! The page of all errors names each of this crate.

#![allow(clippy::unwrap_used, reason = "a test may")]

/// The error types of a source file, each with its variants.
fn errors(source: &str) -> Vec<(String, Vec<String>)> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    let (mut is_error, mut within) = (false, false);
    for line in source.lines() {
        let words: Vec<_> =
            line.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
        match words[..] {
            _ if line.starts_with("#[derive(") => is_error = line.contains("thiserror::Error"),
            ["pub", "enum" | "struct", name, ..] if is_error && !line.starts_with(' ') => {
                found.push((name.to_owned(), Vec::new()));
                (is_error, within) = (false, words[1] == "enum");
            }
            _ if line == "}" => within = false,
            [variant, ..]
                if within
                    && line.starts_with(&format!("    {variant}"))
                    && variant.starts_with(char::is_uppercase) =>
            {
                found.last_mut().unwrap().1.push(variant.to_owned());
            }
            _ => {}
        }
    }
    found
}

#[test]
fn the_page_of_errors_names_every_error_and_variant() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");
    // The packaged crate has no pages.
    let Ok(page) = std::fs::read_to_string(format!("{docs}/errors.md")) else { return };
    // What callers of an entity meet.
    let guide = std::fs::read_to_string(format!("{docs}/guide/errors.md")).unwrap();
    let sources = [
        include_str!("../src/failure.rs"),
        include_str!("../src/node/builder.rs"),
        include_str!("../src/requests.rs"),
        include_str!("../src/plain/failure.rs"),
        include_str!("../src/plain/circuit_breaker.rs"),
    ];
    let all: Vec<_> = sources.iter().flat_map(|source| errors(source)).collect();
    assert!(all.len() >= 13, "{all:?}");
    let is_named = |name: &str| {
        let word = |text: &str| text.split(|letter: char| !letter.is_alphanumeric()).any(|word| word == name);
        (page.split('`').skip(1).step_by(2)).chain(guide.split('`').skip(1).step_by(2)).any(word)
    };
    let missing: Vec<_> = all
        .iter()
        .flat_map(|(error, variants)| {
            let named = variants
                .iter()
                .filter(|variant| !is_named(variant))
                .map(move |variant| format!("{error}::{variant}"));
            named.chain((!is_named(error)).then(|| error.clone()))
        })
        .collect();
    assert_eq!(missing, Vec::<String>::new());
}
