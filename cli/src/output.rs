use std::io::{self, BufWriter, Stdout, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use tempfile::NamedTempFile;

use crate::passphrase::Passphrase;
use crate::passphrase_file::SealingWriter;

/// Where lines go. A file has its name only once it is whole, and can be read by nobody else.
pub(crate) enum Output {
    Plain(BufWriter<Destination>),
    Sealed(Box<SealingWriter<BufWriter<Destination>>>),
}

pub(crate) enum Destination {
    Stdout(Stdout),
    File(NamedTempFile, PathBuf),
}

impl Output {
    pub(crate) fn create(path: Option<&Path>, passphrase: Option<&Passphrase>) -> anyhow::Result<Self> {
        let destination = BufWriter::with_capacity(BUFFER, Destination::create(path)?);
        Ok(match passphrase {
            None => Self::Plain(destination),
            Some(passphrase) => Self::Sealed(Box::new(SealingWriter::new(destination, passphrase)?)),
        })
    }

    /// Everything is written: gives the file its name.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        let destination = match self {
            Self::Plain(out) => out,
            Self::Sealed(sealing) => sealing.finish()?,
        };
        match destination.into_inner().map_err(io::IntoInnerError::into_error)? {
            Destination::Stdout(mut out) => Ok(out.flush()?),
            Destination::File(file, path) => {
                let place = || path.display().to_string();
                file.as_file().sync_all().with_context(place)?;
                file.persist_noclobber(&path).with_context(place)?;
                Ok(())
            }
        }
    }
}

impl Destination {
    fn create(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::Stdout(io::stdout())) };
        let place = || path.display().to_string();
        if path.symlink_metadata().is_ok() {
            bail!("{}: there is such a file; remove it, or choose another name", path.display());
        }
        let directory =
            path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file =
            tempfile::Builder::new().prefix(".annals-output-").tempfile_in(directory).with_context(place)?;
        Ok(Self::File(file, path.to_owned()))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Sealed(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.flush(),
            Self::Sealed(out) => out.flush(),
        }
    }
}

impl Write for Destination {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(out) => out.write(bytes),
            Self::File(file, _) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(out) => out.flush(),
            Self::File(file, _) => file.flush(),
        }
    }
}

const BUFFER: usize = 256 * 1024;
