//! What the attribute of a function may say.

use proc_macro2::{Ident, TokenStream};
use syn::spanned::Spanned;
use syn::{Attribute, LitStr, Meta};

use super::Kind;
use crate::durations::milliseconds;
use crate::handler::keys::{Access, check_roles, read_name, read_timeout};
use crate::keys::{Grammar, Keys};
use crate::mistakes::Mistakes;
use crate::types::string_literal;

const PLANNED: &[&str] = &["rate_limit", "retry", "log", "tables"];

const QUERY: Grammar = Grammar {
    attribute: "#[forge::query]",
    accepted: &[
        "public",
        "role",
        "timeout",
        "name",
        "snapshot",
        "cache",
        "register",
        "refresh_every",
        "min_interval",
        "tracking",
    ],
    planned: PLANNED,
};

const MUTATION: Grammar = Grammar {
    attribute: "#[forge::mutation]",
    accepted: &["public", "role", "timeout", "name", "isolation", "register"],
    planned: PLANNED,
};

const ACTION: Grammar = Grammar {
    attribute: "#[forge::action]",
    accepted: &["public", "role", "timeout", "name", "register"],
    planned: PLANNED,
};

const CACHE: Grammar = Grammar { attribute: "cache(..)", accepted: &["ttl", "follow"], planned: &[] };

/// What was said, with the defaults filled in.
pub(super) struct Options {
    /// The name on the wire.
    pub(super) name: String,
    pub(super) access: Access,
    pub(super) timeout_ms: Option<u64>,
    pub(super) read_committed: bool,
    pub(super) snapshot: bool,
    pub(super) cache: Option<Cache>,
    /// Whether linking the function registers it.
    pub(super) register: bool,
    pub(super) refresh_every_ms: Option<u64>,
    pub(super) min_interval_ms: Option<u64>,
    pub(super) tracking: Tracking,
}

/// Which changes run a live query again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tracking {
    Auto,
    Table,
    None,
}

/// How often a live query may be run for no reason at most.
const REFRESH_MIN_MS: u64 = 100;

/// How far apart the runs of a live query may be kept at most. A page that follows it shows everything that much later; two such queries
/// may wait for each other, and what is expected to show is given up two seconds after an answer that no frame confirms.
const INTERVAL_MAX_MS: u64 = 1_000;

/// How long results are kept.
pub(super) struct Cache {
    pub(super) ttl_ms: u64,
    pub(super) follow: bool,
}

/// How long results are kept at most: a day.
const CACHE_MAX_MS: u64 = 86_400_000;

pub(super) fn read(
    kind: Kind,
    args: TokenStream,
    attrs: &mut Vec<Attribute>,
    function: &Ident,
    mistakes: &mut Mistakes,
) -> Options {
    let grammar = match kind {
        Kind::Query => QUERY,
        Kind::Mutation => MUTATION,
        Kind::Action => ACTION,
    };
    let mut keys = grammar.read_with_helpers(args, attrs, mistakes);

    let name = read_name(&mut keys, "list_cards", function, mistakes);
    let public = keys.flag("public", mistakes);
    let roles = keys.texts("role", "admin", mistakes);
    let access = match (public, roles) {
        (Some(_), Some(roles)) => {
            let place = roles.first().map_or(function.span(), Spanned::span);
            mistakes.add_error(syn::Error::new(
                place,
                "`public` and `role` contradict each other: anybody may call a public function; leave one out",
            ));
            Access::Public
        }
        (Some(_), None) => Access::Public,
        (None, Some(roles)) => {
            let none = "`role = []` would let nobody in: name a role, or leave it out to let in whoever is signed in";
            Access::AnyRole(check_roles(roles, none, function, mistakes))
        }
        (None, None) => Access::SignedIn,
    };

    let timeout_ms = read_timeout(&mut keys, "leave `timeout` out for the configured default", mistakes);
    let read_committed = keys.text("isolation", "read_committed", mistakes).is_some_and(|text| match text.value().as_str() {
        "read_committed" => true,
        "serializable" => false,
        other => {
            mistakes.add(&text, format!("`{other}` is not an isolation level; there is \"serializable\" (the default) and \"read_committed\""));
            false
        }
    });

    let snapshot = keys.flag("snapshot", mistakes).is_some();
    let cache = keys.take("cache").and_then(|meta| read_cache(meta, mistakes));
    let register = keys.switch("register", mistakes).unwrap_or(true);
    let refresh_every_ms = keys.text("refresh_every", "10s", mistakes).and_then(|text| match milliseconds(&text.value()) {
        Ok(ms) if ms < REFRESH_MIN_MS => {
            mistakes.add(&text, "a live query is refreshed every 100ms at most: each time it runs on the database");
            None
        }
        Ok(ms) => Some(ms),
        Err(why) => {
            mistakes.add(&text, why);
            None
        }
    });
    let tracking = match keys.text("tracking", "table", mistakes) {
        None => Tracking::Auto,
        Some(text) => match text.value().as_str() {
            "auto" => Tracking::Auto,
            "table" => Tracking::Table,
            "none" if refresh_every_ms.is_some() => Tracking::None,
            "none" => {
                mistakes.add(
                    &text,
                    "with `tracking = \"none\"` no change runs it again, so say when: `refresh_every = \"10s\"`",
                );
                Tracking::None
            }
            other => {
                mistakes.add(
                    &text,
                    format!("`{other}` is no way to track; there is \"auto\" (the default), \"table\" and \"none\""),
                );
                Tracking::Auto
            }
        },
    };
    let min_interval_ms = read_min_interval(&mut keys, refresh_every_ms, tracking, mistakes);
    Options {
        name,
        access,
        timeout_ms,
        read_committed,
        snapshot,
        cache,
        register,
        refresh_every_ms,
        min_interval_ms,
        tracking,
    }
}

/// `min_interval = "200ms"`; zero when not said.
fn read_min_interval(
    keys: &mut Keys,
    refresh_every_ms: Option<u64>,
    tracking: Tracking,
    mistakes: &mut Mistakes,
) -> Option<u64> {
    let text = keys.text("min_interval", "200ms", mistakes)?;
    let why = match milliseconds(&text.value()) {
        Ok(0) => "a live query without an interval runs whenever something has changed; leave `min_interval` out".to_owned(),
        Ok(ms) if ms > INTERVAL_MAX_MS => {
            "the runs of a live query are kept \"1s\" apart at most, as pages wait for them with all that they show; for what may be \
             older, write `tracking = \"none\", refresh_every = \"1m\"`"
                .to_owned()
        }
        Ok(_) if tracking == Tracking::None => {
            "with `tracking = \"none\"` its runs are as far apart as `refresh_every` says; leave `min_interval` out".to_owned()
        }
        Ok(ms) if refresh_every_ms.is_some_and(|every| every < ms) => {
            "`refresh_every` is shorter than `min_interval`, so it would not be kept; make it as long or longer".to_owned()
        }
        Ok(ms) => return Some(ms),
        Err(why) => why,
    };
    mistakes.add(&text, why);
    None
}

/// `cache = "30s"` or `cache(ttl = "30s", follow = false)`.
fn read_cache(meta: Meta, mistakes: &mut Mistakes) -> Option<Cache> {
    let (text, follow) = match &meta {
        Meta::List(list) => {
            let mut keys = CACHE.read(list.tokens.clone(), mistakes);
            let follow = keys.switch("follow", mistakes).unwrap_or(true);
            let Some(ttl) = keys.take("ttl") else {
                mistakes.add(&meta, "`cache(..)` says how old a result may be: write `cache(ttl = \"30s\")`");
                return None;
            };
            (text_of(&ttl).ok_or((ttl.clone(), "`ttl` takes a text: write `ttl = \"30s\"`")), follow)
        }
        other => (text_of(other).ok_or((other.clone(), "`cache` takes a text: write `cache = \"30s\"`")), true),
    };
    let text = text.map_err(|(place, why)| mistakes.add(&place, why)).ok()?;
    match milliseconds(&text.value()) {
        Ok(0) => mistakes.add(&text, "results that are kept for no time are not kept; leave `cache` out"),
        Ok(ms) if ms > CACHE_MAX_MS => {
            mistakes.add(
                &text,
                "results are kept in memory, for a day (\"24h\") at most; what has to last longer belongs into a table",
            );
        }
        Ok(ttl_ms) => return Some(Cache { ttl_ms, follow }),
        Err(why) => mistakes.add(&text, why),
    }
    None
}

fn text_of(meta: &Meta) -> Option<LitStr> {
    match meta {
        Meta::NameValue(pair) => string_literal(&pair.value).cloned(),
        _ => None,
    }
}
