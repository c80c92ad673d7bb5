//! Nothing readable on disk: payloads sealed with AES-256-GCM under data keys that a master key wraps.
//!
//! Today there is the [`Ring`] of master keys; nothing is sealed yet.

#[allow(dead_code, reason = "what seals with it comes next")]
mod cipher;
mod master_key;
pub use master_key::MasterKeyId;
mod ring;
pub use ring::{InvalidRing, NoNewKey, Ring};
