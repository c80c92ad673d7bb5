use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, LitInt, LitStr, Result, Token, parenthesized, token};

/// What stands in `from(..)` or `to(..)`: `1 => step, ("account.shifted", 2) => step`.
#[derive(Default)]
pub(crate) struct Steps(Vec<Arrow>);

/// A step and the version where it begins or ends.
struct Arrow {
    /// Another manifest than the type's or variant's own.
    manifest: Option<LitStr>,
    version: u32,
    span: Span,
    step: Expr,
}

impl Steps {
    /// Reads what stands in the parentheses.
    pub(crate) fn parse(input: ParseStream<'_>) -> Result<Self> {
        let content;
        parenthesized!(content in input);
        Ok(Self(Punctuated::<Arrow, Token![,]>::parse_terminated(&content)?.into_iter().collect()))
    }

    /// Calls on `Migrations` that read older versions of schema `index`, whose version is `today`.
    pub(crate) fn up(&self, index: usize, today: u32, migrations: &TokenStream) -> Result<TokenStream> {
        let calls = self.0.iter().map(|arrow| {
            let Arrow { version, span, .. } = arrow;
            let step = arrow.step(migrations);
            match &arrow.manifest {
                None if *version >= today => Err(Error::new(
                    *span,
                    format!(
                        "`from` lists older versions, and {today} is today's: raise `version`, or remove this"
                    ),
                )),
                None => Ok(quote!(.schema_up(#index, #version, #step))),
                // An older version of another manifest leads to its next one, the newest to today's.
                Some(manifest) if self.has(&manifest.value(), version.saturating_add(1)) => {
                    Ok(quote!(.up(#manifest, #version, #step)))
                }
                Some(manifest) => Ok(quote!(.schema_merges(#manifest, #version, #index, #today, #step))),
            }
        });
        let calls = calls.collect::<Result<Vec<_>>>()?;
        Ok(quote!(#(#calls)*))
    }

    /// Calls on `Migrations` that write older versions of schema `index`, whose version is `today`; each begins where the one before ends.
    pub(crate) fn down(&self, index: usize, today: u32, migrations: &TokenStream) -> Result<TokenStream> {
        let mut at = (None, today);
        let mut calls = Vec::new();
        for arrow in &self.0 {
            let Arrow { version, span, .. } = arrow;
            let step = arrow.step(migrations);
            calls.push(match (&at, &arrow.manifest) {
                ((None, from), None) if version.saturating_add(1) == *from => {
                    quote!(.schema_down(#index, #version, #step))
                }
                ((None, from), None) => {
                    let message = format!(
                        "`to` lists older versions from the newest down, without gaps: {} belongs here",
                        from.saturating_sub(1)
                    );
                    return Err(Error::new(*span, message));
                }
                ((None, from), Some(manifest)) => {
                    quote!(.schema_down_to(#index, #from, #manifest, #version, #step))
                }
                ((Some(old), from), Some(manifest)) => {
                    quote!(.down_to(#old, #from, (#manifest, #version), #step))
                }
                ((Some(_), _), None) => {
                    let message = "after a version of another manifest `to` cannot go back to this one";
                    return Err(Error::new(*span, message));
                }
            });
            at = (arrow.manifest.as_ref().map(LitStr::value), *version);
        }
        Ok(quote!(#(#calls)*))
    }

    fn has(&self, manifest: &str, version: u32) -> bool {
        self.0.iter().any(|arrow| {
            arrow.version == version && arrow.manifest.as_ref().is_some_and(|name| name.value() == manifest)
        })
    }
}

impl Arrow {
    /// The step as an expression: a function's path or a closure is a typed step, everything else yields a `Step`.
    fn step(&self, migrations: &TokenStream) -> TokenStream {
        let step = &self.step;
        match step {
            Expr::Path(_) | Expr::Closure(_) => quote!(#migrations::Step::typed(#step)),
            _ => quote!({
                // So that `default_value("reason", "")` needs no import of its own.
                use #migrations::Step;
                #step
            }),
        }
    }
}

impl Parse for Arrow {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let (manifest, number) = if input.peek(token::Paren) {
            let content;
            parenthesized!(content in input);
            let manifest: LitStr = content.parse()?;
            content.parse::<Token![,]>()?;
            (Some(manifest), content.parse()?)
        } else {
            (None, input.parse::<LitInt>()?)
        };
        let version: u32 = number.base10_parse()?;
        if version == 0 {
            return Err(Error::new(number.span(), "versions begin at 1"));
        }
        input.parse::<Token![=>]>()?;
        Ok(Self { manifest, version, span: number.span(), step: input.parse()? })
    }
}
