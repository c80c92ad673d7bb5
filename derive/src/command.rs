use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Result};

use crate::container::{migrations_path, refuse_generics};
use crate::naming::{Named, Naming};

/// The implementation of `Command`.
pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    refuse_generics(input, "a command")?;
    if let Data::Union(data) = &input.data {
        return Err(Error::new_spanned(data.union_token, "a command must be a struct or an enum"));
    }
    let naming = Naming::parse(&input.attrs, "command", &["version", "manifest", "from", "to", "crate"])?;
    let migrations = migrations_path(naming.krate.as_ref());
    let schema = Named::new(&input.ident, &naming)?.schema(&migrations, false);
    let ident = &input.ident;
    let steps = naming.steps(0, &migrations)?;
    let migrations_fn = (!steps.is_empty()).then(|| {
        quote! {
            fn migrations() -> #migrations::Migrations<Self> {
                #migrations::Migrations::new() #steps
            }
        }
    });
    Ok(quote! {
        #[automatically_derived]
        impl #migrations::Command for #ident {
            const SCHEMA: #migrations::Schema = #schema;

            #migrations_fn
        }
    })
}
