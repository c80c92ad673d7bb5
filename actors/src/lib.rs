//! Part of Annals.
