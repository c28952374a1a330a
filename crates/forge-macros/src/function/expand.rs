//! What a function becomes.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::ItemFn;

use super::Kind;
use super::keys::{Cache, Options, Tracking};
use crate::handler::arguments::Arguments;
use crate::handler::keys::Access;
use crate::handler::signature::Signature;
use crate::handler::written;
use crate::spans::at;

/// The unit type, the arguments and the implementations. When something was wrong (`sound` is false), all names exist, so that
/// nothing else is reported as missing, but nothing is called.
pub(super) fn expand(
    kind: Kind,
    function: &ItemFn,
    signature: &Signature,
    options: &Options,
    doc: &str,
    sound: bool,
) -> TokenStream {
    let ident = &function.sig.ident;
    let unit_type = written::unit_type(kind.handler(), function, &options.name);
    let arguments = Arguments::of_function(function, signature);
    let definition = arguments.definition(function);
    let args = arguments.ty();
    let info = info(kind, options, doc);
    let output = &signature.output;
    let output = quote_spanned!(at(&output)=> <#output as ::forge::__rt::IntoResult>::Output);
    let context = format_ident!("{}", kind.handler().context());
    let kind_trait = match kind {
        Kind::Query => quote!(ForgeQuery),
        Kind::Mutation => quote!(ForgeMutation),
        Kind::Action => quote!(ForgeAction),
    };
    let inner = written::inner(function, sound);
    let boxed = written::call(function, &arguments, sound);
    let registration = written::registration(kind.handler(), function, sound && options.register);

    quote! {
        #unit_type

        #definition

        #[allow(deprecated)]
        const _: () = {
            #inner

            #[automatically_derived]
            impl ::forge::__rt::Function for #ident {
                type Args = #args;
                type Output = #output;
                const INFO: ::forge::__rt::FunctionInfo = #info;
            }

            #[automatically_derived]
            impl ::forge::__rt::#kind_trait<::forge::__rt::#context> for #ident {
                #[allow(unused_variables)]
                fn execute(
                    ctx: &::forge::__rt::#context,
                    args: <Self as ::forge::__rt::Function>::Args,
                ) -> ::forge::__rt::BoxFuture<'_, ::forge::__rt::Result<<Self as ::forge::__rt::Function>::Output>> {
                    #boxed
                }
            }

            #registration
        };
    }
}

fn info(kind: Kind, options: &Options, doc: &str) -> TokenStream {
    let name = &options.name;
    let kind = match kind {
        Kind::Query => quote!(Query),
        Kind::Mutation => quote!(Mutation),
        Kind::Action => quote!(Action),
    };
    let access = match &options.access {
        Access::Public => quote!(Public),
        Access::SignedIn => quote!(SignedIn),
        Access::AnyRole(roles) => quote!(AnyRole(&[#(#roles),*])),
    };
    let timeout = written::optional_duration(options.timeout_ms);
    let refresh_every = written::optional_duration(options.refresh_every_ms);
    let min_interval = written::optional_duration(options.min_interval_ms);
    let place = written::place();
    let tracking = match options.tracking {
        Tracking::Auto => quote!(Auto),
        Tracking::Table => quote!(Table),
        Tracking::None => quote!(None),
    };
    let isolation = if options.read_committed { quote!(ReadCommitted) } else { quote!(Serializable) };
    let snapshot = options.snapshot;
    let cache = match &options.cache {
        Some(Cache { ttl_ms, follow }) => quote!(::core::option::Option::Some(::forge::__rt::CachePolicy {
            ttl: ::core::time::Duration::from_millis(#ttl_ms),
            follow: #follow,
        })),
        None => quote!(::core::option::Option::None),
    };
    quote! {
        ::forge::__rt::FunctionInfo {
            name: #name,
            kind: ::forge::__rt::FunctionKind::#kind,
            doc: #doc,
            access: ::forge::__rt::Access::#access,
            timeout: #timeout,
            isolation: ::forge::__rt::Isolation::#isolation,
            snapshot: #snapshot,
            refresh_every: #refresh_every,
            min_interval: #min_interval,
            tracking: ::forge::__rt::TrackingMode::#tracking,
            cache: #cache,
            #place
        }
    }
}
