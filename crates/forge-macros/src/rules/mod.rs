//! `#[validate(..)]`: the rules of a field.

mod read;

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{LitStr, Path};

pub(crate) use read::take;

use crate::spans::at;

/// One rule, where it was written.
#[derive(Clone)]
pub(crate) struct Rule {
    span: Span,
    kind: RuleKind,
}

#[derive(Clone)]
enum RuleKind {
    Length { min: Option<usize>, max: Option<usize> },
    Range { min: Option<Bound>, max: Option<Bound> },
    Email,
    Url,
    Pattern(LitStr),
    Custom(Path),
}

/// A bound of a range: its text for the manifest, its value in the field's own type.
#[derive(Clone)]
struct Bound {
    text: String,
    value: TokenStream,
}

impl Rule {
    /// The rule that `#[max_length = N]` stands for.
    pub(crate) fn max_length(max: usize, span: Span) -> Self {
        Self { span, kind: RuleKind::Length { min: None, max: Some(max) } }
    }

    /// For the manifest.
    pub(crate) fn definition(&self) -> TokenStream {
        let rule = quote!(::forge::__rt::validate::Rule);
        match &self.kind {
            RuleKind::Length { min, max } => {
                let (min, max) = (option(min.as_ref()), option(max.as_ref()));
                quote!(#rule::Length { min: #min, max: #max })
            }
            RuleKind::Range { min, max } => {
                let text = |bound: &Option<Bound>| {
                    let text = bound.as_ref().map(|bound| &bound.text);
                    option(text.map(|text| quote!(::std::string::String::from(#text))))
                };
                let (min, max) = (text(min), text(max));
                quote!(#rule::Range { min: #min, max: #max })
            }
            RuleKind::Email => quote!(#rule::Email),
            RuleKind::Url => quote!(#rule::Url),
            RuleKind::Pattern(regex) => quote!(#rule::Pattern { regex: ::std::string::String::from(#regex) }),
            RuleKind::Custom(path) => {
                let name = path.to_token_stream().to_string().replace(' ', "");
                quote!(#rule::Custom { name: ::std::string::String::from(#name) })
            }
        }
    }

    /// Checks `value` (a reference) and adds to `violations`. Underlines the rule where the field's type does not fit it.
    pub(crate) fn check(&self) -> TokenStream {
        let rt = quote!(::forge::__rt::validate);
        match &self.kind {
            RuleKind::Length { min, max } => {
                let (min, max) = (option(min.as_ref()), option(max.as_ref()));
                quote_spanned!(self.span=> #rt::length(value, #min, #max, violations);)
            }
            RuleKind::Range { min, max } => {
                let min = option(min.as_ref().map(|bound| &bound.value));
                let max = option(max.as_ref().map(|bound| &bound.value));
                quote_spanned!(self.span=> #rt::range(value, #min, #max, violations);)
            }
            RuleKind::Email => quote_spanned!(self.span=> #rt::email(value, violations);),
            RuleKind::Url => quote_spanned!(self.span=> #rt::url(value, violations);),
            RuleKind::Pattern(regex) => quote_spanned! {self.span=>
                static PATTERN: #rt::Pattern = #rt::Pattern::new(#regex);
                PATTERN.check(value, violations);
            },
            RuleKind::Custom(path) => quote_spanned! {at(&path)=>
                let outcome: ::core::result::Result<(), ::std::string::String> = #path(value);
                if let ::core::result::Result::Err(sentence) = outcome {
                    violations.add(sentence);
                }
            },
        }
    }
}

/// `Some(..)` or `None`, spelt out so that it means the same everywhere.
fn option(value: Option<impl ToTokens>) -> TokenStream {
    match value {
        Some(value) => quote!(::core::option::Option::Some(#value)),
        None => quote!(::core::option::Option::None),
    }
}
