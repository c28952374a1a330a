//! Reads `#[validate(..)]` and says what is wrong with it.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote_spanned};
use syn::{Attribute, Expr, Lit, Meta, Type, UnOp};

use super::{Bound, Rule, RuleKind};
use crate::keys::{inner, parse_list};
use crate::mistakes::Mistakes;
use crate::names::{did_you_mean, list};
use crate::spans::at;
use crate::types::{is_named, option_content, string_literal};

const RULES: &[&str] = &["length", "range", "email", "url", "pattern", "custom"];
const EXAMPLE: &str = "#[validate(length(min = 1, max = 200))]";

/// Takes the `#[validate(..)]` attributes of a field of this type.
pub(crate) fn take(attrs: &mut Vec<Attribute>, ty: &Type, mistakes: &mut Mistakes) -> Vec<Rule> {
    let content = option_content(ty).unwrap_or(ty);
    let mut rules: Vec<(String, Rule)> = Vec::new();
    attrs.retain(|attr| {
        if !attr.path().is_ident("validate") {
            return true;
        }
        if let Some(tokens) = inner(&attr.meta, EXAMPLE, mistakes) {
            if tokens.is_empty() {
                mistakes.add(attr, format!("no rule is given; the rules are {}", list(RULES.iter().copied())));
            }
            for meta in parse_list(tokens, mistakes) {
                let name = meta.path().get_ident().map(ToString::to_string).unwrap_or_default();
                if name != "custom" && rules.iter().any(|(known, _)| *known == name) {
                    mistakes.add(meta.path(), format!("the rule `{name}` is given twice"));
                } else if let Some(kind) = read_rule(&name, &meta, content, mistakes) {
                    rules.push((name, Rule { span: at(&meta), kind }));
                }
            }
        }
        false
    });
    rules.into_iter().map(|(_, rule)| rule).collect()
}

fn read_rule(name: &str, meta: &Meta, ty: &Type, mistakes: &mut Mistakes) -> Option<RuleKind> {
    match name {
        "length" => read_length(meta, mistakes),
        "range" => read_range(meta, ty, mistakes),
        "email" | "url" => {
            if !matches!(meta, Meta::Path(_)) {
                mistakes.add(meta, format!("the rule `{name}` takes nothing: write `#[validate({name})]`"));
                return None;
            }
            Some(if name == "email" { RuleKind::Email } else { RuleKind::Url })
        }
        "pattern" => read_pattern(meta, mistakes),
        "custom" => read_custom(meta, mistakes),
        _ => {
            let written = meta.path().to_token_stream().to_string();
            let hint = did_you_mean(name, RULES.iter().copied());
            mistakes.add(
                meta.path(),
                format!("`{written}` is not a rule{hint}\nthe rules are {}", list(RULES.iter().copied())),
            );
            None
        }
    }
}

/// Reads `min = .., max = ..`, at least one of them.
fn read_bounds(meta: &Meta, example: &str, mistakes: &mut Mistakes) -> Option<[Option<Expr>; 2]> {
    let mut bounds = [None, None];
    for part in parse_list(inner(meta, example, mistakes)?, mistakes) {
        let index = match part.path().get_ident().map(ToString::to_string).as_deref() {
            Some("min") => 0,
            Some("max") => 1,
            _ => {
                mistakes.add(&part, format!("only `min` and `max` are known here: `{example}`"));
                return None;
            }
        };
        let Meta::NameValue(pair) = &part else {
            mistakes.add(&part, format!("a bound has a value: `{example}`"));
            return None;
        };
        if bounds[index].replace(pair.value.clone()).is_some() {
            mistakes.add(&part, "this bound is given twice");
        }
    }
    if bounds.iter().all(Option::is_none) {
        mistakes.add(meta, format!("give `min`, `max` or both: `{example}`"));
        return None;
    }
    Some(bounds)
}

fn read_length(meta: &Meta, mistakes: &mut Mistakes) -> Option<RuleKind> {
    let [min, max] = read_bounds(meta, "length(min = 1, max = 200)", mistakes)?;
    let mut read = |expr: Option<Expr>| -> Option<Option<usize>> {
        let Some(expr) = expr else { return Some(None) };
        let number = match &expr {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Int(number) => number.base10_parse::<usize>().ok(),
                _ => None,
            },
            _ => None,
        };
        if number.is_none() {
            mistakes.add(&expr, "a length is a whole number: `length(min = 1, max = 200)`");
        }
        number.map(Some)
    };
    let (min, max) = (read(min)?, read(max)?);
    if let (Some(least), Some(most)) = (min, max)
        && least > most
    {
        mistakes.add(meta, format!("no length is at least {least} and at most {most}"));
    }
    Some(RuleKind::Length { min, max })
}

fn read_range(meta: &Meta, ty: &Type, mistakes: &mut Mistakes) -> Option<RuleKind> {
    let [min, max] = read_bounds(meta, "range(min = 0, max = 10)", mistakes)?;
    let mut read = |expr: Option<Expr>| -> Option<Option<(Bound, f64)>> {
        let Some(expr) = expr else { return Some(None) };
        let read = read_bound(&expr, ty);
        if read.is_none() {
            let example = if is_named(ty, "Decimal") { "a whole number" } else { "a number" };
            mistakes.add(&expr, format!("a bound of this field is {example}: `range(min = 0, max = 10)`"));
        }
        read.map(Some)
    };
    let (min, max) = (read(min)?, read(max)?);
    if let (Some((least, low)), Some((most, high))) = (&min, &max)
        && low > high
    {
        mistakes.add(meta, format!("no number is at least {} and at most {}", least.text, most.text));
    }
    Some(RuleKind::Range { min: min.map(|(bound, _)| bound), max: max.map(|(bound, _)| bound) })
}

/// A literal, perhaps with a minus, in the type of the field: `0` is `0.0` for an `f64`.
fn read_bound(expr: &Expr, ty: &Type) -> Option<(Bound, f64)> {
    let (negative, literal) = match expr {
        Expr::Lit(literal) => (false, &literal.lit),
        Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => match &*unary.expr {
            Expr::Lit(literal) => (true, &literal.lit),
            _ => return None,
        },
        _ => return None,
    };
    let digits = match literal {
        Lit::Int(number) if number.suffix().is_empty() => number.base10_digits().to_owned(),
        Lit::Float(number) if number.suffix().is_empty() && !is_named(ty, "Decimal") => number.base10_digits().to_owned(),
        _ => return None,
    };
    let text = if negative { format!("-{digits}") } else { digits };
    let number: f64 = text.parse().ok()?;
    let value = if matches!(literal, Lit::Int(_)) && (is_named(ty, "f64") || is_named(ty, "f32")) {
        let literal: TokenStream = format!("{text}.0").parse().ok()?;
        quote_spanned!(at(&expr)=> #literal)
    } else if is_named(ty, "Decimal") {
        quote_spanned!(at(&expr)=> <#ty as ::core::convert::From<i64>>::from(#expr))
    } else {
        expr.to_token_stream()
    };
    Some((Bound { text, value }, number))
}

fn read_pattern(meta: &Meta, mistakes: &mut Mistakes) -> Option<RuleKind> {
    let text = match meta {
        Meta::NameValue(pair) => string_literal(&pair.value),
        _ => None,
    };
    let Some(text) = text else {
        mistakes.add(meta, "`pattern` takes a regular expression: write `pattern = \"^[a-z]+$\"`");
        return None;
    };
    if let Err(why) = regex_lite::Regex::new(&text.value()) {
        mistakes.add(text, format!("this regular expression does not compile: {why}"));
        return None;
    }
    Some(RuleKind::Pattern(text.clone()))
}

fn read_custom(meta: &Meta, mistakes: &mut Mistakes) -> Option<RuleKind> {
    let path = match meta {
        Meta::NameValue(pair) => match &pair.value {
            Expr::Path(path) => Some(path.path.clone()),
            other => string_literal(other).and_then(|text| text.parse().ok()),
        },
        _ => None,
    };
    if path.is_none() {
        mistakes.add(
            meta,
            "`custom` takes the path of a function `fn(&T) -> Result<(), String>` (for text `fn(&str)`): write `custom = \"rules::is_even\"`",
        );
    }
    path.map(RuleKind::Custom)
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    fn mistakes_of(attr: Attribute, ty: Type) -> Vec<String> {
        let mut mistakes = Mistakes::default();
        take(&mut vec![attr], &ty, &mut mistakes);
        mistakes.sentences()
    }

    #[test]
    fn good_rules_pass() {
        for (attr, ty) in [
            (parse_quote!(#[validate(length(min = 1, max = 200), email, custom = "a::b")]), parse_quote!(String)),
            (parse_quote!(#[validate(range(min = -5, max = 5), custom = a::b, custom = c)]), parse_quote!(i32)),
            (parse_quote!(#[validate(range(min = 0))]), parse_quote!(Option<f64>)),
            (parse_quote!(#[validate(range(max = 100))]), parse_quote!(rust_decimal::Decimal)),
            (parse_quote!(#[validate(pattern = "^[a-z]+$", url)]), parse_quote!(String)),
        ] {
            assert_eq!(mistakes_of(attr, ty), Vec::<String>::new());
        }
    }

    #[test]
    fn mistakes_are_explained() {
        for (attr, expected) in [
            (parse_quote!(#[validate(lenght(min = 1))]), "did you mean `length`?"),
            (parse_quote!(#[validate(length(min = 5, max = 1))]), "no length is at least 5"),
            (parse_quote!(#[validate(length)]), "write it like"),
            (parse_quote!(#[validate(length())]), "give `min`"),
            (parse_quote!(#[validate(length(min = "1"))]), "a whole number"),
            (parse_quote!(#[validate(pattern = "(")]), "does not compile"),
            (parse_quote!(#[validate(email, email)]), "given twice"),
            (parse_quote!(#[validate(email = true)]), "takes nothing"),
            (parse_quote!(#[validate(range(least = 1))]), "only `min` and `max`"),
            (parse_quote!(#[validate()]), "no rule is given"),
            (parse_quote!(#[validate]), "write it like"),
        ] {
            let sentences = mistakes_of(attr, parse_quote!(i64));
            assert!(sentences.len() == 1 && sentences[0].contains(expected), "{sentences:?}");
        }
    }

    #[test]
    fn a_bound_takes_the_type_of_the_field() {
        let bound = |expr: Expr, ty: Type| read_bound(&expr, &ty).map(|(bound, _)| bound.value.to_string());
        assert_eq!(bound(parse_quote!(-3), parse_quote!(f64)).unwrap().replace(' ', ""), "-3.0");
        assert_eq!(bound(parse_quote!(3), parse_quote!(i32)).unwrap(), "3");
        assert!(bound(parse_quote!(3), parse_quote!(Decimal)).unwrap().contains("From"));
        assert!(bound(parse_quote!(3.5), parse_quote!(Decimal)).is_none());
        assert!(bound(parse_quote!("3"), parse_quote!(i32)).is_none());
    }
}
