//! What a node remembers of its cluster, as a file of text that a person can read and mend.
//!
//! ```text
//! annals cluster memory 1
//! cluster 00c0ffee00c0ffee
//! downed no
//! member node-1.internal:2552
//! member node-2.internal:2552
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::StartError;
use crate::{ClusterId, Memory};

/// The file.
#[derive(Debug, Clone)]
pub(super) struct MemoryFile(PathBuf);

impl MemoryFile {
    pub(super) const fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// `None`: there is none, as at the first start.
    pub(super) fn read(&self) -> Result<Option<Memory>, StartError> {
        let wrong = |reason: String| StartError::Memory { path: self.0.clone(), reason };
        match fs::read_to_string(&self.0) {
            Ok(text) => parse(&text).map(Some).ok_or_else(|| wrong("it is not in its form".to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(wrong(error.to_string())),
        }
    }

    /// After a crash the file is the one before or this.
    pub(super) fn write(&self, memory: &Memory) -> io::Result<()> {
        let new = self.0.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(show(memory).as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &self.0)?;
        let folder = self.0.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

fn show(memory: &Memory) -> String {
    let downed = if memory.downed { "yes" } else { "no" };
    let mut text = format!("{FIRST_LINE}\ncluster {:016x}\ndowned {downed}\n", memory.cluster.0);
    for member in &memory.members {
        text.push_str(&format!("member {member}\n"));
    }
    text
}

fn parse(text: &str) -> Option<Memory> {
    let mut lines = text.lines();
    if lines.next()? != FIRST_LINE {
        return None;
    }
    let cluster = ClusterId(u64::from_str_radix(lines.next()?.strip_prefix("cluster ")?, 16).ok()?);
    let downed = match lines.next()? {
        "downed yes" => true,
        "downed no" => false,
        _ => return None,
    };
    let members: Option<Vec<_>> = lines.map(|line| line.strip_prefix("member ")?.parse().ok()).collect();
    Some(Memory { cluster, members: members?, downed })
}

const FIRST_LINE: &str = "annals cluster memory 1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_what_is_damaged_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = MemoryFile::at(folder.path().join("memory"));
        assert_eq!(file.read().unwrap(), None);
        let members = vec!["a:1".parse().unwrap(), "[::1]:2".parse().unwrap()];
        let memory = Memory { cluster: ClusterId(7), members, downed: true };
        file.write(&memory).unwrap();
        assert_eq!(file.read().unwrap(), Some(memory.clone()));
        let other = Memory { downed: false, members: Vec::new(), ..memory };
        file.write(&other).unwrap();
        assert_eq!(file.read().unwrap(), Some(other));
        for damaged in ["", "annals cluster memory 2\n", "annals cluster memory 1\ncluster x\ndowned no\n"] {
            fs::write(folder.path().join("memory"), damaged).unwrap();
            assert!(matches!(file.read(), Err(StartError::Memory { .. })), "{damaged:?}");
        }
    }
}
