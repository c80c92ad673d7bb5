//! Nothing readable on disk: payloads sealed with AES-256-GCM under data keys that a master key wraps.

#[allow(dead_code, reason = "what seals with it comes next")]
mod cipher;
