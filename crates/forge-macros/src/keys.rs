//! The keys of an attribute: `#[forge::query(timeout = "5s")]`, or the same below it as `#[timeout = "5s"]`.
//!
//! One grammar for all attributes. A key is a flag (`public`), a value (`timeout = "5s"`) or a list
//! (`length(min = 1)`). Unknown keys, keys that are planned but not built, and keys given twice are mistakes; nothing is
//! ever ignored.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use syn::parse::{ParseStream, Parser};
use syn::spanned::Spanned;
use syn::{Attribute, Expr, Lit, LitInt, LitStr, Meta, Token};

use crate::mistakes::Mistakes;
use crate::names::{did_you_mean, list};
use crate::types::string_literal;

/// What an attribute accepts.
pub(crate) struct Grammar {
    /// The attribute, as people write it: `#[forge::query]`.
    pub(crate) attribute: &'static str,
    /// The keys that work.
    pub(crate) accepted: &'static [&'static str],
    /// The keys that are planned: said so instead of "unknown".
    pub(crate) planned: &'static [&'static str],
}

/// The keys that were given; each is taken out by its reader.
pub(crate) struct Keys {
    found: Vec<Meta>,
}

/// The name of a key, or "" when it is a path.
fn name_of(meta: &Meta) -> String {
    meta.path().get_ident().map(ToString::to_string).unwrap_or_default()
}

impl Grammar {
    fn knows(&self, name: &str) -> bool {
        self.accepted.contains(&name) || self.planned.contains(&name)
    }

    /// Reads the keys in the parentheses of the attribute.
    pub(crate) fn read(&self, args: TokenStream, mistakes: &mut Mistakes) -> Keys {
        self.read_list(parse_list(args, mistakes), mistakes)
    }

    /// As [`read`](Self::read), of keys that were split before.
    pub(crate) fn read_list(&self, metas: Vec<Meta>, mistakes: &mut Mistakes) -> Keys {
        let mut keys = Keys { found: Vec::new() };
        for meta in metas {
            self.add(meta, &mut keys, mistakes);
        }
        keys
    }

    /// Reads the keys in the parentheses, then those that stand as attributes of their own below; the latter are removed.
    pub(crate) fn read_with_helpers(&self, args: TokenStream, attrs: &mut Vec<Attribute>, mistakes: &mut Mistakes) -> Keys {
        let mut keys = self.read(args, mistakes);
        self.take_helpers(attrs, &mut keys, mistakes);
        keys
    }

    /// Reads the keys that stand as attributes of their own, and removes those.
    pub(crate) fn read_helpers(&self, attrs: &mut Vec<Attribute>, mistakes: &mut Mistakes) -> Keys {
        let mut keys = Keys { found: Vec::new() };
        self.take_helpers(attrs, &mut keys, mistakes);
        keys
    }

    fn take_helpers(&self, attrs: &mut Vec<Attribute>, keys: &mut Keys, mistakes: &mut Mistakes) {
        attrs.retain(|attr| {
            let name = name_of(&attr.meta);
            if self.knows(&name) {
                self.add(attr.meta.clone(), keys, mistakes);
                return false;
            }
            // The compiler would only say that it cannot find the attribute.
            let near = crate::names::nearest(&name, self.accepted.iter().copied());
            if let Some(near) = near.filter(|_| !name.is_empty() && !FOREIGN.contains(&name.as_str())) {
                mistakes.add(attr.path(), format!("`#[{name}]` is not known here; did you mean `#[{near}]`?"));
                return false;
            }
            true
        });
    }

    fn add(&self, meta: Meta, keys: &mut Keys, mistakes: &mut Mistakes) {
        let name = name_of(&meta);
        if self.planned.contains(&name.as_str()) {
            mistakes.add(meta.path(), format!("`{name}` is not available yet"));
        } else if !self.accepted.contains(&name.as_str()) {
            let written = meta.path().to_token_stream().to_string().replace(' ', "");
            let hint = did_you_mean(&name, self.accepted.iter().copied());
            let accepted = match self.accepted {
                [] => "takes no keys".to_owned(),
                keys => format!("accepts {}", list(keys.iter().copied())),
            };
            mistakes.add(meta.path(), format!("`{written}` is not a key of `{}`{hint}\nit {accepted}", self.attribute));
        } else if keys.found.iter().any(|known| name_of(known) == name) {
            mistakes.add(meta.path(), format!("`{name}` is given twice"));
        } else {
            keys.found.push(meta);
        }
    }
}

/// Attributes of the language and of well-known crates: never taken for a slip of the pen.
const FOREIGN: &[&str] = &[
    "allow",
    "automatically_derived",
    "cfg",
    "cfg_attr",
    "cold",
    "deny",
    "deprecated",
    "derive",
    "doc",
    "error",
    "expect",
    "forbid",
    "from",
    "ignore",
    "inline",
    "instrument",
    "must_use",
    "non_exhaustive",
    "path",
    "repr",
    "serde",
    "should_panic",
    "source",
    "test",
    "track_caller",
    "tracing",
    "warn",
];

impl Keys {
    /// Whether a key was given, and was not taken out yet.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.found.iter().any(|meta| name_of(meta) == name)
    }

    /// Takes a key out.
    pub(crate) fn take(&mut self, name: &str) -> Option<Meta> {
        let index = self.found.iter().position(|meta| name_of(meta) == name)?;
        Some(self.found.remove(index))
    }

    /// A flag: there or not. Gives the place it stands at.
    pub(crate) fn flag(&mut self, name: &str, mistakes: &mut Mistakes) -> Option<Span> {
        let meta = self.take(name);
        self.flag_of(meta, name, mistakes)
    }

    /// As [`flag`](Self::flag), for a key that was taken out before.
    pub(crate) fn flag_of(&self, meta: Option<Meta>, name: &str, mistakes: &mut Mistakes) -> Option<Span> {
        let meta = meta?;
        if !matches!(meta, Meta::Path(_)) {
            mistakes.add(&meta, format!("`{name}` is a flag: write `{name}` alone, and leave it out to switch it off"));
        }
        Some(meta.path().span())
    }

    /// `true` or `false`.
    pub(crate) fn switch(&mut self, name: &str, mistakes: &mut Mistakes) -> Option<bool> {
        let meta = self.take(name)?;
        let switch = match &meta {
            Meta::NameValue(pair) => match &pair.value {
                Expr::Lit(literal) => match &literal.lit {
                    Lit::Bool(switch) => Some(switch.value),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        };
        if switch.is_none() {
            mistakes.add(&meta, format!("`{name}` takes `true` or `false`: write `{name} = false`"));
        }
        switch
    }

    /// A text.
    pub(crate) fn text(&mut self, name: &str, example: &str, mistakes: &mut Mistakes) -> Option<LitStr> {
        let meta = self.take(name)?;
        let text = match &meta {
            Meta::NameValue(pair) => string_literal(&pair.value).cloned(),
            _ => None,
        };
        if text.is_none() {
            mistakes.add(&meta, format!("`{name}` takes a text: write `{name} = \"{example}\"`"));
        }
        text
    }

    /// A text or a list of texts.
    pub(crate) fn texts(&mut self, name: &str, example: &str, mistakes: &mut Mistakes) -> Option<Vec<LitStr>> {
        let meta = self.take(name)?;
        let texts = match &meta {
            Meta::NameValue(pair) => match &pair.value {
                Expr::Array(array) => array.elems.iter().map(|item| string_literal(item).cloned()).collect(),
                single => string_literal(single).map(|text| vec![text.clone()]),
            },
            _ => None,
        };
        if texts.is_none() {
            mistakes.add(
                &meta,
                format!("`{name}` takes a text or a list of texts: write `{name} = \"{example}\"` or `{name} = [\"{example}\", ..]`"),
            );
        }
        texts
    }

    /// `true` or `false`, where the key alone means `true`.
    pub(crate) fn flag_or_switch(&mut self, name: &str, mistakes: &mut Mistakes) -> Option<bool> {
        if self.found.iter().any(|meta| name_of(meta) == name && matches!(meta, Meta::Path(_))) {
            return self.take(name).map(|_| true);
        }
        self.switch(name, mistakes)
    }

    /// A text or a whole number, as text, and where it stands.
    pub(crate) fn word_or_number(&mut self, name: &str, example: &str, mistakes: &mut Mistakes) -> Option<(String, Span)> {
        let meta = self.take(name)?;
        let found = match &meta {
            Meta::NameValue(pair) => match &pair.value {
                Expr::Lit(literal) => match &literal.lit {
                    Lit::Str(text) => Some((text.value(), text.span())),
                    Lit::Int(number) => Some((number.base10_digits().to_owned(), number.span())),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        };
        if found.is_none() {
            mistakes.add(&meta, format!("`{name}` takes a word or its number: write `{name} = \"{example}\"`"));
        }
        found
    }

    /// A whole number that is not negative.
    pub(crate) fn integer(&mut self, name: &str, example: &str, mistakes: &mut Mistakes) -> Option<LitInt> {
        let meta = self.take(name)?;
        let number = match &meta {
            Meta::NameValue(pair) => match &pair.value {
                Expr::Lit(literal) => match &literal.lit {
                    Lit::Int(number) => Some(number.clone()),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        };
        if number.is_none() {
            mistakes.add(&meta, format!("`{name}` takes a whole number: write `{name} = {example}`"));
        }
        number
    }
}

/// Splits `a, b = 1, c(..)` into its parts.
pub(crate) fn parse_list(args: TokenStream, mistakes: &mut Mistakes) -> Vec<Meta> {
    let mut list = Vec::new();
    let read = |input: ParseStream<'_>| -> syn::Result<()> {
        while !input.is_empty() {
            if input.peek(Lit) {
                return Err(input.error("a key is expected: keys are written `flag, key = value, key(..)`"));
            }
            list.push(input.parse::<Meta>()?);
            if input.is_empty() {
                break;
            }
            if !input.peek(Token![,]) {
                return Err(input.error("expected `,`: keys are written `flag, key = value, key(..)`"));
            }
            input.parse::<Token![,]>()?;
        }
        Ok(())
    };
    if let Err(error) = read.parse2(args) {
        mistakes.add_error(error);
    }
    list
}

/// Reads the tokens between the parentheses of a list such as `length(min = 1)`.
pub(crate) fn inner(meta: &Meta, example: &str, mistakes: &mut Mistakes) -> Option<TokenStream> {
    match meta {
        Meta::List(list) => Some(list.tokens.clone()),
        other => {
            mistakes.add(other, format!("write it like `{example}`"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use quote::quote;
    use syn::parse_quote;

    use super::*;

    const GRAMMAR: Grammar =
        Grammar { attribute: "#[forge::query]", accepted: &["public", "role", "timeout"], planned: &["cache"] };

    fn read(args: TokenStream, mut attrs: Vec<Attribute>) -> (Keys, Vec<Attribute>, Mistakes) {
        let mut mistakes = Mistakes::default();
        let keys = GRAMMAR.read_with_helpers(args, &mut attrs, &mut mistakes);
        (keys, attrs, mistakes)
    }

    #[test]
    fn both_forms_are_read_and_helpers_removed() {
        let attrs = vec![parse_quote!(#[role = ["a", "b"]]), parse_quote!(#[inline])];
        let (mut keys, rest, mut mistakes) = read(quote!(public, timeout = "5s",), attrs);
        assert!(keys.flag("public", &mut mistakes).is_some());
        assert_eq!(keys.text("timeout", "30s", &mut mistakes).unwrap().value(), "5s");
        assert_eq!(keys.texts("role", "x", &mut mistakes).unwrap().len(), 2);
        assert_eq!(rest.len(), 1);
        assert_eq!(mistakes.sentences(), Vec::<String>::new());
    }

    #[test]
    fn every_mistake_is_found() {
        let (_, _, mistakes) = read(quote!(pubic, timeout = "1s", cache = "5s"), vec![parse_quote!(#[timeout = "2s"])]);
        assert_eq!(
            mistakes.sentences(),
            [
                "`pubic` is not a key of `#[forge::query]`; did you mean `public`?\nit accepts `public`, `role`, `timeout`",
                "`cache` is not available yet",
                "`timeout` is given twice",
            ]
        );
    }

    #[test]
    fn wrong_kinds_of_value_are_explained() {
        let (mut keys, _, mut mistakes) = read(quote!(public = true, timeout = 5, role("a")), vec![]);
        keys.flag("public", &mut mistakes);
        keys.text("timeout", "30s", &mut mistakes);
        keys.texts("role", "admin", &mut mistakes);
        let sentences = mistakes.sentences();
        assert!(sentences[0].contains("is a flag"), "{sentences:?}");
        assert!(sentences[1].contains("timeout = \"30s\""), "{sentences:?}");
        assert!(sentences[2].contains("list of texts"), "{sentences:?}");
    }

    #[test]
    fn a_slip_in_a_helper_is_recognised() {
        let (_, rest, mistakes) = read(quote!(), vec![parse_quote!(#[timout = "5s"]), parse_quote!(#[my_own])]);
        assert_eq!(mistakes.sentences(), ["`#[timout]` is not known here; did you mean `#[timeout]`?"]);
        assert_eq!(rest.len(), 1);
    }
}
