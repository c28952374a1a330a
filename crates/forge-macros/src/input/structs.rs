//! Structs: objects, and single values under a name of their own.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Fields, ItemStruct};

use super::{add_derives, prepare};
use crate::attrs::{docs, refuse_cfg};
use crate::mistakes::Mistakes;
use crate::rules::{self, Rule};
use crate::wire_field::{SerdeKeys, WireField, check_here, refuse_clashes, serde_with, wire_type};
use crate::wire_type::{NamedType, struct_shape};

pub(super) fn expand(mut item: ItemStruct, mistakes: &mut Mistakes) -> TokenStream {
    if !prepare(&mut item.attrs, &item.generics, mistakes) {
        take_fields(&mut item.fields, &[], mistakes);
        item.fields.iter_mut().for_each(|field| field.attrs.retain(|attr| !attr.path().is_ident("serde")));
        return quote!(#item);
    }
    match &item.fields {
        Fields::Named(_) => object(item, mistakes),
        Fields::Unnamed(fields) if fields.unnamed.len() == 1 => alias(item, mistakes),
        Fields::Unnamed(fields) => {
            mistakes.add(fields, "a struct has named fields, or exactly one without a name; write `{ name: Type, .. }`");
            quote!(#item)
        }
        Fields::Unit => {
            mistakes.add(
                &item.ident,
                "a struct without fields says nothing; write `{ name: Type, .. }`, or `{}` for an empty object",
            );
            quote!(#item)
        }
    }
}

fn object(mut item: ItemStruct, mistakes: &mut Mistakes) -> TokenStream {
    let fields = take_fields(&mut item.fields, &[], mistakes);
    let checks = fields.iter().map(|field| {
        let ident = &field.ident;
        field.check(&quote!(&self.#ident))
    });
    let doc = docs(&item.attrs);
    add_derives(&mut item.attrs, &quote!(, deny_unknown_fields));
    let implementation = NamedType {
        ident: &item.ident,
        doc: &doc,
        object: true,
        shape: struct_shape(fields.iter().map(WireField::definition)),
        validate: quote!(#(#checks)*),
    }
    .implement();
    quote! {
        #item
        #implementation
    }
}

/// Reads named fields, takes our attributes off them and gives each the attribute that serde needs. Names in `taken` have
/// another meaning where the fields stand.
pub(super) fn take_fields(fields: &mut Fields, taken: &[&str], mistakes: &mut Mistakes) -> Vec<WireField> {
    let mut found = Vec::new();
    for field in fields.iter_mut() {
        let Some(ident) = field.ident.clone() else { continue };
        refuse_cfg(&field.attrs, "a field", "write two types instead", mistakes);
        if let Some(attr) = field.attrs.iter().find(|attr| attr.path().is_ident("private")) {
            mistakes.add(
                attr,
                "an input is what clients send, so nothing in it is private to the server: leave the field out; a text that nobody is to see again is a `forge::Secret`",
            );
        }
        field.attrs.retain(|attr| !attr.path().is_ident("private"));
        let mut wire = WireField::take(&mut field.attrs, &ident, &field.ty, mistakes);
        if taken.contains(&wire.name.as_str()) {
            mistakes
                .add(&ident, format!("`{}` tells the variants apart on the wire: give this field another name", wire.name));
            // So that serde does not say the same.
            wire.name.push('_');
        }
        let serde = wire.serde_attr();
        field.attrs.push(syn::parse_quote!(#serde));
        found.push(wire);
    }
    refuse_clashes(&found, mistakes);
    found
}

fn alias(mut item: ItemStruct, mistakes: &mut Mistakes) -> TokenStream {
    let mut of = TokenStream::new();
    let mut validate = TokenStream::new();
    for field in item.fields.iter_mut() {
        let serde = SerdeKeys::take(&mut field.attrs, false, mistakes);
        if let Some(name) = serde.rename {
            mistakes.add(name, "there is no field on the wire that could have a name");
        }
        let rules = rules::take(&mut field.attrs, &field.ty, mistakes);
        let definitions = rules.iter().map(Rule::definition);
        let inner = wire_type(&field.ty);
        of = quote!(::forge::__rt::wire::TypeShape::Alias { of: #inner, rules: ::std::vec![#(#definitions),*] });
        validate = check_here(&field.ty, &rules, &quote!(&self.0));
        let with = serde_with(&field.ty);
        field.attrs.push(syn::parse_quote!(#[serde(#with)]));
    }
    let doc = docs(&item.attrs);
    add_derives(&mut item.attrs, &quote!(, transparent));
    let implementation = NamedType { ident: &item.ident, doc: &doc, object: false, shape: of, validate }.implement();
    quote! {
        #item
        #implementation
    }
}
