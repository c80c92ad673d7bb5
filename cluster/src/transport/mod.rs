//! How nodes talk: framed TCP, TLS with certificates on both sides, two lanes to each peer.
//!
//! ```text
//!                 ┌── Outbound (queue, one lane) ── task: Backoff → connect → ParcelWriter ──→ peer
//! Transport ──────┤        control lane: messages of the cluster     bulk lane: messages of users
//!   │             └── Outbound …
//!   └── listen ──→ accept: preamble, Acceptor ──→ FrameReader → ParcelReader → node, or what is exposed
//! ```
//!
//! Connections go one way: what a node sends, it sends over connections that it made itself, and over those of others it only receives. The
//! two lanes are connections of their own, so that heartbeats never wait behind users' messages. What decides is without a socket:
//! `frame.rs`, `handshake.rs`, `parcel.rs`, `backoff.rs`; `connection.rs`, `outbound.rs` and `inbound.rs` do the rest.

mod security;
pub use security::{Security, TlsFiles};
mod settings;
pub use settings::TransportSettings;
mod credentials;
pub use credentials::CredentialsError;
mod secret;
pub use secret::InvalidSecrets;

pub(crate) mod backoff;
mod certificate_names;
mod connection;
pub(crate) mod context;
mod frame;
mod handshake;
mod hello;
mod inbound;
pub(crate) mod lane;
pub(crate) mod metrics;
pub(crate) mod outbound;
pub(crate) mod parcel;
#[expect(clippy::module_inception, reason = "it holds the type of this name")]
mod transport;
mod wire_version;

#[cfg(test)]
mod search;

pub(crate) use context::Context;
pub(crate) use credentials::Credentials;
pub(crate) use transport::{Transport, bind};
