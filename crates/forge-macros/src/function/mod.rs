//! `#[forge::query]`, `#[forge::mutation]` and `#[forge::action]`.
//!
//! A function becomes a unit type of the same name that implements `Function` (what it is called, takes, returns and demands)
//! and the trait of its kind (how it runs), plus a type for its arguments. The function itself stays as it was written,
//! in a block of its own beside them.

mod expand;
mod keys;

use proc_macro2::TokenStream;
use quote::quote;

use crate::attrs::docs;
use crate::handler::{self, signature};
use crate::mistakes::Mistakes;

/// The three kinds of function.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Query,
    Mutation,
    Action,
}

impl Kind {
    fn handler(self) -> handler::Kind {
        match self {
            Self::Query => handler::Kind::Query,
            Self::Mutation => handler::Kind::Mutation,
            Self::Action => handler::Kind::Action,
        }
    }
}

/// The macro.
pub(crate) fn expand(kind: Kind, args: TokenStream, item: TokenStream) -> TokenStream {
    let mut function = match kind.handler().function(item) {
        Ok(function) => function,
        Err(answer) => return answer,
    };
    let mut mistakes = Mistakes::default();
    let name = function.sig.ident.clone();
    let options = keys::read(kind, args, &mut function.attrs, &name, &mut mistakes);
    let signature = signature::read(kind.handler(), &mut function, &mut mistakes);
    let doc = docs(&function.attrs);
    let sound = mistakes.is_empty();
    let expansion = match signature {
        Some(signature) => expand::expand(kind, &function, &signature, &options, &doc, sound),
        // Without knowing its arguments there is nothing to build but the function as it is.
        None => quote!(#[allow(unused_variables, dead_code)] #function),
    };
    let mistakes = mistakes.into_tokens();
    quote!(#mistakes #expansion)
}
