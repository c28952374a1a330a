//! Where generated code says it stands.

use proc_macro2::Span;
use syn::spanned::Spanned;

/// The place of the user's tokens, for code of ours that the compiler should underline there. Names in it mean what they mean
/// in the rest of our code, also when the user's tokens come out of a `macro_rules!` macro.
pub(crate) fn at(tokens: &impl Spanned) -> Span {
    tokens.span().resolved_at(Span::call_site())
}
