use anyhow::Result;

use crate::step::{Context, Outcome};

/// Nothing of one machine, and no secret, is in a file that git tracks.
pub(super) fn run(context: &Context<'_>) -> Result<Outcome> {
    let files = context.workspace.files()?;
    let mut complaints = Vec::new();
    for file in &files {
        // What is not text (archives, pictures) is not searched.
        let Ok(text) = std::fs::read_to_string(context.workspace.root().join(file)) else { continue };
        for (index, line) in text.lines().enumerate() {
            if let Some(what) = forbidden(line) {
                complaints.push(format!("{}:{}: {what}", file.display(), index + 1));
            }
        }
    }
    Ok(Outcome::from_complaints(format!("{} files", files.len()), &complaints))
}

fn forbidden(line: &str) -> Option<String> {
    if let Some(path) = MACHINE_PATHS.iter().find(|path| line.contains(**path)) {
        return Some(format!("names `{path}`, a folder of one machine"));
    }
    if let Some(host) = REGISTRY_HOSTS.iter().find(|host| line.contains(**host)) {
        return Some(format!("names the registry host `{host}`"));
    }
    if SECRETS.iter().any(|(start, length)| holds_secret(line, start, *length)) {
        return Some("looks like a secret".into());
    }
    (line.contains(concat!("-----", "BEGIN ")) && line.contains(concat!("PRIVATE ", "KEY-----")))
        .then(|| "holds a private key".into())
}

/// Whether `start` is followed by at least `length` characters of a token.
fn holds_secret(line: &str, start: &str, length: usize) -> bool {
    line.match_indices(start).any(|(index, _)| {
        let token = line[index + start.len()..].chars().take_while(char::is_ascii_alphanumeric).count();
        token >= length
    })
}

// Each is cut in two, so that this file does not complain about itself.
const MACHINE_PATHS: &[&str] =
    &[concat!("/wo", "rk/"), concat!("/tmp/", "wt"), concat!("/ro", "ot/"), concat!("C:\\", "Users")];
const REGISTRY_HOSTS: &[&str] = &[
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("registry.", "npmjs.org"),
    concat!("repo.maven", ".apache.org"),
    concat!("repo1.maven", ".org"),
    concat!("proxy.", "golang.org"),
    concat!("deb.", "debian.org"),
];
const SECRETS: &[(&str, usize)] = &[
    (concat!("AK", "IA"), 16),
    (concat!("gh", "p_"), 30),
    (concat!("github", "_pat_"), 20),
    (concat!("xox", "b-"), 10),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_paths_registry_hosts_keys_and_tokens_are_found() {
        assert!(forbidden(concat!("cd /wo", "rk/main")).is_some());
        assert!(forbidden(concat!("https://index.", "crates.io/config.json")).is_some());
        assert!(forbidden(concat!("-----", "BEGIN EC PRIVATE ", "KEY-----")).is_some());
        assert!(forbidden(concat!("key = AK", "IA0123456789ABCDEF")).is_some());
    }

    #[test]
    fn what_only_looks_alike_is_let_through() {
        assert_eq!(forbidden("registry+https://github.com/rust-lang/crates.io-index"), None);
        assert_eq!(forbidden("a framework/tool in /workspace, a -----BEGIN CERTIFICATE-----"), None);
        assert_eq!(forbidden(concat!("the prefix AK", "IA marks a key")), None);
    }
}
