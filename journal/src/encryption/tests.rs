//! Data keys in a store that others change at the same time.

mod crashing;
mod data_keys;
mod encrypting;
mod erasing_and_rekeying;
mod erasure;
mod rekeying;
mod rotating;
mod sample;
mod scopes;
mod sources;
mod staged;
