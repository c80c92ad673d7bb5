//! Contact points of a real DNS server and of a Kubernetes API server over TLS, both small and in this process.

#![cfg(feature = "discovery")]
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails a test")]

mod dns;
mod dns_server;
mod kubernetes;

use annals_cluster::NodeAddress;

fn shown(found: &[NodeAddress]) -> Vec<String> {
    found.iter().map(ToString::to_string).collect()
}
