//! `#[forge::forge_enum]`: an enum that is a type of the database, a column, and a string on the wire.

use heck::ToSnakeCase;
use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::{Fields, ItemEnum, LitStr};

use crate::attrs::{derive, docs, refuse_cfg, refuse_generics};
use crate::keys::Grammar;
use crate::mistakes::{Mistakes, wrong_item};
use crate::names::{identifier_mistake, plain, snake};
use crate::wire_field::SerdeKeys;
use crate::wire_type::{NamedType, variant_def};

const GRAMMAR: Grammar = Grammar { attribute: "#[forge::forge_enum]", accepted: &["name"], planned: &[] };
const ON_VARIANTS: Grammar = Grammar { attribute: "a variant", accepted: &[], planned: &["value", "description"] };

struct Variant {
    ident: Ident,
    value: String,
    doc: String,
}

/// The macro.
pub(crate) fn expand(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut item: ItemEnum = match syn::parse2(item.clone()) {
        Ok(item) => item,
        Err(error) => return wrong_item(item, "`#[forge::forge_enum]` stands on an enum", error),
    };
    let mut mistakes = Mistakes::default();
    let mut keys = GRAMMAR.read(args, &mut mistakes);
    let name = keys.text("name", "card_state", &mut mistakes);
    let type_name = type_name(name.as_ref(), &item.ident, &mut mistakes);
    refuse_generics(&item.generics, "an enum of the database", &mut mistakes);
    refuse_serde(&mut item.attrs, &mut mistakes);
    let variants = read_variants(&mut item, &mut mistakes);

    // Without words alone there is nothing to implement.
    if item.variants.is_empty()
        || !item.generics.params.is_empty()
        || item.variants.iter().any(|variant| !variant.fields.is_empty())
    {
        item.variants.iter_mut().for_each(|variant| variant.attrs.retain(|attr| !is_ours(attr)));
        let mistakes = mistakes.into_tokens();
        return quote!(#mistakes #item);
    }
    let expansion = implement(&item, &type_name, &variants);
    let mut derives = vec![quote!(Debug), quote!(Clone), quote!(Copy), quote!(PartialEq), quote!(Eq), quote!(Hash)];
    let is_default = |variant: &syn::Variant| variant.attrs.iter().any(|attr| attr.path().is_ident("default"));
    if item.variants.iter().any(is_default) {
        derives.push(quote!(Default));
    }
    derive(&mut item.attrs, &derives, &TokenStream::new());
    let mistakes = mistakes.into_tokens();
    quote! {
        #mistakes
        #item
        #expansion
    }
}

/// Whether a derive would have read the attribute.
fn is_ours(attr: &syn::Attribute) -> bool {
    attr.path().is_ident("serde") || attr.path().is_ident("default")
}

fn type_name(name: Option<&LitStr>, ident: &Ident, mistakes: &mut Mistakes) -> String {
    let text = name.map_or_else(|| plain(ident).to_snake_case(), LitStr::value);
    if let Some(why) = identifier_mistake(&text) {
        match name {
            Some(name) => mistakes.add(name, why),
            None => mistakes.add(ident, why),
        }
    }
    text
}

fn refuse_serde(attrs: &mut Vec<syn::Attribute>, mistakes: &mut Mistakes) {
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("serde")) {
        mistakes
            .add(attr, "the database, the wire and Rust use the same words for this enum: `serde` cannot change them here");
    }
    let _ = SerdeKeys::take(attrs, true, &mut Mistakes::default());
}

fn read_variants(item: &mut ItemEnum, mistakes: &mut Mistakes) -> Vec<Variant> {
    if item.variants.is_empty() {
        mistakes.add(&item.ident, "an enum without variants has no values");
    }
    let mut variants: Vec<Variant> = Vec::new();
    for variant in &mut item.variants {
        refuse_cfg(&variant.attrs, "a variant", "the database has one list of values", mistakes);
        let _ = ON_VARIANTS.read_helpers(&mut variant.attrs, mistakes);
        refuse_serde(&mut variant.attrs, mistakes);
        if !matches!(variant.fields, Fields::Unit) {
            mistakes.add(
                &variant.fields,
                "a value of a database enum is a word alone; for variants with fields use `#[forge::input]` and store it as `Json<..>`",
            );
        }
        if let Some((_, value)) = &variant.discriminant {
            mistakes.add(value, "values of a database enum are words, not numbers");
        }
        let value = snake(&variant.ident);
        if let Some(why) = identifier_mistake(&value) {
            mistakes.add(&variant.ident, why);
        }
        if variants.iter().any(|known| known.value == value) {
            mistakes.add(&variant.ident, format!("two variants are called `{value}` in the database and on the wire"));
        }
        variant.attrs.push(syn::parse_quote!(#[serde(rename = #value)]));
        variants.push(Variant { ident: variant.ident.clone(), value, doc: docs(&variant.attrs) });
    }
    variants
}

fn implement(item: &ItemEnum, type_name: &str, variants: &[Variant]) -> TokenStream {
    let (ident, vis) = (&item.ident, &item.vis);
    let rust = plain(ident);
    let idents: Vec<_> = variants.iter().map(|variant| &variant.ident).collect();
    let values: Vec<_> = variants.iter().map(|variant| &variant.value).collect();
    let expected = values.iter().map(|value| value.as_str()).collect::<Vec<_>>().join(", ");
    let definitions = variants.iter().map(|variant| variant_def(&variant.value, &variant.doc, []));
    let doc = docs(&item.attrs);
    let wire = NamedType {
        ident,
        doc: &doc,
        object: false,
        shape: quote!(::forge::__rt::wire::TypeShape::Enum { variants: ::std::vec![#(#definitions),*] }),
        validate: TokenStream::new(),
    }
    .implement();
    let any_error = quote!(::std::boxed::Box<dyn ::std::error::Error + ::core::marker::Sync + ::core::marker::Send>);
    quote! {
        #wire

        #[allow(dead_code)]
        impl #ident {
            /// All values, in order.
            #vis const ALL: &'static [Self] = &[#(Self::#idents),*];

            /// The word for it, in the database and on the wire.
            #vis const fn as_str(self) -> &'static str {
                match self { #(Self::#idents => #values),* }
            }
        }

        #[automatically_derived]
        impl ::core::fmt::Display for #ident {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.pad(self.as_str())
            }
        }

        #[automatically_derived]
        impl ::core::str::FromStr for #ident {
            type Err = ::forge::__rt::Error;
            fn from_str(text: &str) -> ::core::result::Result<Self, Self::Err> {
                match text {
                    #(#values => ::core::result::Result::Ok(Self::#idents),)*
                    other => ::core::result::Result::Err(::forge::__rt::Error::invalid_argument(
                        ::std::format!("`{}` is not a {}; expected one of: {}", other, #rust, #expected),
                    )),
                }
            }
        }

        #[automatically_derived]
        impl<'a> ::forge::__rt::pg::FromSql<'a> for #ident {
            fn from_sql(
                _: &::forge::__rt::pg::Type,
                raw: &'a [u8],
            ) -> ::core::result::Result<Self, #any_error> {
                let text = ::core::str::from_utf8(raw)?;
                ::core::result::Result::Ok(::core::str::FromStr::from_str(text)?)
            }

            fn accepts(ty: &::forge::__rt::pg::Type) -> bool {
                <Self as ::forge::__rt::pg::ToSql>::accepts(ty)
            }
        }

        #[automatically_derived]
        impl ::forge::__rt::pg::ToSql for #ident {
            fn to_sql(
                &self,
                _: &::forge::__rt::pg::Type,
                out: &mut ::forge::__rt::pg::private::BytesMut,
            ) -> ::core::result::Result<::forge::__rt::pg::IsNull, #any_error> {
                out.extend_from_slice(self.as_str().as_bytes());
                ::core::result::Result::Ok(::forge::__rt::pg::IsNull::No)
            }

            fn accepts(ty: &::forge::__rt::pg::Type) -> bool {
                // A column of text can hold it too.
                *ty == ::forge::__rt::pg::Type::TEXT
                    || *ty == ::forge::__rt::pg::Type::VARCHAR
                    || (ty.name() == #type_name && ::core::matches!(ty.kind(), ::forge::__rt::pg::Kind::Enum(_)))
            }

            ::forge::__rt::pg::to_sql_checked!();
        }

        #[automatically_derived]
        impl ::forge::__rt::schema::ColumnType for #ident {
            fn sql_type() -> ::forge::__rt::schema::SqlType {
                ::forge::__rt::schema::SqlType::Enum { name: ::std::string::String::from(#type_name) }
            }
        }

        #[automatically_derived]
        impl ::forge::__rt::db::Scalar for #ident {}

        #[automatically_derived]
        impl ::forge::__rt::db::PgEnum for #ident {
            fn definition() -> ::forge::__rt::schema::EnumDef {
                ::forge::__rt::schema::EnumDef {
                    name: ::std::string::String::from(#type_name),
                    rust: ::std::string::String::from(#rust),
                    values: ::std::vec![#(::std::string::String::from(#values)),*],
                }
            }
        }

        ::forge::__rt::inventory::submit! {
            ::forge::__rt::Registration::pg_enum::<#ident>(::core::env!("CARGO_PKG_NAME"))
        }
    }
}
