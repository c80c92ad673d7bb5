//! Aggregates and stores that the node's tests look through.

mod aggregates;
mod stores;

pub(crate) use aggregates::*;
pub(crate) use stores::*;
