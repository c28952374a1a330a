//! The parts of an expansion that are the same for every kind of function.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::ItemFn;

use super::Kind;
use super::arguments::Arguments;
use crate::attrs::doc_attrs;
use crate::spans::at;

/// The unit type that the function's name becomes, documented as the function was.
pub(crate) fn unit_type(kind: Kind, function: &ItemFn, name: &str) -> TokenStream {
    let (ident, vis) = (&function.sig.ident, &function.vis);
    let docs = doc_attrs(&function.attrs);
    let deprecated = function.attrs.iter().filter(|attr| attr.path().is_ident("deprecated"));
    let undocumented = docs.is_empty().then(|| {
        let text = format!("The {} `{name}`.", kind.word());
        quote!(#[doc = #text])
    });
    quote! {
        #(#docs)*
        #undocumented
        #(#deprecated)*
        #[derive(Debug, Clone, Copy)]
        #[allow(non_camel_case_types, dead_code)]
        #vis struct #ident;
    }
}

/// The function as it was written, for the block beside its unit type.
pub(crate) fn inner(function: &ItemFn, sound: bool) -> TokenStream {
    let mut inner = function.clone();
    inner.attrs.retain(|attr| !attr.path().is_ident("doc") && !attr.path().is_ident("deprecated"));
    inner.vis = syn::Visibility::Inherited;
    let unused = (!sound).then(|| quote!(#[allow(dead_code, unused_variables)]));
    quote! {
        // What we ask for: an `async fn` with owned arguments.
        #[allow(clippy::unused_async, clippy::needless_pass_by_value)]
        #unused
        #inner
    }
}

/// The boxed call of the function, with `ctx` and `args` in scope. When something was wrong (`sound` is false), nothing is called.
pub(crate) fn call(function: &ItemFn, arguments: &Arguments<'_>, sound: bool) -> TokenStream {
    let ident = &function.sig.ident;
    let body = if sound {
        let values = arguments.values();
        let call = quote_spanned!(at(&ident)=> #ident(ctx, #(#values),*).await);
        quote!(::forge::__rt::IntoResult::into_result(#call))
    } else {
        quote!(::core::unimplemented!())
    };
    quote_spanned!(at(&ident)=> ::std::boxed::Box::pin(async move { #body }))
}

/// What the function contributes to an app, and that it is contributed when it is linked.
pub(crate) fn registration(kind: Kind, function: &ItemFn, register: bool) -> TokenStream {
    let ident = &function.sig.ident;
    let item = quote::format_ident!("{}", kind.word());
    let submit = register.then(|| {
        quote! {
            ::forge::__rt::inventory::submit! {
                <#ident as ::forge::__rt::Registered>::REGISTRATION
            }
        }
    });
    quote! {
        #[automatically_derived]
        impl ::forge::__rt::Registered for #ident {
            const REGISTRATION: ::forge::__rt::Registration =
                ::forge::__rt::Registration::#item::<#ident>(::core::env!("CARGO_PKG_NAME"));
        }

        #submit
    }
}

/// `Some(Duration)` or `None`.
pub(crate) fn optional_duration(ms: Option<u64>) -> TokenStream {
    match ms {
        Some(ms) => {
            let duration = duration(ms);
            quote!(::core::option::Option::Some(#duration))
        }
        None => quote!(::core::option::Option::None),
    }
}

/// A `Duration`.
pub(crate) fn duration(ms: u64) -> TokenStream {
    quote!(::core::time::Duration::from_millis(#ms))
}

/// Where the function stands: the last fields of its description.
pub(crate) fn place() -> TokenStream {
    quote! {
        module: ::core::module_path!(),
        file: ::core::file!(),
        line: ::core::line!(),
    }
}
