//! `#[forge::query]`, `#[forge::mutation]` and `#[forge::action]`.
//!
//! A function becomes a unit type of the same name that implements `Function` (what it is called, takes, returns and demands)
//! and the trait of its kind (how it runs), plus a type for its arguments. The function itself stays as it was written,
//! in a block of its own beside them.

mod expand;
mod keys;
mod signature;

use proc_macro2::TokenStream;
use quote::quote;
use syn::ItemFn;

use crate::attrs::docs;
use crate::mistakes::{Mistakes, wrong_item};

/// The three kinds of function.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Query,
    Mutation,
    Action,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Mutation => "mutation",
            Self::Action => "action",
        }
    }

    fn phrase(self) -> &'static str {
        match self {
            Self::Query => "a query",
            Self::Mutation => "a mutation",
            Self::Action => "an action",
        }
    }

    fn context(self) -> &'static str {
        match self {
            Self::Query => "QueryContext",
            Self::Mutation => "MutationContext",
            Self::Action => "ActionContext",
        }
    }

    fn of_context(context: &str) -> Option<Self> {
        [Self::Query, Self::Mutation, Self::Action].into_iter().find(|kind| kind.context() == context)
    }
}

/// The macro.
pub(crate) fn expand(kind: Kind, args: TokenStream, item: TokenStream) -> TokenStream {
    let mut function: ItemFn = match syn::parse2(item.clone()) {
        Ok(function) => function,
        Err(error) => {
            let wanted = format!("`#[forge::{}]` stands on an `async fn`, and this is none", kind.word());
            return wrong_item(item, &wanted, error);
        }
    };
    let mut mistakes = Mistakes::default();
    let name = function.sig.ident.clone();
    let options = keys::read(kind, args, &mut function.attrs, &name, &mut mistakes);
    let signature = signature::read(kind, &mut function, &mut mistakes);
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
