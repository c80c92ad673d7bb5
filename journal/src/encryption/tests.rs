//! Data keys in a store that others change at the same time.

mod data_keys;
mod erasure;
mod rotating;
mod sample;
mod sources;
mod staged;
