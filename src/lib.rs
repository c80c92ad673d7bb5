//! Annals: event sourcing for Rust, centred on persistent actors.
