//! What a cron becomes.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::ItemFn;

use super::keys::Options;
use crate::handler::Kind;
use crate::handler::arguments::Arguments;
use crate::handler::written;

/// The unit type and the implementations. When something was wrong (`sound` is false), all names exist, so that nothing else is
/// reported as missing, but nothing is called.
pub(super) fn expand(function: &ItemFn, options: &Options, doc: &str, sound: bool) -> TokenStream {
    let ident = &function.sig.ident;
    let unit_type = written::unit_type(Kind::Cron, function, &options.name);
    let info = info(options, doc);
    let inner = written::inner(function, sound);
    let boxed = written::call(function, &Arguments::None, sound);
    let registration = written::registration(Kind::Cron, function, sound && options.register);

    quote! {
        #unit_type

        #[allow(deprecated)]
        const _: () = {
            #inner

            #[automatically_derived]
            impl ::forge::__rt::cron::Cron for #ident {
                const INFO: ::forge::__rt::cron::CronInfo = #info;
            }

            #[automatically_derived]
            impl ::forge::__rt::cron::ForgeCron<::forge::__rt::CronContext> for #ident {
                #[allow(unused_variables)]
                fn execute(ctx: &::forge::__rt::CronContext) -> ::forge::__rt::BoxFuture<'_, ::forge::__rt::Result<()>> {
                    #boxed
                }
            }

            #registration
        };
    }
}

fn info(options: &Options, doc: &str) -> TokenStream {
    let Options { name, expression, catch_up, .. } = options;
    let timezone = match &options.timezone {
        Some(zone) => quote!(#zone),
        None => quote!(::forge::__rt::cron::DEFAULT_TIMEZONE),
    };
    let catch_up_limit = match options.catch_up_limit {
        Some(limit) => quote!(#limit),
        None => quote!(::forge::__rt::cron::DEFAULT_CATCH_UP_LIMIT),
    };
    let overlap = format_ident!("{}", options.overlap);
    let work = options.work.fields();
    let place = written::place();
    quote! {
        ::forge::__rt::cron::CronInfo {
            name: #name,
            doc: #doc,
            expression: #expression,
            timezone: #timezone,
            catch_up: #catch_up,
            catch_up_limit: #catch_up_limit,
            overlap: ::forge::__rt::cron::Overlap::#overlap,
            #work
            #place
        }
    }
}
