use std::env::{self, VarError};
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use zeroize::Zeroizing;

use super::{KeysError, Ring};

/// Where master keys are: `file:PATH`, `env:NAME` or `passphrase:env:NAME`, spelled alike on the command line, in the environment and
/// in code.
///
/// ```
/// use annals_journal::encryption::KeySource;
///
/// let source: KeySource = "file:secrets/ring.json".parse()?;
/// assert_eq!(source.to_string(), "file:secrets/ring.json");
/// assert!("secrets/ring.json".parse::<KeySource>().is_err());
/// # Ok::<(), annals_journal::encryption::InvalidKeySource>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeySource {
    /// A file with the JSON form of a [`Ring`].
    File(PathBuf),
    /// An environment variable with the same JSON.
    Variable(String),
    /// An environment variable with a passphrase, which Argon2id makes into a key; salt and parameters are in the journal's records.
    Passphrase(String),
}

impl KeySource {
    /// Reads the ring as it is now. A file that every user of the machine can read is warned about in the log.
    ///
    /// # Errors
    /// [`KeysError::Unreadable`] and [`KeysError::InvalidRing`]; neither quotes what was read.
    pub(super) fn read(&self) -> Result<Ring, KeysError> {
        let text = match self {
            Self::File(path) => self.file(path),
            Self::Variable(name) => variable(name),
            Self::Passphrase(_) => Err("is a passphrase, and no ring".to_owned()),
        };
        let text = text.map_err(|reason| KeysError::Unreadable { place: self.to_string(), reason })?;
        Ring::parse(&text).map_err(|error| KeysError::InvalidRing { place: self.to_string(), error })
    }

    fn file(&self, path: &Path) -> Result<Zeroizing<String>, String> {
        let read = || -> io::Result<(Zeroizing<Vec<u8>>, bool)> {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            // Room for all of it at once: a buffer that grows would leave copies behind.
            let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_MAX_BYTES + 1));
            file.take(FILE_MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
            Ok((bytes, read_by_everybody(&metadata)))
        };
        let (mut bytes, exposed) = read().map_err(|error| error.to_string())?;
        if bytes.len() > FILE_MAX_BYTES {
            return Err(format!("has more than {FILE_MAX_BYTES} bytes"));
        }
        if exposed {
            tracing::warn!(keys = %self, "every user of this machine can read the master keys: take that right away (chmod o-r)");
        }
        String::from_utf8(std::mem::take(&mut *bytes)).map(Zeroizing::new).map_err(|error| {
            drop(Zeroizing::new(error.into_bytes()));
            "is not UTF-8".to_owned()
        })
    }
}

fn variable(name: &str) -> Result<Zeroizing<String>, String> {
    match env::var(name) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(VarError::NotPresent) => Err("there is no such environment variable".to_owned()),
        Err(VarError::NotUnicode(_)) => Err("is not UTF-8".to_owned()),
    }
}

#[cfg(unix)]
fn read_by_everybody(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    metadata.mode() & 0o004 != 0
}

#[cfg(not(unix))]
fn read_by_everybody(_: &std::fs::Metadata) -> bool {
    false
}

impl FromStr for KeySource {
    type Err = InvalidKeySource;

    fn from_str(text: &str) -> Result<Self, InvalidKeySource> {
        let is_name = |name: &str| !name.is_empty() && !name.contains(['=', '\0']);
        match text.split_once(':') {
            Some(("passphrase", variable)) => match variable.strip_prefix("env:") {
                Some(name) if is_name(name) => Ok(Self::Passphrase(name.to_owned())),
                _ => Err(InvalidKeySource),
            },
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("env", name)) if is_name(name) => Ok(Self::Variable(name.to_owned())),
            _ => Err(InvalidKeySource),
        }
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Variable(name) => write!(f, "env:{name}"),
            Self::Passphrase(name) => write!(f, "passphrase:env:{name}"),
        }
    }
}

/// The text names no source of master keys. It is not quoted: somebody may have put a key there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "write file:PATH, a file with a ring of master keys, env:NAME, an environment variable that has one, or passphrase:env:NAME, a variable with a passphrase"
)]
pub struct InvalidKeySource;

const FILE_MAX_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_one_spelling() {
        for text in ["file:ring.json", "file:/run/secrets/a:b", "env:ANNALS_RING", "passphrase:env:PHRASE"] {
            assert_eq!(text.parse::<KeySource>().unwrap().to_string(), text);
        }
        let wrong = [
            "",
            "ring.json",
            "file:",
            "env:",
            "env:A=B",
            "env:A\0",
            "FILE:ring.json",
            "passphrase:X",
            "passphrase:env:",
        ];
        for wrong in wrong {
            let error = wrong.parse::<KeySource>().unwrap_err().to_string();
            assert!(error.contains("file:PATH") && error.contains("env:NAME"), "{wrong}");
        }
    }

    #[test]
    fn a_ring_is_read_and_what_is_wrong_with_it_is_said_without_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("ring.json");
        let source = KeySource::File(path.clone());
        assert!(matches!(source.read(), Err(KeysError::Unreadable { .. })));

        let ring = Ring::generate().unwrap();
        std::fs::write(&path, ring.to_json().as_bytes()).unwrap();
        assert_eq!(source.read().unwrap().active(), ring.active());

        for wrong in [b"hunter2".as_slice(), b"hunter2 \xff"] {
            std::fs::write(&path, wrong).unwrap();
            let error = source.read().unwrap_err();
            let said = format!("{error} {error:?}");
            assert!(said.contains("ring.json") && !said.contains("hunter2"), "{said}");
        }
        std::fs::write(&path, vec![b' '; FILE_MAX_BYTES + 1]).unwrap();
        assert!(source.read().unwrap_err().to_string().contains("more than"));
    }

    #[test]
    fn a_variable_that_is_not_there_is_named() {
        let error = KeySource::Variable("ANNALS_NO_SUCH_RING".into()).read().unwrap_err();
        assert!(error.to_string().contains("env:ANNALS_NO_SUCH_RING"), "{error}");
    }
}
