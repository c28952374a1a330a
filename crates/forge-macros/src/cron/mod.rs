//! `#[forge::cron]`.
//!
//! A function becomes a unit type of the same name that implements `Cron` (when it is due and what it demands) and `ForgeCron` (how
//! it runs). What is said about the time is checked here, by the code that reads it when the app starts.

mod expand;
#[path = "../../../forge-core/src/cron/expression/mod.rs"]
#[allow(unreachable_pub)]
mod expression;
mod keys;

use proc_macro2::TokenStream;
use quote::quote;

use crate::attrs::docs;
use crate::handler::{Kind, signature};
use crate::mistakes::Mistakes;

/// The macro.
pub(crate) fn expand(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut function = match Kind::Cron.function(item) {
        Ok(function) => function,
        Err(answer) => return answer,
    };
    let mut mistakes = Mistakes::default();
    let name = function.sig.ident.clone();
    let options = keys::read(args, &mut function.attrs, &name, &mut mistakes);
    let signature = signature::read(Kind::Cron, &mut function, &mut mistakes);
    let doc = docs(&function.attrs);
    let expansion = match signature {
        Some(_) => expand::expand(&function, &options, &doc, mistakes.is_empty()),
        // What does not look like a cron is left as it is.
        None => quote!(#[allow(unused_variables, dead_code)] #function),
    };
    let mistakes = mistakes.into_tokens();
    quote!(#mistakes #expansion)
}
