//! Derive macros of Annals.
