//! Derive macros of Annals; their documentation is where they are used, in `annals-migrations`
//! (`annals::migrations` for users of the facade).
//!
//! ```text
//! container.rs   what is said on the type: which crate to name, no generics
//! naming.rs      attributes that give a manifest and a version; kebab-case; duplicates
//! steps.rs       steps between versions: `from(..)`, `to(..)`
//! serde_attrs.rs attributes of serde that an event cannot have
//! event.rs       #[derive(Event)]
//! command.rs     #[derive(Command)]
//! ```

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

mod command;
mod container;
mod event;
mod naming;
mod serde_attrs;
mod steps;

/// Implements `Event`; see `annals_migrations::Event`.
#[proc_macro_derive(Event, attributes(event))]
pub fn derive_event(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    event::expand(&input).unwrap_or_else(|error| error.into_compile_error()).into()
}

/// Implements `Command`; see `annals_migrations::Command`.
#[proc_macro_derive(Command, attributes(command))]
pub fn derive_command(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    command::expand(&input).unwrap_or_else(|error| error.into_compile_error()).into()
}
