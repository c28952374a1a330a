//! Collects every mistake in one use of a macro, so that all of them are shown at once.

use std::fmt::Display;

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};

/// For an attribute on an item of another kind. The item stays as it is: the compiler may have more to say about it, and an
/// editor calls us while it is being typed.
pub(crate) fn wrong_item(item: TokenStream, wanted: &str, error: syn::Error) -> TokenStream {
    let is_item = syn::parse2::<syn::Item>(item.clone()).is_ok();
    let error = if is_item { syn::Error::new_spanned(&item, wanted) } else { error };
    let error = error.to_compile_error();
    quote!(#error #item)
}

/// The mistakes found so far, each with the tokens it is about.
#[derive(Default)]
#[must_use]
pub(crate) struct Mistakes {
    found: Vec<syn::Error>,
}

impl Mistakes {
    /// Notes a mistake; the compiler underlines `at`.
    pub(crate) fn add(&mut self, at: impl ToTokens, message: impl Display) {
        self.found.push(syn::Error::new_spanned(at, message));
    }

    /// Notes what a parser said.
    pub(crate) fn add_error(&mut self, error: syn::Error) {
        self.found.push(error);
    }

    /// Whether nothing is wrong so far.
    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// One `compile_error!` per mistake; nothing when there is none. Right wherever items or statements may stand.
    pub(crate) fn into_tokens(self) -> TokenStream {
        self.found.iter().map(syn::Error::to_compile_error).collect()
    }

    /// The sentences, for tests.
    #[cfg(test)]
    pub(crate) fn sentences(&self) -> Vec<String> {
        self.found.iter().map(ToString::to_string).collect()
    }
}
