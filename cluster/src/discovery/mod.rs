//! Where a node finds the contact points that it asks for a cluster.
//!
//! What one look finds replaces what the look before found; a discovery that errs, or finds less than there is, never makes a second
//! cluster, because forming counts votes against [`FormingSettings::contact_points`](crate::FormingSettings::contact_points).

mod static_list;
pub use static_list::StaticList;
#[cfg(feature = "discovery")]
mod contact_file;
#[cfg(feature = "discovery")]
pub use contact_file::ContactFile;
#[cfg(feature = "discovery")]
mod dns;
#[cfg(feature = "discovery")]
pub use dns::Dns;
#[cfg(feature = "discovery")]
mod kubernetes;
#[cfg(feature = "discovery")]
pub use kubernetes::{EndpointPort, Kubernetes};

use async_trait::async_trait;

use crate::NodeAddress;

/// Finds contact points.
#[async_trait]
pub trait Discovery: Send + Sync + 'static {
    /// Looks once. Called again and again while the node runs; what it returns replaces what was found before.
    ///
    /// # Errors
    ///
    /// [`DiscoveryError`] when nothing was learnt: what was found before goes on to count, and the next look comes as usual.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    async fn contact_points(&self) -> Result<Vec<NodeAddress>, DiscoveryError>;

    /// How many contact points there are, if this discovery knows it: a static list does. `None`: the operator must say it in
    /// [`FormingSettings::contact_points`](crate::FormingSettings::contact_points), or the node never forms a cluster.
    fn count(&self) -> Option<usize> {
        None
    }
}

/// A look that found nothing out.
#[derive(Debug, thiserror::Error)]
#[error("contact points cannot be looked up by {by}: {reason}")]
#[non_exhaustive]
pub struct DiscoveryError {
    /// What was asked, as a person calls it: `DNS name cluster.internal`, `file /etc/annals/contacts`.
    pub by: String,
    /// What went wrong and what to do, as a sentence.
    pub reason: String,
    /// What is behind it.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl DiscoveryError {
    /// An error without another one behind it.
    pub fn new(by: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { by: by.into(), reason: reason.into(), source: None }
    }

    /// With what is behind it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}
