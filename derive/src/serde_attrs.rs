use proc_macro2::{Span, TokenTree};
use syn::meta::ParseNestedMeta;
use syn::{Attribute, Error, Expr, Result, Token};

/// Refuses what takes the variant's name out of serde's hands: an event is read by its manifest, its payload has the
/// fields only.
pub(crate) fn refuse_on_enum(attributes: &[Attribute]) -> Result<()> {
    for_each(attributes, |name, span| {
        let reason = match name {
            "tag" | "content" | "untagged" => {
                "the manifest says which variant it is, the payload has the fields only; remove it"
            }
            "into" | "from" | "try_from" | "remote" | "transparent" => {
                "the variants are stored one by one, so the enum itself must be what serde sees; remove it, \
                 or put it on the type of a field"
            }
            _ => return Ok(()),
        };
        Err(Error::new(span, format!("#[serde({name})] does not go with #[derive(Event)]: {reason}")))
    })
}

/// Refuses what keeps serde from writing or reading a variant. One that is stored as protobuf may be skipped, because
/// serde is not asked for it.
pub(crate) fn refuse_on_variant(attributes: &[Attribute], protobuf: bool) -> Result<()> {
    for_each(attributes, |name, span| {
        let reason = match name {
            "skip" | "skip_serializing" | "skip_deserializing" if !protobuf => {
                "every variant of an event is stored and read again; remove it, or the variant"
            }
            "untagged" => "the manifest says which variant it is; remove it",
            _ => return Ok(()),
        };
        Err(Error::new(span, format!("#[serde({name})] does not go with #[derive(Event)]: {reason}")))
    })
}

/// Whether serde counts the variant among those that it reads.
pub(crate) fn is_read(attributes: &[Attribute]) -> bool {
    for_each(attributes, |name, span| match name {
        "skip" | "skip_deserializing" => Err(Error::new(span, "skipped")),
        _ => Ok(()),
    })
    .is_ok()
}

/// Calls `check` with each setting in `#[serde(..)]`; what serde itself would not take is left to serde.
fn for_each(attributes: &[Attribute], mut check: impl FnMut(&str, Span) -> Result<()>) -> Result<()> {
    let mut refused = Ok(());
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
        let parsed = attribute.parse_nested_meta(|meta| {
            if let (Some(name), Ok(())) = (meta.path.get_ident(), &refused) {
                refused = check(&name.to_string(), name.span());
            }
            skip_value(&meta)
        });
        drop(parsed);
    }
    refused
}

/// Steps over `= value` or `(..)`.
fn skip_value(meta: &ParseNestedMeta) -> Result<()> {
    if meta.input.peek(Token![=]) {
        meta.value()?.parse::<Expr>()?;
    } else if !meta.input.is_empty() && !meta.input.peek(Token![,]) {
        meta.input.parse::<TokenTree>()?;
    }
    Ok(())
}
