//! `#[forge::input]`: a struct or an enum of the app that crosses the wire.
//!
//! | written as | on the wire |
//! |---|---|
//! | `struct NewCard { .. }` | an object |
//! | `struct Email(String)` | what is inside, under a name of its own |
//! | `enum Colour { Red, Green }` | a string: `"red"` |
//! | `enum Target { Card { .. }, Board { .. } }` | an object with `type: "card"` |

mod enums;
mod structs;

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Item};

use crate::attrs::{derive, refuse_generics};
use crate::keys::Grammar;
use crate::mistakes::Mistakes;
use crate::wire_field::SerdeKeys;

const GRAMMAR: Grammar = Grammar { attribute: "#[forge::input]", accepted: &[], planned: &[] };

/// The macro.
pub(crate) fn expand(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut mistakes = Mistakes::default();
    let _ = GRAMMAR.read(args, &mut mistakes);
    let expansion = match syn::parse2::<Item>(item.clone()) {
        Ok(Item::Struct(item)) => structs::expand(item, &mut mistakes),
        Ok(Item::Enum(item)) => enums::expand(item, &mut mistakes),
        Ok(other) => {
            mistakes.add(&other, "`#[forge::input]` stands on a struct or an enum");
            item
        }
        Err(error) => {
            mistakes.add_error(error);
            item
        }
    };
    let mistakes = mistakes.into_tokens();
    quote!(#mistakes #expansion)
}

/// What structs and enums have in common: takes our attributes off the item. Says whether anything can be implemented.
fn prepare(attrs: &mut Vec<Attribute>, generics: &syn::Generics, mistakes: &mut Mistakes) -> bool {
    refuse_generics(generics, "a type that crosses the wire", mistakes);
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("validate")) {
        mistakes.add(attr, "rules stand on the fields: `#[validate(length(min = 1))] title: String`");
    }
    attrs.retain(|attr| !attr.path().is_ident("validate"));
    let serde = SerdeKeys::take(attrs, false, mistakes);
    if let Some(name) = serde.rename {
        mistakes.add(name, "a type has one name, in Rust and in generated clients: rename the type itself");
    }
    generics.params.is_empty()
}

/// Adds the derives.
fn add_derives(attrs: &mut Vec<Attribute>, serde: &TokenStream) {
    derive(attrs, &[quote!(Debug), quote!(Clone)], serde);
}
