use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};

use super::{Discovery, DiscoveryError};
use crate::NodeAddress;

/// Contact points by a name in DNS.
///
/// Each node must advertise itself as DNS names it, or it does not know itself among the contact points: its IP address with
/// [`Dns::addresses`], its host name with [`Dns::services`].
///
/// Names are looked up anew each time, in `/etc/hosts` too. [`FormingSettings::contact_points`](crate::FormingSettings::contact_points) says how
/// many nodes may form a cluster: DNS may know fewer for a while.
#[derive(Clone)]
pub struct Dns {
    name: String,
    /// Of address records; `None`: service records have it.
    port: Option<u16>,
    resolver: TokioResolver,
}

impl Dns {
    /// The A and AAAA records of a name, each with this port: one record a node.
    ///
    /// # Errors
    ///
    /// [`DiscoveryError`] when the system's resolver is not configured (`/etc/resolv.conf`).
    pub fn addresses(name: impl Into<String>, port: u16) -> Result<Self, DiscoveryError> {
        Self::by(name.into(), Some(port), None)
    }

    /// The SRV records of a name such as `_annals._tcp.bank.default.svc.cluster.local`: targets and ports.
    ///
    /// # Errors
    ///
    /// As [`Dns::addresses`].
    pub fn services(name: impl Into<String>) -> Result<Self, DiscoveryError> {
        Self::by(name.into(), None, None)
    }

    /// Asks these servers, over UDP and TCP, instead of those of the system.
    ///
    /// # Errors
    ///
    /// [`DiscoveryError`] when the resolver cannot be made.
    pub fn asking(self, servers: &[SocketAddr]) -> Result<Self, DiscoveryError> {
        Self::by(self.name, self.port, Some(servers))
    }

    fn by(name: String, port: Option<u16>, servers: Option<&[SocketAddr]>) -> Result<Self, DiscoveryError> {
        let cannot = |error: NetError| {
            DiscoveryError::new(shown(&name), "the system names no DNS server: see /etc/resolv.conf")
                .with_source(error)
        };
        let mut builder = match servers {
            None => TokioResolver::builder_tokio().map_err(cannot)?,
            Some(servers) => {
                let servers = servers.iter().map(|server| {
                    let mut config = NameServerConfig::udp_and_tcp(server.ip());
                    config.trust_negative_responses = true;
                    config.connections.iter_mut().for_each(|connection| connection.port = server.port());
                    config
                });
                let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
        tune(builder.options_mut());
        let resolver = builder.build().map_err(cannot)?;
        Ok(Self { name, port, resolver })
    }

    async fn address_records(&self, port: u16) -> Result<Vec<NodeAddress>, DiscoveryError> {
        let found = self.resolver.lookup_ip(self.name.as_str()).await.map_err(|error| self.failed(error))?;
        found.iter().map(|ip| self.address(&ip.to_string(), port)).collect()
    }

    async fn service_records(&self) -> Result<Vec<NodeAddress>, DiscoveryError> {
        let found = self.resolver.lookup(self.name.as_str(), RecordType::SRV).await;
        let found = found.map_err(|error| self.failed(error))?;
        let services = found.answers().iter().filter_map(|record| match &record.data {
            RData::SRV(service) => Some(service),
            _ => None,
        });
        services
            .map(|service| self.address(service.target.to_ascii().trim_end_matches('.'), service.port))
            .collect()
    }

    fn address(&self, host: &str, port: u16) -> Result<NodeAddress, DiscoveryError> {
        NodeAddress::new(host, port).map_err(|error| {
            DiscoveryError::new(shown(&self.name), "a record has no host that can be reached")
                .with_source(error)
        })
    }

    fn failed(&self, error: NetError) -> DiscoveryError {
        let reason = if error.is_no_records_found() {
            match self.port {
                Some(_) => {
                    "it has neither A nor AAAA records: is the name right, and does a headless service of Kubernetes publish addresses that \
                     are not ready (publishNotReadyAddresses)?"
                }
                None => "it has no SRV records: is the name right, such as _port._tcp.service.namespace.svc.cluster.local?",
            }
            .to_owned()
        } else {
            format!("{error}: is a DNS server reached?")
        };
        DiscoveryError::new(shown(&self.name), reason).with_source(error)
    }
}

impl fmt::Debug for Dns {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, port, resolver: _ } = self;
        formatter.debug_struct("Dns").field("name", name).field("port", port).finish_non_exhaustive()
    }
}

#[async_trait]
impl Discovery for Dns {
    async fn contact_points(&self) -> Result<Vec<NodeAddress>, DiscoveryError> {
        let mut found = match self.port {
            Some(port) => self.address_records(port).await?,
            None => self.service_records().await?,
        };
        found.sort();
        found.dedup();
        Ok(found)
    }
}

fn shown(name: &str) -> String {
    format!("DNS name {name}")
}

/// A look is repeated anyway: each is fresh, and does not take longer than the next is away.
fn tune(options: &mut ResolverOpts) {
    options.cache_size = 0;
    options.timeout = Duration::from_secs(2);
    options.attempts = 2;
}
