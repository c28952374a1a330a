//! What a job becomes.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{ItemFn, LitStr};

use super::keys::{Concurrency, Key, Options, RateLimit};
use crate::handler::Kind;
use crate::handler::arguments::Arguments;
use crate::handler::keys::field_ident;
use crate::handler::signature::Signature;
use crate::handler::written::{self, duration};
use crate::spans::at;

/// The unit type, the input and the implementations. When something was wrong (`sound` is false), all names exist, so that nothing
/// else is reported as missing, but nothing is called.
pub(super) fn expand(
    function: &ItemFn,
    signature: &Signature,
    arguments: &Arguments<'_>,
    options: &Options,
    doc: &str,
    sound: bool,
) -> TokenStream {
    let ident = &function.sig.ident;
    let unit_type = written::unit_type(Kind::Job, function, &options.name);
    let definition = arguments.definition(function);
    let input = arguments.ty();
    // The compiler's word about a type of another crate, or of another job, is about the parameter.
    let place = match arguments {
        Arguments::Own(field) => at(&field.ty),
        _ => at(ident),
    };
    let is_input = quote_spanned! {place=>
        #[automatically_derived]
        impl ::forge::__rt::job::JobInput for #input {
            type Job = #ident;
        }
    };
    let info = info(options, doc);
    let keys = sound.then(|| keys(options));
    let output = &signature.output;
    let output = quote_spanned!(at(&output)=> <#output as ::forge::__rt::IntoResult>::Output);
    let inner = written::inner(function, sound);
    let boxed = written::call(function, arguments, sound);
    let registration = written::registration(Kind::Job, function, sound && options.register);

    quote! {
        #unit_type

        #definition

        #[allow(deprecated)]
        const _: () = {
            #inner

            #[automatically_derived]
            impl ::forge::__rt::job::Job for #ident {
                type Input = #input;
                type Output = #output;
                const INFO: ::forge::__rt::job::JobInfo = #info;

                #keys
            }

            #is_input

            #[automatically_derived]
            impl ::forge::__rt::job::ForgeJob<::forge::__rt::JobContext> for #ident {
                #[allow(unused_variables)]
                fn execute(
                    ctx: &::forge::__rt::JobContext,
                    args: <Self as ::forge::__rt::job::Job>::Input,
                ) -> ::forge::__rt::BoxFuture<'_, ::forge::__rt::Result<<Self as ::forge::__rt::job::Job>::Output>> {
                    #boxed
                }
            }

            #registration
        };
    }
}

fn info(options: &Options, doc: &str) -> TokenStream {
    let name = &options.name;
    let work = options.work.fields();
    let idempotent = options.idempotent.is_some();
    let concurrency = match &options.concurrency {
        Some(Concurrency { limit, key }) => {
            let key = !key.is_empty();
            quote!(::core::option::Option::Some(::forge::__rt::job::Concurrency { limit: #limit, key: #key }))
        }
        None => quote!(::core::option::Option::None),
    };
    let rate_limit = match &options.rate_limit {
        Some(RateLimit { count, per_ms }) => {
            let per = duration(*per_ms);
            quote!(::core::option::Option::Some(::forge::__rt::job::RateLimit { count: #count, per: #per }))
        }
        None => quote!(::core::option::Option::None),
    };
    let kept = |ms: Option<u64>| ms.map_or(quote!(::forge::__rt::job::DEFAULT_RETAIN), duration);
    let retain = kept(options.retain_ms);
    let dead_letter_retain = kept(options.dead_letter_retain_ms);
    let track = if options.roles.is_empty() {
        quote!(::forge::__rt::job::JobInfo::NOBODY)
    } else {
        let roles = &options.roles;
        quote!(::forge::__rt::Access::AnyRole(&[#(#roles),*]))
    };
    let place = written::place();
    quote! {
        ::forge::__rt::job::JobInfo {
            name: #name,
            doc: #doc,
            #work
            idempotent: #idempotent,
            concurrency: #concurrency,
            rate_limit: #rate_limit,
            retain: #retain,
            dead_letter_retain: #dead_letter_retain,
            track: #track,
            #place
        }
    }
}

/// The functions that make keys of an input.
fn keys(options: &Options) -> TokenStream {
    let idempotency = options.idempotent.as_ref().map(|key| {
        let key = match key {
            Key::Whole => quote!(::forge::__rt::job::whole(input)),
            Key::Fields(fields) => key_of(fields),
        };
        key_function("idempotency_key", &key)
    });
    let concurrency = options.concurrency.as_ref().filter(|concurrency| !concurrency.key.is_empty());
    let concurrency = concurrency.map(|concurrency| key_function("concurrency_key", &key_of(&concurrency.key)));
    quote!(#idempotency #concurrency)
}

fn key_of(fields: &[LitStr]) -> TokenStream {
    let parts = fields.iter().map(|text| {
        let field = field_ident(text);
        quote_spanned!(at(&text)=> ::forge::__rt::job::part(&input.#field))
    });
    quote!(::forge::__rt::job::key(&[#(#parts),*]))
}

fn key_function(name: &str, key: &TokenStream) -> TokenStream {
    let name = quote::format_ident!("{name}");
    quote! {
        fn #name(input: &Self::Input) -> ::core::option::Option<::std::string::String> {
            #key
        }
    }
}
