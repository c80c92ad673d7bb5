use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Data, DataEnum, DeriveInput, Error, Fields, Ident, LitStr, Result, Variant};

use crate::container::{migrations_path, refuse_generics};
use crate::naming::{Named, Naming};
use crate::serde_attrs;

/// The implementation of `Event`.
pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    refuse_generics(input, "an event")?;
    match &input.data {
        Data::Enum(data) => expand_enum(input, data),
        Data::Struct(_) => expand_struct(input),
        Data::Union(data) => Err(Error::new_spanned(
            data.union_token,
            "an event must be an enum, one variant a kind of event, or a struct",
        )),
    }
}

fn expand_enum(input: &DeriveInput, data: &DataEnum) -> Result<TokenStream> {
    let container = Naming::parse(&input.attrs, "event", &["crate", "retired"])?;
    serde_attrs::refuse_on_enum(&input.attrs)?;
    let migrations = migrations_path(container.krate.as_ref());
    let variants =
        collect(data.variants.iter().scan(0, |read, variant| Some(StoredVariant::new(variant, read))))?;
    let named: Vec<Named> =
        collect(variants.iter().map(|variant| Named::new(variant.ident, &variant.naming)))?;
    Named::refuse_duplicates(&named)?;

    let schemas =
        named.iter().zip(&variants).map(|(named, variant)| named.schema(&migrations, variant.is_protobuf()));
    let indices = variants
        .iter()
        .enumerate()
        .map(|(index, StoredVariant { ident, .. })| quote!(Self::#ident { .. } => #index));
    let steps = collect(
        variants.iter().enumerate().map(|(index, variant)| variant.naming.steps(index, &migrations)),
    )?;
    let value_decoders =
        variants.iter().enumerate().filter_map(|(index, variant)| variant.value_decoder(index, &migrations));
    let shapes = variants.iter().enumerate().filter_map(|(index, variant)| variant.shape(index, &migrations));
    let encoders = variants.iter().map(|variant| variant.encoder(&migrations));
    let decoders = variants.iter().enumerate().map(|(index, variant)| variant.decoder(index, &migrations));
    Ok(implementation(
        &input.ident,
        &migrations,
        Parts {
            schemas: quote!(#(#schemas,)*),
            schema: quote!(match *self { #(#indices,)* }),
            encode: quote!(match *self { #(#encoders,)* }),
            decoders: quote!(#(#decoders,)*),
            value_decoders: quote!(#(#value_decoders,)*),
            shapes: quote!(#(#shapes,)*),
            steps: quote!(#(#steps)*),
            retired: container.retired.unwrap_or_default(),
        },
    ))
}

fn expand_struct(input: &DeriveInput) -> Result<TokenStream> {
    let naming = Naming::parse(&input.attrs, "event", ON_STRUCT)?;
    let migrations = migrations_path(naming.krate.as_ref());
    let protobuf = naming.protobuf.is_some();
    let schema = Named::new(&input.ident, &naming)?.schema(&migrations, protobuf);
    let steps = naming.steps(0, &migrations)?;
    let value_decoders =
        if protobuf { quote!() } else { quote!(0 => #migrations::codec::decode_json_value(payload),) };
    let shapes = if protobuf {
        quote!()
    } else {
        quote!(0 => ::core::option::Option::Some(#migrations::Shape::of::<Self>()),)
    };
    let (encode, decode) = if protobuf {
        (
            quote!(::core::result::Result::Ok(#migrations::codec::encode_protobuf(self))),
            quote!(decode_protobuf),
        )
    } else {
        (quote!(#migrations::codec::encode_json(self)), quote!(decode_json))
    };
    Ok(implementation(
        &input.ident,
        &migrations,
        Parts {
            schemas: schema,
            schema: quote!(0),
            encode,
            decoders: quote!(0 => #migrations::codec::#decode(payload),),
            value_decoders,
            shapes,
            steps,
            retired: naming.retired.unwrap_or_default(),
        },
    ))
}

/// What differs between enums and structs.
struct Parts {
    schemas: TokenStream,
    schema: TokenStream,
    encode: TokenStream,
    decoders: TokenStream,
    /// Of those that are stored as JSON.
    value_decoders: TokenStream,
    /// The same.
    shapes: TokenStream,
    /// Calls on `Migrations`.
    steps: TokenStream,
    retired: Vec<LitStr>,
}

fn implementation(ident: &Ident, migrations: &TokenStream, parts: Parts) -> TokenStream {
    let Parts { schemas, schema, encode, decoders, value_decoders, shapes, steps, retired } = parts;
    let result = quote!(::core::result::Result);
    let has_steps = !steps.is_empty() || !retired.is_empty();
    let migrations_fn = has_steps.then(|| {
        quote! {
            fn migrations() -> #migrations::Migrations<Self> {
                #migrations::Migrations::new() #steps #(.retired(#retired))*
            }
        }
    });
    quote! {
        #[automatically_derived]
        impl #migrations::Event for #ident {
            const SCHEMAS: &'static [#migrations::Schema] = &[#schemas];

            fn schema(&self) -> usize {
                #schema
            }

            fn encode(&self) -> #result<#migrations::__private::Bytes, #migrations::CodecError> {
                #encode
            }

            fn decode(
                schema: usize,
                payload: &#migrations::__private::Bytes,
            ) -> #result<Self, #migrations::CodecError> {
                match schema {
                    #decoders
                    other => #result::Err(#migrations::CodecError::UnknownSchema(other)),
                }
            }

            fn decode_value(
                schema: usize,
                payload: #migrations::__private::Value,
            ) -> #result<Self, #migrations::CodecError> {
                match schema {
                    #value_decoders
                    other => Self::decode(other, &#migrations::codec::encode_json(&payload)?),
                }
            }

            fn shape(schema: usize) -> ::core::option::Option<#migrations::Shape> {
                match schema {
                    #shapes
                    _ => ::core::option::Option::None,
                }
            }

            #migrations_fn
        }
    }
}

/// One variant and how it is stored.
struct StoredVariant<'a> {
    ident: &'a Ident,
    naming: Naming,
    /// Its index among the variants that serde reads.
    serde_index: u32,
}

impl<'a> StoredVariant<'a> {
    /// Checks a variant; `read` counts those that serde reads.
    fn new(variant: &'a Variant, read: &mut u32) -> Result<Self> {
        let serde_index = *read;
        *read += u32::from(serde_attrs::is_read(&variant.attrs));
        let naming = Naming::parse(&variant.attrs, "event", ON_VARIANT)?;
        serde_attrs::refuse_on_variant(&variant.attrs, naming.protobuf.is_some())?;
        refuse_on_fields(&variant.fields)?;
        if let Some(span) = naming.protobuf
            && !matches!(&variant.fields, Fields::Unnamed(fields) if fields.unnamed.len() == 1)
        {
            let message = "`protobuf` needs exactly one unnamed field, whose type is a prost::Message";
            return Err(Error::new(span, message));
        }
        Ok(Self { ident: &variant.ident, naming, serde_index })
    }

    fn is_protobuf(&self) -> bool {
        self.naming.protobuf.is_some()
    }

    fn encoder(&self, migrations: &TokenStream) -> TokenStream {
        let ident = self.ident;
        if self.is_protobuf() {
            quote! {
                Self::#ident(ref message) => {
                    ::core::result::Result::Ok(#migrations::codec::encode_protobuf(message))
                }
            }
        } else {
            quote!(Self::#ident { .. } => #migrations::codec::encode_variant(self))
        }
    }

    fn value_decoder(&self, index: usize, migrations: &TokenStream) -> Option<TokenStream> {
        let serde_index = self.serde_index;
        (!self.is_protobuf())
            .then(|| quote!(#index => #migrations::codec::decode_variant_value(#serde_index, payload)))
    }

    fn shape(&self, index: usize, migrations: &TokenStream) -> Option<TokenStream> {
        let serde_index = self.serde_index;
        let shape = quote!(#migrations::codec::variant_shape::<Self>(#serde_index));
        (!self.is_protobuf()).then(|| quote!(#index => ::core::option::Option::Some(#shape)))
    }

    fn decoder(&self, index: usize, migrations: &TokenStream) -> TokenStream {
        let Self { ident, serde_index, .. } = self;
        if self.is_protobuf() {
            quote!(#index => #migrations::codec::decode_protobuf(payload).map(Self::#ident))
        } else {
            quote!(#index => #migrations::codec::decode_variant(#serde_index, payload))
        }
    }
}

const ON_VARIANT: &[&str] = &["version", "manifest", "protobuf", "from", "to"];
const ON_STRUCT: &[&str] = &["version", "manifest", "protobuf", "from", "to", "retired", "crate"];

/// `#[event(..)]` on a field would be read by nobody.
fn refuse_on_fields(fields: &Fields) -> Result<()> {
    let is_ours = |attribute: &&Attribute| attribute.path().is_ident("event");
    match fields.iter().flat_map(|field| &field.attrs).find(is_ours) {
        Some(attribute) => {
            Err(Error::new_spanned(attribute, "#[event(..)] belongs on a variant, not on its fields"))
        }
        None => Ok(()),
    }
}

/// All values, or all errors in one.
fn collect<T>(results: impl Iterator<Item = Result<T>>) -> Result<Vec<T>> {
    let mut values = Vec::new();
    let mut errors: Option<Error> = None;
    for result in results {
        match (result, &mut errors) {
            (Ok(value), _) => values.push(value),
            (Err(error), Some(errors)) => errors.combine(error),
            (Err(error), None) => errors = Some(error),
        }
    }
    errors.map_or(Ok(values), Err)
}
