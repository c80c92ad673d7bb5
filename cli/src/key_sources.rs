use std::ffi::OsString;

use annals_journal::Records;
use annals_journal::encryption::{DataKeyOptions, KeyScope, KeySource, KeysError, RingKeys, ScopeOf};

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

/// To what data keys belong that are made.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub(crate) struct NewKeyArgs {
    /// Ids that have no data key yet get one in this scope, such as a tenant; without it one of their own, as the application's function is not
    /// known here
    #[arg(long, value_name = "NAME")]
    into_scope: Option<KeyScope>,
}

impl NewKeyArgs {
    pub(crate) fn is_given(&self) -> bool {
        self.into_scope.is_some()
    }

    pub(crate) fn within(&self, options: DataKeyOptions) -> DataKeyOptions {
        let scopes = self.into_scope.clone().map(|scope| ScopeOf::new(move |_| Some(scope.clone())));
        DataKeyOptions { scopes, ..options }
    }
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
