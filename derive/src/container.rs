use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{DeriveInput, Error, Ident, Path, Result};

/// The path by which the generated code names `annals-migrations`: what the type says, or what its `Cargo.toml` has.
pub(crate) fn migrations_path(said: Option<&Path>) -> TokenStream {
    if let Some(path) = said {
        return quote!(#path);
    }
    // The facade goes last, because a crate that has both needs no detour. A crate is `Itself` also in its own examples
    // and doc tests; both crates say `extern crate self`, so that one absolute path serves all of them.
    for (package, inside) in [("annals-migrations", None), ("annals", Some(quote!(::migrations)))] {
        let name = match crate_name(package) {
            Ok(FoundCrate::Itself) => package.replace('-', "_"),
            Ok(FoundCrate::Name(name)) => name,
            Err(_) => continue,
        };
        let name = Ident::new(&name, Span::call_site());
        return quote!(::#name #inside);
    }
    quote!(::annals_migrations)
}

/// A manifest names one shape, which a type with parameters does not have.
pub(crate) fn refuse_generics(input: &DeriveInput, what: &str) -> Result<()> {
    if input.generics.params.is_empty() {
        return Ok(());
    }
    let message = format!(
        "{what} cannot have type parameters or lifetimes: its manifest and version name one stored shape; \
         make a type of its own for each"
    );
    Err(Error::new_spanned(&input.generics, message))
}
