use std::collections::HashMap;

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::punctuated::Punctuated;
use syn::{Attribute, Error, Ident, LitInt, LitStr, Path, Result, Token, parenthesized};

use crate::steps::Steps;

/// What `#[event(..)]` or `#[command(..)]` says on one type or variant.
#[derive(Default)]
pub(crate) struct Naming {
    pub(crate) version: Option<u32>,
    pub(crate) manifest: Option<LitStr>,
    pub(crate) protobuf: Option<Span>,
    pub(crate) krate: Option<Path>,
    /// How older versions are read.
    pub(crate) from: Option<Steps>,
    /// How older versions are written.
    pub(crate) to: Option<Steps>,
    /// Manifests that mean nothing any more.
    pub(crate) retired: Option<Vec<LitStr>>,
}

impl Naming {
    /// Reads the attributes called `name`; `allowed` are the settings that make sense where they stand.
    pub(crate) fn parse(attributes: &[Attribute], name: &str, allowed: &[&str]) -> Result<Self> {
        let mut naming = Self::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident(name)) {
            attribute.parse_nested_meta(|meta| {
                let setting = meta.path.get_ident().map(Ident::to_string).unwrap_or_default();
                if !allowed.contains(&setting.as_str()) {
                    return Err(meta.error(unknown(&setting, name, allowed)));
                }
                let twice = match setting.as_str() {
                    "version" => {
                        let number: LitInt = meta.value()?.parse()?;
                        naming.version.replace(version(&number)?).is_some()
                    }
                    "manifest" => {
                        let text: LitStr = meta.value()?.parse()?;
                        check_name(&text.value(), MANIFEST_MAX, text.span())?;
                        naming.manifest.replace(text).is_some()
                    }
                    "crate" => {
                        let text: LitStr = meta.value()?.parse()?;
                        naming.krate.replace(text.parse()?).is_some()
                    }
                    "from" => naming.from.replace(Steps::parse(meta.input)?).is_some(),
                    "to" => naming.to.replace(Steps::parse(meta.input)?).is_some(),
                    "retired" => {
                        let content;
                        parenthesized!(content in meta.input);
                        let names = Punctuated::<LitStr, Token![,]>::parse_terminated(&content)?;
                        for name in &names {
                            check_name(&name.value(), MANIFEST_MAX, name.span())?;
                        }
                        naming.retired.replace(names.into_iter().collect()).is_some()
                    }
                    _ => naming.protobuf.replace(meta.path.segments[0].ident.span()).is_some(),
                };
                if twice { Err(meta.error(format!("`{setting}` is said twice"))) } else { Ok(()) }
            })?;
        }
        Ok(naming)
    }

    /// Calls on `Migrations` for the schema with this index.
    pub(crate) fn steps(&self, index: usize, migrations: &TokenStream) -> Result<TokenStream> {
        let today = self.version.unwrap_or(1);
        let up = self.from.as_ref().map(|steps| steps.up(index, today, migrations)).transpose()?;
        let down = self.to.as_ref().map(|steps| steps.down(index, today, migrations)).transpose()?;
        Ok(quote!(#up #down))
    }
}

/// The name and the version of one type or variant, checked.
pub(crate) struct Named {
    name: String,
    whole: bool,
    version: u32,
    /// Where to point when something is wrong with the name.
    span: Span,
}

impl Named {
    /// What a type or variant called `ident` is stored as.
    pub(crate) fn new(ident: &Ident, naming: &Naming) -> Result<Self> {
        let version = naming.version.unwrap_or(1);
        if let Some(manifest) = &naming.manifest {
            return Ok(Self { name: manifest.value(), whole: true, version, span: manifest.span() });
        }
        let text = ident.to_string();
        let name = kebab_case(text.strip_prefix("r#").unwrap_or(&text));
        check_name(&name, OF_KIND_MAX, ident.span())?;
        Ok(Self { name, whole: false, version, span: ident.span() })
    }

    /// The `Schema` as an expression.
    pub(crate) fn schema(&self, migrations: &TokenStream, protobuf: bool) -> TokenStream {
        let Self { name, version, .. } = self;
        let source = if self.whole { quote!(Whole) } else { quote!(OfKind) };
        let codec = if protobuf { quote!(Protobuf) } else { quote!(Json) };
        quote! {
            #migrations::Schema {
                name: #migrations::SchemaName::#source(#name),
                version: #version,
                codec: #migrations::__private::Codec::#codec,
            }
        }
    }

    /// Finds two that would be stored under one name.
    pub(crate) fn refuse_duplicates(all: &[Self]) -> Result<()> {
        let mut seen = HashMap::new();
        for named in all {
            if seen.insert((&named.name, named.whole), ()).is_some() {
                let message = format!(
                    "two variants are stored as \"{}\": give one of them another name with \
                     #[event(manifest = \"...\")]",
                    named.name
                );
                return Err(Error::new(named.span, message));
            }
        }
        Ok(())
    }
}

fn unknown(setting: &str, attribute: &str, allowed: &[&str]) -> String {
    let list = allowed.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match setting {
        "protobuf" if attribute == "event" => {
            "`protobuf` belongs on a variant with one unnamed field, or on a struct".to_owned()
        }
        "retired" if attribute == "event" => {
            "`retired` belongs on the type: what it names is no variant any more".to_owned()
        }
        "version" | "manifest" | "from" | "to" if attribute == "event" => {
            format!("`{setting}` belongs on a variant: each variant of an event has its own")
        }
        _ => format!("#[{attribute}(..)] does not know `{setting}` here; it knows {list}"),
    }
}

fn version(number: &LitInt) -> Result<u32> {
    match number.base10_parse()? {
        0 => Err(Error::new(number.span(), "versions begin at 1")),
        version => Ok(version),
    }
}

/// The rule of `annals_journal::Manifest`, at compile time.
fn check_name(name: &str, max: usize, span: Span) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > max {
        return Err(Error::new(span, format!("a manifest must have 1 to {max} bytes here")));
    }
    if !name.bytes().all(allowed) {
        let message = format!(
            "\"{name}\" cannot be a manifest: it may have only ASCII letters, digits, '-', '_' and '.'; \
             say another one with `manifest = \"...\"`"
        );
        return Err(Error::new(span, message));
    }
    Ok(())
}

/// `SentBack` is `sent-back`, `HTTPFailed` is `http-failed`, `V2_Sent` is `v2-sent`.
///
/// What it yields is stored for ever: never change it.
fn kebab_case(ident: &str) -> String {
    let chars: Vec<char> = ident.chars().collect();
    let mut out = String::with_capacity(ident.len() + 4);
    for (at, &char) in chars.iter().enumerate() {
        if char == '_' {
            if !out.is_empty() && !out.ends_with('-') {
                out.push('-');
            }
            continue;
        }
        let before = at.checked_sub(1).map(|at| chars[at]);
        let lower_follows = chars.get(at + 1).is_some_and(|next| next.is_lowercase());
        let begins_word = char.is_uppercase()
            && before.is_some_and(|before| {
                before.is_lowercase() || before.is_numeric() || (before.is_uppercase() && lower_follows)
            });
        if begins_word && !out.ends_with('-') {
            out.push('-');
        }
        out.extend(char.to_lowercase());
    }
    out.truncate(out.trim_end_matches('-').len());
    out
}

/// `annals_journal::Manifest::MAX_BYTES`.
const MANIFEST_MAX: usize = 192;
/// What is left of it beside the longest kind (64 bytes) and the dot.
const OF_KIND_MAX: usize = MANIFEST_MAX - 64 - 1;

#[cfg(test)]
mod tests {
    use super::kebab_case;

    #[test]
    fn kebab_case_divides_where_a_capital_begins_a_word() {
        for (ident, kebab) in [
            ("Withdrawn", "withdrawn"),
            ("SentBack", "sent-back"),
            ("HTTPFailed", "http-failed"),
            ("ClosedByHTTP", "closed-by-http"),
            ("V2Sent", "v2-sent"),
            ("Sent2Times", "sent2-times"),
            ("Sent_Back", "sent-back"),
            ("A_", "a"),
            ("AB", "ab"),
            ("snake_case", "snake-case"),
        ] {
            assert_eq!(kebab_case(ident), kebab);
        }
    }
}
