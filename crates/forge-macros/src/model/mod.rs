//! `#[forge::model]`: a struct that is a row of a table.

mod expand;
mod read;

use proc_macro2::TokenStream;
use quote::quote;
use syn::ItemStruct;

use crate::mistakes::{Mistakes, wrong_item};

/// The macro.
pub(crate) fn expand(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut item: ItemStruct = match syn::parse2(item.clone()) {
        Ok(item) => item,
        Err(error) => return wrong_item(item, "`#[forge::model]` stands on a struct with named fields", error),
    };
    let mut mistakes = Mistakes::default();
    let model = read::read(args, &mut item, &mut mistakes);
    let expansion = match model {
        Some(model) => expand::expand(&item, &model, mistakes.is_empty()),
        None => quote!(#item),
    };
    let mistakes = mistakes.into_tokens();
    quote!(#mistakes #expansion)
}
