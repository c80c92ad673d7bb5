//! The pages name every setting and every error of the transport.

#![cfg(feature = "net")]

fn page(name: &str) -> Option<String> {
    // The packaged crate has no pages.
    std::fs::read_to_string(format!("{}/../docs/{name}", env!("CARGO_MANIFEST_DIR"))).ok()
}

#[test]
fn the_page_of_the_cluster_names_every_setting_of_the_transport() {
    let Some(page) = page("cluster.md") else { return };
    let source = include_str!("../src/transport/settings.rs");
    let field = |line: &str| Some(line.strip_prefix("    pub ")?.split_once(": ")?.0.to_owned());
    let fields: Vec<_> = source.lines().filter_map(field).filter(|field| !field.contains(' ')).collect();
    assert!(fields.len() >= 18, "{fields:?}");
    let missing: Vec<_> = fields.iter().filter(|field| !page.contains(&format!("| `{field}` |"))).collect();
    assert!(missing.is_empty(), "docs/cluster.md does not name {missing:?}");
}

#[test]
fn the_page_of_errors_names_every_error_of_a_running_node() {
    let Some(page) = page("errors.md") else { return };
    let sources = [
        include_str!("../src/cluster/start_error.rs"),
        include_str!("../src/transport/credentials.rs"),
        include_str!("../src/remote/failure.rs"),
    ];
    let mut variants = 0;
    for source in sources {
        let errors = source.split("thiserror::Error").skip(1);
        for error in errors {
            let body = error.split_once("{\n").expect("an enum").1.split("\n}").next().unwrap_or_default();
            let names = body.lines().filter_map(|line| line.strip_prefix("    "));
            for name in names.filter(|line| line.starts_with(char::is_uppercase)) {
                let name = name.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default();
                variants += 1;
                assert!(page.contains(&format!("`{name}`")), "docs/errors.md does not name {name}");
            }
        }
    }
    assert!(variants >= 17, "{variants}");
}
