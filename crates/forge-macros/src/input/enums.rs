//! Enums: one of several strings, or one of several objects.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::{Fields, ItemEnum};

use super::structs::take_fields;
use super::{add_derives, prepare};
use crate::attrs::{docs, refuse_cfg};
use crate::mistakes::Mistakes;
use crate::names::snake;
use crate::wire_field::{SerdeKeys, WireField};
use crate::wire_type::{NamedType, variant_def};

/// The field that tells the objects apart.
const TAG: &str = "type";

struct Variant {
    ident: Ident,
    name: String,
    doc: String,
    fields: Vec<WireField>,
}

pub(super) fn expand(mut item: ItemEnum, mistakes: &mut Mistakes) -> TokenStream {
    let sound = prepare(&mut item.attrs, &item.generics, mistakes);
    if item.variants.is_empty() {
        mistakes.add(&item.ident, "an enum without variants has no values");
    }
    let mut variants: Vec<Variant> = Vec::new();
    for variant in &mut item.variants {
        let variant = read_variant(variant, &variants, mistakes);
        variants.push(variant);
    }
    let named = item.variants.iter().all(|variant| !matches!(variant.fields, Fields::Unnamed(_)));
    if !sound || !named || variants.is_empty() {
        item.variants.iter_mut().for_each(|variant| {
            variant.attrs.retain(|attr| !attr.path().is_ident("serde"));
            variant.fields.iter_mut().for_each(|field| field.attrs.retain(|attr| !attr.path().is_ident("serde")));
        });
        return quote!(#item);
    }

    let tagged = item.variants.iter().any(|variant| !matches!(variant.fields, Fields::Unit));
    let definitions = variants
        .iter()
        .map(|variant| variant_def(&variant.name, &variant.doc, variant.fields.iter().map(WireField::definition)));
    let (serde, shape) = if tagged {
        let tag = quote!(, tag = #TAG, deny_unknown_fields);
        let shape = quote!(Union { tag: ::std::string::String::from(#TAG), variants: ::std::vec![#(#definitions),*] });
        (tag, shape)
    } else {
        (TokenStream::new(), quote!(Enum { variants: ::std::vec![#(#definitions),*] }))
    };
    let doc = docs(&item.attrs);
    add_derives(&mut item.attrs, &serde);
    let implementation = NamedType {
        ident: &item.ident,
        doc: &doc,
        object: tagged,
        shape: quote!(::forge::__rt::wire::TypeShape::#shape),
        validate: if tagged { check(&variants) } else { TokenStream::new() },
    }
    .implement();
    quote! {
        #item
        #implementation
    }
}

fn read_variant(variant: &mut syn::Variant, earlier: &[Variant], mistakes: &mut Mistakes) -> Variant {
    refuse_cfg(&variant.attrs, "a variant", "write two enums instead", mistakes);
    let ident = variant.ident.clone();
    if let Fields::Unnamed(fields) = &variant.fields {
        mistakes.add(fields, format!("the fields of a variant have names on the wire: write `{ident} {{ name: Type }}`"));
    }
    if let Some((_, value)) = &variant.discriminant {
        mistakes.add(value, "variants are words on the wire, not numbers");
    }
    let serde = SerdeKeys::take(&mut variant.attrs, false, mistakes);
    let name = serde.rename.map_or_else(|| snake(&ident), |name| name.value());
    if earlier.iter().any(|known| known.name == name) {
        mistakes.add(&ident, format!("two variants are called `{name}` on the wire"));
    }
    let fields = take_fields(&mut variant.fields, &[TAG], mistakes);
    variant.attrs.push(syn::parse_quote!(#[serde(rename = #name)]));
    Variant { ident, name, doc: docs(&variant.attrs), fields }
}

/// Checks the fields of the variant that is there.
fn check(variants: &[Variant]) -> TokenStream {
    let arms = variants.iter().map(|Variant { ident, fields, .. }| {
        // Named after their place, because a field may be called like something of ours.
        let places: Vec<_> = (0..fields.len()).map(|index| format_ident!("field_{index}")).collect();
        let names = fields.iter().map(|field| &field.ident);
        let checks = fields.iter().zip(&places).map(|(field, place)| field.check(&quote!(#place)));
        quote!(Self::#ident { #(#names: #places),* } => { #(#checks)* })
    });
    quote!(match self { #(#arms)* })
}
