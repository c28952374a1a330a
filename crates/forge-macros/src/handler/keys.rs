//! The keys that several attributes have.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::{LitInt, LitStr, Meta};

use super::written::duration;
use crate::durations::milliseconds;
use crate::keys::{Grammar, Keys, inner, parse_list};
use crate::mistakes::Mistakes;
use crate::names::{did_you_mean, is_function_name, list, plain};

/// Who may call a function, or follow a job.
pub(crate) enum Access {
    Public,
    SignedIn,
    AnyRole(Vec<LitStr>),
}

/// What is kept in rows is kept for ten years at most, and nothing takes longer.
const LONGEST_MS: u64 = 3650 * 86_400_000;

/// `name = ".."`, or the function's own.
pub(crate) fn read_name(keys: &mut Keys, example: &str, function: &Ident, mistakes: &mut Mistakes) -> String {
    if let Some(text) = keys.text("name", example, mistakes) {
        if !is_function_name(&text.value()) {
            mistakes.add(
                &text,
                format!(
                    "`{}` cannot be a name on the wire: use small letters, digits and `_`, beginning with a letter",
                    text.value()
                ),
            );
        }
        return text.value();
    }
    let name = plain(function);
    if !is_function_name(&name) {
        mistakes.add(function, format!("`{name}` cannot be a name on the wire (small letters, digits and `_`, beginning with a letter): rename the function, or say `name = \"..\"`"));
    }
    name
}

/// `timeout = ".."` in milliseconds. `otherwise` says what to write instead of zero.
pub(crate) fn read_timeout(keys: &mut Keys, otherwise: &str, mistakes: &mut Mistakes) -> Option<u64> {
    let text = keys.text("timeout", "30s", mistakes)?;
    match milliseconds(&text.value()) {
        Ok(0) => mistakes.add(&text, format!("a timeout of zero would end every call before it begins; {otherwise}")),
        Ok(ms) => return Some(ms),
        Err(why) => mistakes.add(&text, why),
    }
    None
}

/// A time that is longer than none, in milliseconds.
pub(crate) fn read_duration(keys: &mut Keys, name: &str, example: &str, mistakes: &mut Mistakes) -> Option<u64> {
    let text = keys.text(name, example, mistakes)?;
    checked_duration(&text, name, mistakes)
}

/// As [`read_duration`], of a text that was taken out before.
pub(crate) fn checked_duration(text: &LitStr, name: &str, mistakes: &mut Mistakes) -> Option<u64> {
    let ms = bounded_duration(text, name, mistakes)?;
    if ms == 0 {
        mistakes.add(text, format!("`{name}` is longer than no time at all"));
    }
    (ms > 0).then_some(ms)
}

/// As [`read_duration`], where none at all means something as well.
pub(crate) fn read_duration_or_none(keys: &mut Keys, name: &str, example: &str, mistakes: &mut Mistakes) -> Option<u64> {
    let text = keys.text(name, example, mistakes)?;
    bounded_duration(&text, name, mistakes)
}

fn bounded_duration(text: &LitStr, name: &str, mistakes: &mut Mistakes) -> Option<u64> {
    match milliseconds(&text.value()) {
        Ok(ms) if ms > LONGEST_MS => mistakes.add(text, format!("`{name}` is ten years (\"3650d\") at most")),
        Ok(ms) => return Some(ms),
        Err(why) => mistakes.add(text, why),
    }
    None
}

/// A whole number that is at least 1.
pub(crate) fn read_count(keys: &mut Keys, name: &str, example: &str, mistakes: &mut Mistakes) -> Option<u32> {
    let number = keys.integer(name, example, mistakes)?;
    checked_count(&number, name, mistakes)
}

/// As [`read_count`], of a number that was taken out before.
pub(crate) fn checked_count(number: &LitInt, name: &str, mistakes: &mut Mistakes) -> Option<u32> {
    match number.base10_parse::<u32>() {
        Ok(0) => mistakes.add(number, format!("`{name}` is at least 1")),
        // Rows hold it as PostgreSQL's integer.
        Ok(count) if i32::try_from(count).is_ok() => return Some(count),
        _ => mistakes.add(number, format!("`{name}` is {} at most", i32::MAX)),
    }
    None
}

/// Refuses roles that nobody has, and those given twice. `none` says what is wrong with an empty list.
pub(crate) fn check_roles(roles: Vec<LitStr>, none: &str, function: &Ident, mistakes: &mut Mistakes) -> Vec<LitStr> {
    if roles.is_empty() {
        mistakes.add(function, none);
    }
    let mut seen: Vec<String> = Vec::new();
    for role in &roles {
        let value = role.value();
        if value.trim().is_empty() {
            mistakes.add(role, "a role has a name");
        } else if seen.contains(&value) {
            mistakes.add(role, format!("the role `{value}` is given twice"));
        }
        seen.push(value);
    }
    roles
}

/// What the keys say about how a unit of work is run: the same for jobs and for the runs of a cron.
pub(crate) struct Work {
    queue: Option<LitStr>,
    priority: &'static str,
    timeout_ms: Option<u64>,
    capability: Option<LitStr>,
    retry: Retry,
}

#[derive(Default)]
struct Retry {
    max_attempts: Option<u32>,
    backoff: Option<&'static str>,
    initial_ms: Option<u64>,
    max_backoff_ms: Option<u64>,
    jitter: Option<bool>,
    on: Vec<LitStr>,
}

/// Word, number and variant of each priority.
const PRIORITIES: &[(&str, &str, &str)] = &[
    ("background", "0", "Background"),
    ("low", "25", "Low"),
    ("normal", "50", "Normal"),
    ("high", "75", "High"),
    ("critical", "100", "Critical"),
];

const BACKOFFS: &[(&str, &str)] = &[("exponential", "Exponential"), ("linear", "Linear"), ("fixed", "Fixed")];

const RETRY: Grammar = Grammar {
    attribute: "retry(..)",
    accepted: &["max_attempts", "backoff", "initial", "max_backoff", "jitter", "on"],
    planned: &[],
};

impl Work {
    /// Takes the keys out.
    pub(crate) fn read(keys: &mut Keys, mistakes: &mut Mistakes) -> Self {
        Self {
            queue: read_word(keys, "queue", "mail", mistakes),
            priority: read_priority(keys, mistakes),
            timeout_ms: read_duration(keys, "timeout", "5m", mistakes),
            capability: read_capability(keys, mistakes),
            retry: keys.take("retry").map(|meta| Retry::read(&meta, mistakes)).unwrap_or_default(),
        }
    }

    /// The fields of the description.
    pub(crate) fn fields(&self) -> TokenStream {
        let text = |text: &Option<LitStr>, default: TokenStream| text.as_ref().map_or(default, |text| quote!(#text));
        let queue = text(&self.queue, quote!(::forge::__rt::job::DEFAULT_QUEUE));
        let capability = text(&self.capability, quote!(::forge::__rt::job::DEFAULT_CAPABILITY));
        let timeout = self.timeout_ms.map_or(quote!(::forge::__rt::job::DEFAULT_TIMEOUT), duration);
        let priority = format_ident!("{}", self.priority);
        let retry = self.retry.written();
        quote! {
            queue: #queue,
            priority: ::forge::__rt::job::Priority::#priority,
            timeout: #timeout,
            retry: #retry,
            capability: #capability,
        }
    }
}

fn read_capability(keys: &mut Keys, mistakes: &mut Mistakes) -> Option<LitStr> {
    let capability = read_word(keys, "capability", "media", mistakes);
    let Some(alias) = read_word(keys, "worker_capability", "media", mistakes) else { return capability };
    if capability.is_some() {
        mistakes.add(&alias, "`capability` and `worker_capability` are the same: leave one out");
    }
    Some(alias)
}

/// A name that stands in the configuration and in rows: a queue or a capability.
fn read_word(keys: &mut Keys, name: &str, example: &str, mistakes: &mut Mistakes) -> Option<LitStr> {
    let text = keys.text(name, example, mistakes)?;
    let word = text.value();
    let valid = word.starts_with(|c: char| c.is_ascii_lowercase())
        && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-')
        && word.len() <= 63;
    if !valid {
        mistakes.add(
            &text,
            format!(
                "`{word}` cannot be a {name}: use small letters, digits, `_` and `-`, beginning with a letter, 63 at most"
            ),
        );
    }
    Some(text)
}

fn read_priority(keys: &mut Keys, mistakes: &mut Mistakes) -> &'static str {
    let default = "Normal";
    let Some((given, place)) = keys.word_or_number("priority", "high", mistakes) else { return default };
    if let Some((_, _, variant)) = PRIORITIES.iter().find(|(word, number, _)| given == *word || given == *number) {
        return variant;
    }
    let words = PRIORITIES.iter().map(|(word, number, _)| format!("\"{word}\" ({number})")).collect::<Vec<_>>().join(", ");
    let near = did_you_mean(&given, PRIORITIES.iter().map(|(word, ..)| *word));
    mistakes.add_error(syn::Error::new(place, format!("`{given}` is not a priority{near}\nthere is {words}")));
    default
}

impl Retry {
    fn read(meta: &Meta, mistakes: &mut Mistakes) -> Self {
        let Some(tokens) = inner(meta, "retry(max_attempts = 5, backoff = \"exponential\")", mistakes) else {
            return Self::default();
        };
        let (counted_otherwise, metas): (Vec<Meta>, Vec<Meta>) =
            parse_list(tokens, mistakes).into_iter().partition(|meta| meta.path().is_ident("max_retries"));
        for meta in counted_otherwise {
            mistakes.add(
                &meta,
                "`max_retries` leaves open whether the first time counts: `max_attempts = 3` is how often it is run in all",
            );
        }
        let mut keys = RETRY.read_list(metas, mistakes);
        let max_attempts = read_count(&mut keys, "max_attempts", "5", mistakes);
        let backoff = keys.text("backoff", "exponential", mistakes).and_then(|text| {
            let given = text.value();
            let known = BACKOFFS.iter().find(|(word, _)| *word == given);
            if known.is_none() {
                let words = list(BACKOFFS.iter().map(|(word, _)| *word));
                let near = did_you_mean(&given, BACKOFFS.iter().map(|(word, _)| *word));
                mistakes.add(&text, format!("`{given}` is no way to wait{near}\nthere is {words}"));
            }
            known.map(|(_, variant)| *variant)
        });
        let initial = keys.text("initial", "1s", mistakes);
        let initial_ms = initial.as_ref().and_then(|text| checked_duration(text, "initial", mistakes));
        let max_backoff_ms = read_duration(&mut keys, "max_backoff", "5m", mistakes);
        if let (Some(text), Some(initial)) = (&initial, initial_ms)
            && initial > max_backoff_ms.unwrap_or(300_000)
        {
            mistakes.add(text, "the first waiting time is longer than `max_backoff` (\"5m\" unless said): raise that too");
        }
        let jitter = keys.switch("jitter", mistakes);
        let on = keys.texts("on", "TIMEOUT", mistakes).unwrap_or_default();
        for code in &on {
            let word = code.value();
            let valid = word.starts_with(|c: char| c.is_ascii_uppercase())
                && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
            if !valid {
                mistakes
                    .add(code, format!("`{word}` is not an error's code: those are words like \"DATABASE_UNAVAILABLE\""));
            }
        }
        Self { max_attempts, backoff, initial_ms, max_backoff_ms, jitter, on }
    }

    /// What differs from the default.
    fn written(&self) -> TokenStream {
        let mut fields = Vec::new();
        if let Some(count) = self.max_attempts {
            fields.push(quote!(max_attempts: #count));
        }
        if let Some(variant) = self.backoff {
            let variant = format_ident!("{variant}");
            fields.push(quote!(backoff: ::forge::__rt::job::Backoff::#variant));
        }
        if let Some(initial) = self.initial_ms.map(duration) {
            fields.push(quote!(initial: #initial));
        }
        if let Some(longest) = self.max_backoff_ms.map(duration) {
            fields.push(quote!(max_backoff: #longest));
        }
        if let Some(jitter) = self.jitter {
            fields.push(quote!(jitter: #jitter));
        }
        if !self.on.is_empty() {
            let on = &self.on;
            fields.push(quote!(on: &[#(#on),*]));
        }
        let default = quote!(::forge::__rt::job::RetryPolicy::DEFAULT);
        if fields.is_empty() {
            return default;
        }
        // All of them may have been said.
        quote!({
            #[allow(clippy::needless_update)]
            let policy = ::forge::__rt::job::RetryPolicy { #(#fields,)* ..#default };
            policy
        })
    }
}

/// The field that a text names, to be written after `input.`; the compiler underlines the text when there is none.
pub(crate) fn field_ident(text: &LitStr) -> Option<Ident> {
    let mut ident = syn::parse_str::<Ident>(&text.value()).ok()?;
    ident.set_span(text.span());
    Some(ident)
}
