//! Attributes that are planned and not built: they say so, instead of "cannot find attribute".

use proc_macro2::{Span, TokenStream};
use quote::quote;

/// The item as it is, and a word about the attribute.
pub(crate) fn expand(attribute: &str, item: TokenStream) -> TokenStream {
    let error =
        syn::Error::new(Span::call_site(), format!("`#[forge::{attribute}]` is not available yet")).to_compile_error();
    quote!(#error #item)
}
