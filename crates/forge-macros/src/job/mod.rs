//! `#[forge::job]`.
//!
//! A function becomes a unit type of the same name that implements `Job` (what it is called, takes, returns and demands) and
//! `ForgeJob` (how it runs). Its input implements `JobInput`, so that an input alone says which job is dispatched.

mod expand;
mod keys;

use proc_macro2::TokenStream;
use quote::quote;

use crate::attrs::docs;
use crate::handler::arguments::Arguments;
use crate::handler::{Kind, signature};
use crate::mistakes::Mistakes;

/// The macro.
pub(crate) fn expand(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut function = match Kind::Job.function(item) {
        Ok(function) => function,
        Err(answer) => return answer,
    };
    let mut mistakes = Mistakes::default();
    let name = function.sig.ident.clone();
    let options = keys::read(args, &mut function.attrs, &name, &mut mistakes);
    let signature = signature::read(Kind::Job, &mut function, &mut mistakes);
    let doc = docs(&function.attrs);
    let expansion = match signature {
        Some(signature) => {
            let arguments = Arguments::of_job(&function, &signature);
            options.check_fields(&arguments, &mut mistakes);
            expand::expand(&function, &signature, &arguments, &options, &doc, mistakes.is_empty())
        }
        // Without knowing its input there is nothing to build but the function as it is.
        None => quote!(#[allow(unused_variables, dead_code)] #function),
    };
    let mistakes = mistakes.into_tokens();
    quote!(#mistakes #expansion)
}
