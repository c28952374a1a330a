//! The attributes of an item: doc comments, derives, and those that cannot stand where they are.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::punctuated::Punctuated;
use syn::{Attribute, Meta, Path, Token, parse_quote};

use crate::mistakes::Mistakes;
use crate::types::string_literal;

/// The doc comment as text: lines joined, the space after `///` removed.
pub(crate) fn docs(attrs: &[Attribute]) -> String {
    let mut lines = Vec::new();
    for attr in attrs {
        if let Meta::NameValue(pair) = &attr.meta
            && pair.path.is_ident("doc")
            && let Some(text) = string_literal(&pair.value)
        {
            let text = text.value();
            lines.extend(text.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end().to_owned()));
            // An empty `///` has no line of its own for `lines()`, yet it separates paragraphs.
            if text.is_empty() {
                lines.push(String::new());
            }
        }
    }
    lines.join("\n").trim().to_owned()
}

/// The attributes that are doc comments.
pub(crate) fn doc_attrs(attrs: &[Attribute]) -> Vec<&Attribute> {
    attrs.iter().filter(|attr| attr.path().is_ident("doc")).collect()
}

/// Adds serde's derives and those in `wanted`, as far as the user has not written them, and below them what serde is to
/// know: an attribute may not stand above the derive that it belongs to, be that ours or the user's.
pub(crate) fn derive(attrs: &mut Vec<Attribute>, wanted: &[TokenStream], serde: &TokenStream) {
    let mut derived = Vec::new();
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("derive")) {
        if let Ok(paths) = attr.parse_args_with(Punctuated::<Path, Token![,]>::parse_terminated) {
            derived.extend(paths.iter().filter_map(|path| path.segments.last().map(|last| last.ident.to_string())));
        }
    }
    let mut wanted = wanted.to_vec();
    wanted.extend([quote!(::forge::__rt::serde::Serialize), quote!(::forge::__rt::serde::Deserialize)]);
    wanted.retain(|path| {
        let last = path.clone().into_iter().last().map(|word| word.to_string()).unwrap_or_default();
        !derived.contains(&last)
    });
    if !wanted.is_empty() {
        attrs.push(parse_quote!(#[derive(#(#wanted),*)]));
    }
    attrs.push(parse_quote!(#[serde(crate = "::forge::__rt::serde" #serde)]));
}

/// Refuses `#[cfg]` on a part of an item: what we generate from that part would not be under it. (On the item itself the
/// compiler has decided before it calls us.)
pub(crate) fn refuse_cfg(attrs: &[Attribute], place: &str, remedy: &str, mistakes: &mut Mistakes) {
    for attr in attrs {
        if attr.path().is_ident("cfg") || attr.path().is_ident("cfg_attr") {
            mistakes.add(attr, format!("`#[cfg]` cannot stand on {place}; {remedy}"));
        }
    }
}

/// Refuses generics, which neither the wire nor a table can have.
pub(crate) fn refuse_generics(generics: &syn::Generics, what: &str, mistakes: &mut Mistakes) {
    if !generics.params.is_empty() {
        mistakes.add(&generics.params, format!("{what} cannot have generic parameters or lifetimes: write the types out"));
    }
    if let Some(clause) = &generics.where_clause {
        mistakes.add(clause.to_token_stream(), format!("{what} cannot have a `where` clause"));
    }
}

#[cfg(test)]
mod tests {
    use syn::ItemStruct;

    use super::*;

    #[test]
    fn doc_comments_become_text() {
        let item: ItemStruct = parse_quote! {
            /// Lists the cards.
            ///
            /// Oldest first,
            ///   indented.
            #[derive(PartialEq)]
            struct X;
        };
        assert_eq!(docs(&item.attrs), "Lists the cards.\n\nOldest first,\n  indented.");
    }

    #[test]
    fn what_is_derived_already_is_not_derived_again() {
        let item: ItemStruct = parse_quote! {
            #[derive(PartialEq, std::clone::Clone, serde::Serialize)]
            struct X;
        };
        let mut attrs = item.attrs;
        derive(&mut attrs, &[quote!(Debug), quote!(Clone)], &quote!(, transparent));
        let added = &attrs[1..];
        let expected = quote! {
            #[derive(Debug, ::forge::__rt::serde::Deserialize)]
            #[serde(crate = "::forge::__rt::serde", transparent)]
        };
        assert_eq!(quote!(#(#added)*).to_string(), expected.to_string());
    }
}
