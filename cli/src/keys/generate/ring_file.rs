use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use annals_journal::encryption::Ring;
use anyhow::{Context as _, bail};
use zeroize::Zeroizing;

/// The file of a ring of master keys, held so that nobody else changes it.
pub(super) struct RingFile {
    path: PathBuf,
    /// The file as it was, and the lock on it; `None`: there was none.
    before: Option<File>,
}

impl RingFile {
    /// Opens it, and reads the ring that is there.
    pub(super) fn open(path: &Path) -> anyhow::Result<(Self, Option<Ring>)> {
        let place = || path.display().to_string();
        // What a link leads to is replaced, not the link.
        let path = match fs::canonicalize(path) {
            Ok(path) => path,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if path.symlink_metadata().is_ok() {
                    bail!("{}: a link to a file that is not there", path.display());
                }
                return Ok((Self { path: path.to_owned(), before: None }, None));
            }
            Err(error) => return Err(error).with_context(place),
        };
        let (file, text) = locked(&path).with_context(place)?;
        let ring = Ring::parse(&text).with_context(place)?;
        Ok((Self { path, before: Some(file) }, Some(ring)))
    }

    /// Puts a ring in the place of the old one, in one step.
    pub(super) fn save(&self, ring: &Ring) -> anyhow::Result<()> {
        let place = || self.path.display().to_string();
        let directory =
            self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Its mode is 0600 from the beginning.
        let mut file =
            tempfile::Builder::new().prefix(".annals-ring-").tempfile_in(directory).with_context(place)?;
        file.write_all(ring.to_json().as_bytes()).with_context(place)?;
        file.write_all(b"\n").with_context(place)?;
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
