use annals_actors::{NodeBuilder, Stores};
#[cfg(feature = "encryption")]
use {
    annals_journal::Journal,
    annals_journal::encryption::{
        DataKeyOptions, DataKeys, KeySource, MasterKeys, RingKeys, ScopeOf, SealedJournal, SealedOptions,
    },
    annals_snapshot::SealedSnapshots,
    std::sync::Arc,
};

use crate::StartError;

/// What a node seals with.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    pub(crate) sources: Vec<String>,
    #[cfg(feature = "encryption")]
    pub(crate) masters: Option<Arc<dyn MasterKeys>>,
    #[cfg(feature = "encryption")]
    pub(crate) refuse_plaintext: bool,
    #[cfg(feature = "encryption")]
    pub(crate) scopes: Option<ScopeOf>,
}

#[cfg(not(feature = "encryption"))]
impl Keys {
    /// Whether anything was said about keys: then it is honoured, or the node does not start.
    pub(crate) fn are_wanted(&self) -> bool {
        !self.sources.is_empty()
    }

    #[allow(clippy::unused_async, reason = "as with the feature")]
    pub(crate) async fn seal(
        self,
        _: Stores,
        _: NodeBuilder,
        _: &mut OpenKeys,
    ) -> Result<(Stores, NodeBuilder), StartError> {
        Err(StartError::NotBuilt)
    }
}

#[cfg(feature = "encryption")]
impl Keys {
    /// Whether anything was said about keys: then all of it is honoured, or the node does not start.
    pub(crate) fn are_wanted(&self) -> bool {
        !self.sources.is_empty() || self.masters.is_some() || self.refuse_plaintext || self.scopes.is_some()
    }

    /// Checks the master keys, and puts events and snapshots behind them.
    pub(crate) async fn seal(
        self,
        stores: Stores,
        node: NodeBuilder,
        open: &mut OpenKeys,
    ) -> Result<(Stores, NodeBuilder), StartError> {
        let masters = self.masters(&stores).await?;
        let options = DataKeyOptions { scopes: self.scopes, ..DataKeyOptions::default() };
        let keys = DataKeys::open(stores.records.clone(), masters, options).await?;
        open.0 = Some(keys.clone());
        let mut snapshots = SealedSnapshots::new(stores.snapshots, keys.clone());
        if self.refuse_plaintext {
            snapshots = snapshots.refuse_plaintext();
        }
        let options = SealedOptions { refuse_plaintext: self.refuse_plaintext, ..SealedOptions::default() };
        let node = node.journal_layer(async move |inner| {
            Ok(Arc::new(SealedJournal::open(inner, keys, options).await?) as Arc<dyn Journal>)
        });
        Ok((Stores { snapshots: Arc::new(snapshots), ..stores }, node))
    }

    async fn masters(&self, stores: &Stores) -> Result<Arc<dyn MasterKeys>, StartError> {
        match (&self.masters, &self.sources[..]) {
            (None, []) => Err(StartError::NoKeys),
            (Some(_), [_, ..]) => Err(StartError::TwoKindsOfKeys),
            (Some(masters), []) => Ok(masters.clone()),
            (None, sources) => {
                let parse = |text: &String| text.parse::<KeySource>();
                let sources = sources.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
                Ok(Arc::new(RingKeys::open(&sources, &*stores.records).await?))
            }
        }
    }
}

/// Data keys that are open, and registered as this process's.
#[derive(Clone, Default)]
pub(crate) struct OpenKeys(#[cfg(feature = "encryption")] Option<DataKeys>);

#[cfg(feature = "encryption")]
impl OpenKeys {
    pub(crate) fn are_open(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) async fn close(&self) {
        if let Some(keys) = &self.0 {
            keys.close().await;
        }
    }
}

#[cfg(not(feature = "encryption"))]
#[allow(clippy::unused_async, clippy::unused_self, reason = "as with the feature")]
impl OpenKeys {
    pub(crate) fn are_open(&self) -> bool {
        false
    }

    pub(crate) async fn close(&self) {}
}
