use std::ffi::OsString;

use annals_journal::Records;
use annals_journal::encryption::{KeySource, KeysError, RingKeys};

/// With which master keys.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct KeyArgs {
    /// The master keys: file:PATH, env:NAME or passphrase:env:NAME; of several the first is the active one
    #[arg(long, value_name = "SOURCE", env = "ANNALS_KEYS", value_delimiter = ' ', required = true)]
    keys: Vec<KeySource>,
}

/// The same where they may be left out.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub(crate) struct OptionalKeyArgs {
    /// The master keys: file:PATH, env:NAME or passphrase:env:NAME; of several the first is the active one
    #[arg(long, value_name = "SOURCE", env = "ANNALS_KEYS", value_delimiter = ' ')]
    keys: Vec<KeySource>,
}

impl KeyArgs {
    pub(crate) async fn open(&self, records: &dyn Records) -> anyhow::Result<RingKeys> {
        Ok(RingKeys::open(&self.keys, records).await?)
    }
}

impl OptionalKeyArgs {
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The words of a command line that say the same.
    pub(crate) fn words(&self) -> Vec<OsString> {
        let words = self.keys.iter().flat_map(|source| ["--keys".into(), source.to_string().into()]);
        words.collect()
    }

    pub(crate) async fn open(&self, records: &dyn Records) -> Result<RingKeys, KeysError> {
        RingKeys::open(&self.keys, records).await
    }

    pub(crate) async fn open_for_reading(&self, records: &dyn Records) -> Result<RingKeys, KeysError> {
        RingKeys::open_for_reading(&self.keys, records).await
    }
}
