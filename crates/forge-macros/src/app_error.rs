//! `#[derive(AppError)]`: the errors of an app's own, with a code that clients match on.

use heck::{ToShoutySnakeCase, ToSnakeCase};
use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Fields, LitStr, Meta, Type, Variant};

use crate::attrs::refuse_generics;
use crate::keys::{Grammar, inner};
use crate::mistakes::Mistakes;
use crate::names::{did_you_mean, list, plain, wire_name};
use crate::spans::at;

const GRAMMAR: Grammar = Grammar { attribute: "#[error(..)]", accepted: &["code", "status", "message"], planned: &[] };
const EXAMPLE: &str = "#[error(code = \"COLUMN_FULL\", status = 409)]";

/// The codes of FORGE itself. A client could not tell whose error it was.
const RESERVED: &[&str] = &[
    "INVALID_ARGUMENT",
    "VALIDATION_ERROR",
    "UNAUTHORIZED",
    "FORBIDDEN",
    "NOT_FOUND",
    "CONFLICT",
    "PAYLOAD_TOO_LARGE",
    "RATE_LIMITED",
    "CANCELLED",
    "TIMEOUT",
    "DATABASE_UNAVAILABLE",
    "OUTCOME_UNKNOWN",
    "DATABASE_ERROR",
    "CONFIG_ERROR",
    "APP_ERROR",
    "INTERNAL_ERROR",
];

/// The status of an error that does not say: the request cannot be served as it is.
const DEFAULT_STATUS: u16 = 400;

struct Case {
    ident: Ident,
    code: String,
    status: u16,
    message: LitStr,
    fields: Vec<(Ident, Type)>,
}

/// The macro.
pub(crate) fn expand(item: TokenStream) -> TokenStream {
    let item: DeriveInput = match syn::parse2(item) {
        Ok(item) => item,
        Err(error) => return error.to_compile_error(),
    };
    let mut mistakes = Mistakes::default();
    refuse_generics(&item.generics, "an error of the app", &mut mistakes);
    let mut cases: Vec<Case> = Vec::new();
    match &item.data {
        Data::Enum(data) => {
            if data.variants.is_empty() {
                mistakes.add(&item.ident, "an enum without variants has no errors");
            }
            for variant in &data.variants {
                if let Some(case) = read_case(variant, &cases, &mut mistakes) {
                    cases.push(case);
                }
            }
        }
        _ => mistakes.add(&item.ident, "`AppError` is derived for an enum: one variant for each error"),
    }
    let mistakes = mistakes.into_tokens();
    let implementation = implement(&item.ident, &cases);
    // With a mistake in a variant the match would not be complete, which would only be noise.
    if mistakes.is_empty() { implementation } else { mistakes }
}

fn read_case(variant: &Variant, earlier: &[Case], mistakes: &mut Mistakes) -> Option<Case> {
    let fields = match &variant.fields {
        Fields::Unit => Vec::new(),
        Fields::Named(named) => {
            named.named.iter().filter_map(|field| Some((field.ident.clone()?, field.ty.clone()))).collect()
        }
        Fields::Unnamed(fields) => {
            let ident = &variant.ident;
            mistakes.add(
                fields,
                format!(
                    "the fields of an error have names, which clients see in its details: write `{ident} {{ name: Type }}`"
                ),
            );
            return None;
        }
    };
    let mut attrs = variant.attrs.iter().filter(|attr| attr.path().is_ident("error"));
    let attr = attrs.next();
    for second in attrs {
        mistakes.add(second, "one `#[error(..)]` is enough");
    }
    let mut keys = GRAMMAR.read(attr.and_then(|attr| tokens(attr, mistakes)).unwrap_or_default(), mistakes);

    let written = keys.text("code", "COLUMN_FULL", mistakes);
    let code = written.as_ref().map_or_else(|| plain(&variant.ident).to_shouty_snake_case(), LitStr::value);
    let place = written.as_ref().map_or(variant.ident.span(), Spanned::span);
    let mut refuse = |why: String| mistakes.add_error(syn::Error::new(place, why));
    if !is_code(&code) {
        refuse(format!("`{code}` is not a code: write it like `{}`", plain(&variant.ident).to_shouty_snake_case()));
    } else if RESERVED.contains(&code.as_str()) {
        refuse(format!(
            "`{code}` is a code of FORGE itself, so that a client could not tell the two apart: choose another"
        ));
    } else if earlier.iter().any(|case| case.code == code) {
        refuse(format!("two errors have the code `{code}`"));
    }

    let status = match keys.integer("status", "409", mistakes) {
        None => DEFAULT_STATUS,
        Some(number) => match number.base10_parse::<u16>() {
            Ok(status @ 400..=599) => status,
            _ => {
                mistakes.add(&number, "the status of an error is from 400 to 599");
                DEFAULT_STATUS
            }
        },
    };

    let message = keys
        .text("message", "the column is full", mistakes)
        .unwrap_or_else(|| LitStr::new(&plain(&variant.ident).to_snake_case().replace('_', " "), variant.ident.span()));
    check_message(&message, &fields, mistakes);
    Some(Case { ident: variant.ident.clone(), code, status, message, fields })
}

fn tokens(attr: &Attribute, mistakes: &mut Mistakes) -> Option<TokenStream> {
    match &attr.meta {
        meta @ Meta::List(_) => inner(meta, EXAMPLE, mistakes),
        other => {
            mistakes.add(other, format!("write it like `{EXAMPLE}`"));
            None
        }
    }
}

fn is_code(code: &str) -> bool {
    code.starts_with(|c: char| c.is_ascii_uppercase())
        && code.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        && !code.ends_with('_')
}

/// The names in `{..}` must be fields; how they are formatted is the compiler's to judge.
fn check_message(message: &LitStr, fields: &[(Ident, Type)], mistakes: &mut Mistakes) {
    let text = message.value().replace("{{", "").replace("}}", "");
    let names: Vec<String> = fields.iter().map(|(ident, _)| plain(ident)).collect();
    let known = || names.iter().map(String::as_str);
    for part in text.split('{').skip(1) {
        let Some((inner, _)) = part.split_once('}') else {
            mistakes.add(message, "a `{` is not closed: a field is written `{name}`, a brace `{{`");
            return;
        };
        let name = inner.split(':').next().unwrap_or_default().trim();
        if !names.iter().any(|known| known == name) {
            let fields = if names.is_empty() {
                "this error has no fields".into()
            } else {
                format!("the fields are {}", list(known()))
            };
            mistakes.add(message, format!("there is no field `{name}`{}\n{fields}", did_you_mean(name, known())));
        }
    }
}

fn implement(ident: &Ident, cases: &[Case]) -> TokenStream {
    let displays = cases.iter().map(|case| {
        let (variant, message) = (&case.ident, &case.message);
        let fields = case.fields.iter().map(|(ident, _)| ident);
        quote!(Self::#variant { #(#fields),* } => ::core::write!(f, #message))
    });
    let conversions = cases.iter().map(|case| {
        let Case { ident: variant, code, status, .. } = case;
        let places: Vec<_> = (0..case.fields.len()).map(|index| quote::format_ident!("field_{index}")).collect();
        let names = case.fields.iter().map(|(ident, _)| ident);
        let inserts = case.fields.iter().zip(&places).map(|((name, ty), place)| {
            let name = wire_name(name);
            let write = quote_spanned!(at(&ty)=>
                <#ty as ::forge::__rt::wire::WireType>::wire_serialize(&#place, ::forge::__rt::serde_json::value::Serializer)
            );
            quote! {
                match #write {
                    ::core::result::Result::Ok(value) => {
                        details.insert(::std::string::String::from(#name), value);
                    }
                    ::core::result::Result::Err(why) => {
                        return ::forge::__rt::Error::internal(
                            ::core::concat!("the field `", #name, "` of the error ", #code, " could not be written as JSON"),
                        )
                        .with_source(why);
                    }
                }
            }
        });
        let result = quote!(::forge::__rt::Error::app(#code, #status, message));
        let body = if case.fields.is_empty() {
            result
        } else {
            quote! {
                let mut details = ::forge::__rt::serde_json::Map::new();
                #(#inserts)*
                #result.with_details(::forge::__rt::serde_json::Value::Object(details))
            }
        };
        quote!(#ident::#variant { #(#names: #places),* } => { #body })
    });
    quote! {
        #[automatically_derived]
        #[allow(unused_variables)]
        impl ::core::fmt::Display for #ident {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                match self { #(#displays),* }
            }
        }

        #[automatically_derived]
        impl ::std::error::Error for #ident {}

        #[automatically_derived]
        impl ::core::convert::From<#ident> for ::forge::__rt::Error {
            fn from(error: #ident) -> Self {
                let message = ::std::string::ToString::to_string(&error);
                match error { #(#conversions)* }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    fn mistakes_of(variant: Variant) -> Vec<String> {
        let mut mistakes = Mistakes::default();
        read_case(&variant, &[], &mut mistakes);
        mistakes.sentences()
    }

    #[test]
    fn mistakes_are_explained() {
        let cases: [(Variant, &str); 9] = [
            (
                parse_quote!(
                    #[error(code = "NOT_FOUND")]
                    A
                ),
                "is a code of FORGE itself",
            ),
            (parse_quote!(NotFound), "is a code of FORGE itself"),
            (
                parse_quote!(
                    #[error(code = "column full")]
                    ColumnFull
                ),
                "write it like `COLUMN_FULL`",
            ),
            (
                parse_quote!(
                    #[error(status = 200)]
                    A
                ),
                "from 400 to 599",
            ),
            (
                parse_quote!(
                    #[error(statsu = 409)]
                    A
                ),
                "did you mean `status`?",
            ),
            (
                parse_quote!(
                    #[error(message = "{limt}")]
                    A { limit: u32 }
                ),
                "did you mean `limit`?",
            ),
            (
                parse_quote!(
                    #[error(message = "{}")]
                    A { limit: u32 }
                ),
                "the fields are `limit`",
            ),
            (parse_quote!(A(u32)), "have names"),
            (
                parse_quote!(
                    #[error = "x"]
                    A
                ),
                "write it like",
            ),
        ];
        for (variant, expected) in cases {
            let sentences = mistakes_of(variant);
            assert!(sentences.len() == 1 && sentences[0].contains(expected), "{sentences:?}");
        }
    }

    #[test]
    fn all_codes_of_forge_are_reserved() {
        // The list is repeated here so that a macro need not build the vocabulary crate first.
        let source = include_str!("../../forge-core/src/error.rs");
        let start = source.find("pub const fn code(self)").unwrap();
        let body = &source[start..start + source[start..].find("pub const fn http_status").unwrap()];
        let codes: Vec<&str> = body.split('"').skip(1).step_by(2).collect();
        assert!(codes.len() > 10);
        for code in codes {
            assert!(RESERVED.contains(&code), "{code}");
        }
    }

    #[test]
    fn defaults_come_from_the_name() {
        let mut mistakes = Mistakes::default();
        let case = read_case(&parse_quote!(ColumnFull { limit: u32 }), &[], &mut mistakes).unwrap();
        assert_eq!((case.code.as_str(), case.status, case.message.value().as_str()), ("COLUMN_FULL", 400, "column full"));
        assert!(mistakes.is_empty());
    }
}
