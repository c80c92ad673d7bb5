use std::env::{self, VarError};
use std::fmt;
use std::str::FromStr;

use anyhow::bail;
use zeroize::Zeroizing;

/// Where a passphrase is: `passphrase:env:NAME`.
///
/// It is not taken from the command line, which every user of the machine can read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PassphraseSource {
    variable: String,
}

impl PassphraseSource {
    /// Reads it.
    pub(crate) fn read(&self) -> anyhow::Result<Passphrase> {
        match env::var(&self.variable) {
            Ok(text) if text.is_empty() => {
                bail!("the environment variable {} is empty; put the passphrase there", self.variable)
            }
            Ok(text) => Ok(Passphrase(Zeroizing::new(text))),
            Err(VarError::NotPresent) => {
                bail!("there is no environment variable {}; put the passphrase there", self.variable)
            }
            Err(VarError::NotUnicode(_)) => bail!("the environment variable {} is not UTF-8", self.variable),
        }
    }
}

impl FromStr for PassphraseSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("passphrase:env:") {
            Some(name) if !name.is_empty() && !name.contains(['=', '\0']) => {
                Ok(Self { variable: name.into() })
            }
            _ => {
                Err("write passphrase:env:NAME, the name of an environment variable that has the passphrase"
                    .into())
            }
        }
    }
}

/// A passphrase, wiped when it is dropped.
pub(crate) struct Passphrase(Zeroizing<String>);

impl Passphrase {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    #[cfg(test)]
    pub(crate) fn of(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_of_a_variable_is_taken() {
        assert!("passphrase:env:EXPORT".parse::<PassphraseSource>().is_ok());
        for wrong in ["EXPORT", "env:EXPORT", "passphrase:env:", "passphrase:secret", "passphrase:env:A=B"] {
            assert!(
                wrong.parse::<PassphraseSource>().unwrap_err().contains("passphrase:env:NAME"),
                "{wrong}"
            );
        }
        assert_eq!(format!("{:?}", Passphrase::of("secret")), "Passphrase(…)");
    }
}
