//! What the attribute of a cron may say.

use proc_macro2::{Ident, TokenStream};
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, LitStr, Token};

use super::expression;
use crate::durations::milliseconds;
use crate::handler::keys::{Work, checked_count, read_name};
use crate::keys::{Grammar, Keys};
use crate::mistakes::Mistakes;
use crate::names::{did_you_mean, list};

const CRON: Grammar = Grammar {
    attribute: "#[forge::cron]",
    accepted: &[
        "every",
        "daily_at",
        "timezone",
        "catch_up",
        "catch_up_limit",
        "overlap",
        "timeout",
        "retry",
        "queue",
        "priority",
        "capability",
        "worker_capability",
        "name",
        "register",
    ],
    planned: &["resources", "group"],
};

const OVERLAPS: &[(&str, &str)] = &[("skip", "Skip"), ("queue", "Queue"), ("allow", "Allow")];

/// What was said.
pub(super) struct Options {
    pub(super) name: String,
    /// When it is due, as it was written or as `every` and `daily_at` mean it.
    pub(super) expression: String,
    pub(super) timezone: Option<LitStr>,
    pub(super) catch_up: bool,
    pub(super) catch_up_limit: Option<u32>,
    /// The variant.
    pub(super) overlap: &'static str,
    pub(super) work: Work,
    /// Whether linking the function registers it.
    pub(super) register: bool,
}

pub(super) fn read(args: TokenStream, attrs: &mut Vec<Attribute>, function: &Ident, mistakes: &mut Mistakes) -> Options {
    let (written, args) = take_expression(args, mistakes);
    let mut keys = CRON.read_with_helpers(args, attrs, mistakes);
    let expression = read_due(written, &mut keys, function, mistakes);
    let timezone = keys.text("timezone", "Europe/Berlin", mistakes);
    if let Some(zone) = &timezone
        && let Err(why) = expression::zone_name(&zone.value())
    {
        mistakes.add(zone, why);
    }
    let catch_up = keys.flag_or_switch("catch_up", mistakes).unwrap_or(false);
    let catch_up_limit = keys.integer("catch_up_limit", "3", mistakes);
    if let Some(limit) = catch_up_limit.as_ref().filter(|_| !catch_up) {
        mistakes
            .add(limit, "nothing is caught up, so there is nothing to limit: write `catch_up = true`, or leave this out");
    }
    let catch_up_limit = catch_up_limit.and_then(|limit| checked_count(&limit, "catch_up_limit", mistakes));
    let default = if catch_up { "Queue" } else { "Skip" };
    Options {
        name: read_name(&mut keys, "daily_digest", function, mistakes),
        expression,
        timezone,
        catch_up,
        catch_up_limit,
        overlap: read_overlap(&mut keys, mistakes).unwrap_or(default),
        work: Work::read(&mut keys, mistakes),
        register: keys.switch("register", mistakes).unwrap_or(true),
    }
}

/// Takes the text off that stands before the keys: `"0 9 * * *", key = value`.
fn take_expression(args: TokenStream, mistakes: &mut Mistakes) -> (Option<LitStr>, TokenStream) {
    let split = |input: ParseStream<'_>| -> syn::Result<(Option<LitStr>, TokenStream)> {
        if !input.peek(LitStr) {
            return Ok((None, input.parse()?));
        }
        let text = input.parse()?;
        if input.peek(Token![,]) {
            input.parse::<Token![,]>()?;
        } else if !input.is_empty() {
            mistakes.add_error(input.error("expected `,`: write `\"0 9 * * *\", key = value`"));
        }
        Ok((Some(text), input.parse()?))
    };
    // The rest is taken as it is, so nothing here can fail but what was looked at before.
    split.parse2(args).unwrap_or_default()
}

/// When it is due: exactly one of the three ways to say so.
fn read_due(written: Option<LitStr>, keys: &mut Keys, function: &Ident, mistakes: &mut Mistakes) -> String {
    let (repeats, zoned) = (keys.has("every"), keys.has("timezone"));
    let said = written.is_some() || repeats || keys.has("daily_at");
    let every = keys.text("every", "5m", mistakes);
    let daily_at = keys.text("daily_at", "09:00", mistakes);
    let given = usize::from(written.is_some()) + usize::from(every.is_some()) + usize::from(daily_at.is_some());
    if given > 1 {
        for text in [&every, &daily_at].into_iter().flatten() {
            mistakes.add(text, "when it is due is said once: by an expression, by `every` or by `daily_at`");
        }
    }
    if repeats && zoned && given == 1 {
        // In a zone whose clocks are put back, an hour is there twice and counts once.
        mistakes.add(
            every.as_ref(),
            "`every` counts time as it passes, which is the same everywhere: leave `timezone` out, or write an expression",
        );
    }
    let read = match (&written, &every, &daily_at) {
        (Some(text), _, _) => expression::normalise(&text.value()).map(|_| text.value()),
        (None, Some(text), _) => milliseconds(&text.value()).and_then(expression::every),
        (None, None, Some(text)) => expression::daily_at(&text.value()),
        (None, None, None) if said => return String::new(),
        (None, None, None) => {
            mistakes.add(
                function,
                "a cron says when it is due: `#[forge::cron(\"0 9 * * MON-FRI\")]`, `#[forge::cron(every = \"5m\")]` or `#[forge::cron(daily_at = \"09:00\")]`",
            );
            return String::new();
        }
    };
    read.unwrap_or_else(|why| {
        mistakes.add(written.or(every).or(daily_at), why);
        String::new()
    })
}

fn read_overlap(keys: &mut Keys, mistakes: &mut Mistakes) -> Option<&'static str> {
    let text = keys.text("overlap", "skip", mistakes)?;
    let given = text.value();
    let known = OVERLAPS.iter().find(|(word, _)| *word == given);
    if known.is_none() {
        let words = OVERLAPS.iter().map(|(word, _)| *word);
        let near = did_you_mean(&given, words.clone());
        mistakes.add(&text, format!("`{given}` is not known here{near}\nthere is {}", list(words)));
    }
    known.map(|(_, variant)| *variant)
}
