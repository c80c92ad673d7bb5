use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// A ring of master keys in a file, held so that nobody else changes it.
pub(super) struct RingFile {
    path: PathBuf,
    ring: Ring,
    /// The file as it was, and the lock on it; `None`: there was none.
    before: Option<File>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ring {
    active: u32,
    /// By number, in base64.
    keys: BTreeMap<u32, Zeroizing<String>>,
}

impl RingFile {
    /// Reads the ring, or begins one.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let place = || path.display().to_string();
        // What a link leads to is replaced, not the link.
        let path = match fs::canonicalize(path) {
            Ok(path) => path,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if path.symlink_metadata().is_ok() {
                    bail!("{}: a link to a file that is not there", path.display());
                }
                let ring = Ring { active: 0, keys: BTreeMap::new() };
                return Ok(Self { path: path.to_owned(), ring, before: None });
            }
            Err(error) => return Err(error).with_context(place),
        };
        let (file, text) = locked(&path).with_context(place)?;
        let ring = Ring::parse(&text).with_context(place)?;
        Ok(Self { path, ring, before: Some(file) })
    }

    /// Adds a key; answers its number.
    pub(super) fn add(&mut self, keep_active: bool) -> anyhow::Result<u32> {
        let last = self.ring.keys.last_key_value().map_or(0, |(id, _)| *id);
        let id = last.checked_add(1).context("the ring has the highest number there is")?;
        let key = Zeroizing::new(rand::random::<[u8; KEY_BYTES]>());
        self.ring.keys.insert(id, Zeroizing::new(STANDARD.encode(*key)));
        if !keep_active || self.ring.keys.len() == 1 {
            self.ring.active = id;
        }
        Ok(id)
    }

    pub(super) fn active(&self) -> u32 {
        self.ring.active
    }

    pub(super) fn ids(&self) -> Vec<u32> {
        self.ring.keys.keys().copied().collect()
    }

    /// Puts the ring in the place of the old one, in one step.
    pub(super) fn save(&self) -> anyhow::Result<()> {
        let place = || self.path.display().to_string();
        let directory =
            self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut text = Zeroizing::new(serde_json::to_string(&self.ring)?);
        text.push('\n');
        // Its mode is 0600 from the beginning.
        let mut file =
            tempfile::Builder::new().prefix(".annals-ring-").tempfile_in(directory).with_context(place)?;
        file.write_all(text.as_bytes()).with_context(place)?;
        file.as_file().sync_all().with_context(place)?;
        match &self.before {
            Some(before) => {
                keep_owner(before, file.as_file()).with_context(place)?;
                file.persist(&self.path).map_err(|error| error.error).with_context(place)?;
            }
            // Somebody may have made one meanwhile.
            None => {
                drop(file.persist_noclobber(&self.path).map_err(|error| error.error).with_context(place)?)
            }
        }
        File::open(directory).and_then(|directory| directory.sync_all()).with_context(place)
    }
}

impl Ring {
    fn parse(text: &str) -> anyhow::Result<Self> {
        // What the parser says of a wrong text could have a part of a key.
        let wrong =
            "is no ring of master keys; a ring is {\"active\":1,\"keys\":{\"1\":\"<32 bytes in base64>\"}}";
        let Ok(ring) = serde_json::from_str::<Self>(text) else { bail!(wrong) };
        for (id, key) in &ring.keys {
            let decoded = STANDARD.decode(key.as_bytes()).map(Zeroizing::new);
            if !decoded.is_ok_and(|key| key.len() == KEY_BYTES) {
                bail!("key {id} is not 32 bytes in base64");
            }
        }
        if !ring.keys.contains_key(&ring.active) {
            bail!("key {} is active, and not in the ring", ring.active);
        }
        Ok(ring)
    }
}

/// Opens a file with a lock on it, that of the file which has the name.
fn locked(path: &Path) -> anyhow::Result<(File, Zeroizing<String>)> {
    loop {
        let file = File::open(path)?;
        file.lock()?;
        // Whoever had the lock before may have put another file in the place of this one.
        if same_file(&file, path)? {
            let text = Zeroizing::new(fs::read_to_string(path)?);
            return Ok((file, text));
        }
    }
}

#[cfg(unix)]
fn same_file(file: &File, path: &Path) -> std::io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let (ours, named) = (file.metadata()?, fs::metadata(path)?);
    Ok((ours.dev(), ours.ino()) == (named.dev(), named.ino()))
}

#[cfg(not(unix))]
fn same_file(_: &File, _: &Path) -> std::io::Result<bool> {
    Ok(true)
}

/// An application may run as another user than whoever makes keys for it.
#[cfg(unix)]
fn keep_owner(before: &File, after: &File) -> anyhow::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, fchown};
    let (old, new) = (before.metadata()?, after.metadata()?);
    if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
        fchown(after, Some(old.uid()), Some(old.gid()))
            .context("the ring belongs to another user; run this as that user, or as root")?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn keep_owner(_: &File, _: &File) -> anyhow::Result<()> {
    Ok(())
}

const KEY_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_of_a_wrong_ring_is_said() {
        let rings = [
            "secret",
            r#"{"active":1,"keys":{"1":"c2VjcmV0"}}"#,
            r#"{"active":2,"keys":{}}"#,
            r#"{"active":"secret"}"#,
        ];
        for text in rings {
            let error = Ring::parse(text).err().map(|error| format!("{error:#}")).unwrap();
            assert!(!error.contains("secret") && !error.contains("c2VjcmV0"), "{error}");
        }
    }
}
