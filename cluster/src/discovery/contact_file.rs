use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::{Discovery, DiscoveryError};
use crate::NodeAddress;

/// Contact points in a file, one `host:port` a line, read anew at each look. `#` begins a comment.
///
/// ```text
/// # the three that may form a cluster
/// node-1.internal:2552
/// node-2.internal:2552   # rack 2
/// [fd00::3]:2552
/// ```
///
/// Whoever changes it writes another file and renames it over this one: a look at half a file finds half of them, or errs.
/// [`FormingSettings::contact_points`](crate::FormingSettings::contact_points) says how many there are; a file may be short for a while.
#[derive(Debug, Clone)]
pub struct ContactFile {
    path: PathBuf,
}

impl ContactFile {
    /// The file at this path. It is first read at the first look.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

#[async_trait]
impl Discovery for ContactFile {
    async fn contact_points(&self) -> Result<Vec<NodeAddress>, DiscoveryError> {
        let text = tokio::fs::read_to_string(&self.path).await.map_err(|error| {
            DiscoveryError::new(name(&self.path), format!("{error}; it is text with one host:port a line"))
                .with_source(error)
        })?;
        read(&text).map_err(|reason| DiscoveryError::new(name(&self.path), reason))
    }
}

fn name(path: &Path) -> String {
    format!("file {}", path.display())
}

fn read(text: &str) -> Result<Vec<NodeAddress>, String> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let address = line.split('#').next().unwrap_or_default().trim();
        if !address.is_empty() {
            found.push(address.parse().map_err(|error| format!("line {}: {error}", number + 1))?);
        }
    }
    found.sort();
    found.dedup();
    if found.is_empty() {
        return Err("it names nobody: write one host:port a line".to_owned());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_read_anew_at_each_look() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("contacts");
        let file = ContactFile::new(&path);
        let missing = file.contact_points().await.unwrap_err();
        assert!(
            missing.to_string().contains("contacts") && missing.to_string().contains("host:port"),
            "{missing}"
        );

        std::fs::write(&path, "# first\n\nb:2 # the second\na:1\nb:2\n").unwrap();
        let shown = |found: Vec<NodeAddress>| found.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(shown(file.contact_points().await.unwrap()), ["a:1", "b:2"]);
        std::fs::write(&path, "[::1]:9").unwrap();
        assert_eq!(shown(file.contact_points().await.unwrap()), ["[::1]:9"]);
        assert_eq!(file.count(), None, "it may be short: the operator says how many there are");
    }

    #[test]
    fn what_is_wrong_in_a_file_is_said_with_its_line() {
        for (text, said) in [("a:1\nb\n", "line 2"), ("", "names nobody"), ("# none\n", "names nobody")] {
            let error = read(text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
