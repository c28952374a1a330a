//! `#[forge::model]`: a struct that is a row of a table.

mod expand;
mod read;

use proc_macro2::TokenStream;
use quote::quote;
use syn::ItemStruct;

use crate::mistakes::Mistakes;

/// The macro.
pub(crate) fn expand(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut item: ItemStruct = match syn::parse2(item.clone()) {
        Ok(item) => item,
        Err(error) => {
            let is_other_item = syn::parse2::<syn::Item>(item.clone()).is_ok();
            let error = if is_other_item {
                syn::Error::new_spanned(&item, "`#[forge::model]` stands on a struct with named fields")
            } else {
                error
            };
            let error = error.to_compile_error();
            let item = is_other_item.then_some(item);
            return quote!(#error #item);
        }
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
