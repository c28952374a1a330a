//! `#[forge::test]`: a test with an app and a database of its own.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{FnArg, ItemFn};

use crate::attrs::refuse_generics;
use crate::keys::Grammar;
use crate::mistakes::{Mistakes, wrong_item};

const GRAMMAR: Grammar = Grammar { attribute: "#[forge::test]", accepted: &[], planned: &[] };
const DRAWING: &str = "the signature of a test:\n\n    async fn adding_a_card(app: TestApp) -> Result<()>\n";

/// The macro.
pub(crate) fn expand(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut function: ItemFn = match syn::parse2(item.clone()) {
        Ok(function) => function,
        Err(error) => return wrong_item(item, "`#[forge::test]` stands on an `async fn`", error),
    };
    let mut mistakes = Mistakes::default();
    let _ = GRAMMAR.read(args, &mut mistakes);
    let signature = &function.sig;
    if signature.asyncness.is_none() {
        mistakes.add(signature.fn_token, format!("a test of an app is an `async fn`\n{DRAWING}"));
    }
    refuse_generics(&signature.generics, "a test", &mut mistakes);
    for extra in signature.inputs.iter().skip(1) {
        mistakes.add(extra, format!("a test is given one thing, the app\n{DRAWING}"));
    }
    if let Some(FnArg::Receiver(receiver)) = signature.inputs.first() {
        mistakes.add(receiver, format!("a test is a plain function, not a method\n{DRAWING}"));
    }
    for attr in function.attrs.iter().filter(|attr| attr.path().is_ident("test")) {
        mistakes.add(attr, "`#[forge::test]` makes it a test already: leave `#[test]` out");
    }
    if !mistakes.is_empty() {
        let mistakes = mistakes.into_tokens();
        return quote!(#mistakes #[allow(dead_code)] #function);
    }

    let attrs = std::mem::take(&mut function.attrs);
    let vis = std::mem::replace(&mut function.vis, syn::Visibility::Inherited);
    let name = &function.sig.ident;
    let argument = (!function.sig.inputs.is_empty()).then(|| quote!(app));
    let parameter = if argument.is_some() { quote!(app) } else { quote!(_app) };
    quote! {
        #[::core::prelude::v1::test]
        #(#attrs)*
        #vis fn #name() {
            #[allow(clippy::unused_async, clippy::needless_pass_by_value)]
            #function
            ::forge::__rt::testing::run(
                ::core::concat!(::core::module_path!(), "::", ::core::stringify!(#name)),
                async |#parameter: ::forge::__rt::testing::TestApp| #name(#argument).await,
            )
        }
    }
}
