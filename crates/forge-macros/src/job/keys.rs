//! What the attribute of a job may say.

use proc_macro2::{Ident, TokenStream};
use syn::{Attribute, LitStr, Meta};

use crate::handler::arguments::Arguments;
use crate::handler::keys::{
    Work, check_roles, checked_duration, field_ident, read_count, read_duration, read_duration_or_none, read_name,
};
use crate::keys::{Grammar, Keys, inner};
use crate::mistakes::Mistakes;
use crate::names::{did_you_mean, list, plain};

const JOB: Grammar = Grammar {
    attribute: "#[forge::job]",
    accepted: &[
        "queue",
        "priority",
        "timeout",
        "capability",
        "worker_capability",
        "retry",
        "idempotent",
        "concurrency",
        "rate_limit",
        "retain",
        "dead_letter",
        "role",
        "name",
        "register",
    ],
    planned: &["resources"],
};

const IDEMPOTENT: Grammar = Grammar { attribute: "idempotent(..)", accepted: &["key"], planned: &[] };
const CONCURRENCY: Grammar = Grammar { attribute: "concurrency(..)", accepted: &["limit", "key"], planned: &[] };
const RATE_LIMIT: Grammar = Grammar { attribute: "rate_limit(..)", accepted: &["count", "requests", "per"], planned: &[] };
const DEAD_LETTER: Grammar = Grammar { attribute: "dead_letter(..)", accepted: &["retain"], planned: &[] };

/// What was said.
pub(super) struct Options {
    pub(super) name: String,
    pub(super) work: Work,
    pub(super) idempotent: Option<Key>,
    pub(super) concurrency: Option<Concurrency>,
    pub(super) rate_limit: Option<RateLimit>,
    pub(super) retain_ms: Option<u64>,
    pub(super) dead_letter_retain_ms: Option<u64>,
    /// Who may follow it besides whoever dispatched it.
    pub(super) roles: Vec<LitStr>,
    /// Whether linking the function registers it.
    pub(super) register: bool,
}

/// What makes two inputs the same.
pub(super) enum Key {
    /// All of it.
    Whole,
    /// These fields.
    Fields(Vec<LitStr>),
}

pub(super) struct Concurrency {
    pub(super) limit: u32,
    pub(super) key: Vec<LitStr>,
}

pub(super) struct RateLimit {
    pub(super) count: u32,
    pub(super) per_ms: u64,
}

pub(super) fn read(args: TokenStream, attrs: &mut Vec<Attribute>, function: &Ident, mistakes: &mut Mistakes) -> Options {
    let mut keys = JOB.read_with_helpers(args, attrs, mistakes);
    Options {
        name: read_name(&mut keys, "send_mail", function, mistakes),
        work: Work::read(&mut keys, mistakes),
        idempotent: keys.take("idempotent").and_then(|meta| read_idempotent(&meta, mistakes)),
        concurrency: keys.take("concurrency").and_then(|meta| read_concurrency(&meta, mistakes)),
        rate_limit: keys.take("rate_limit").and_then(|meta| read_rate_limit(&meta, mistakes)),
        retain_ms: read_duration_or_none(&mut keys, "retain", "7d", mistakes),
        dead_letter_retain_ms: keys.take("dead_letter").and_then(|meta| {
            let tokens = inner(&meta, "dead_letter(retain = \"7d\")", mistakes)?;
            read_duration(&mut DEAD_LETTER.read(tokens, mistakes), "retain", "7d", mistakes)
        }),
        roles: keys
            .texts("role", "admin", mistakes)
            .map(|roles| check_roles(roles, "`role = []` names nobody: name a role, or leave it out", function, mistakes))
            .unwrap_or_default(),
        register: keys.switch("register", mistakes).unwrap_or(true),
    }
}

/// `idempotent` or `idempotent(key = "card_id")`.
fn read_idempotent(meta: &Meta, mistakes: &mut Mistakes) -> Option<Key> {
    let how = "write `idempotent` alone when all of the input counts, or `idempotent(key = \"card_id\")`";
    match meta {
        Meta::Path(_) => Some(Key::Whole),
        Meta::List(list) => {
            let mut keys = IDEMPOTENT.read(list.tokens.clone(), mistakes);
            let said = keys.has("key");
            let fields = read_key(&mut keys, mistakes);
            if !said || fields.as_ref().is_some_and(Vec::is_empty) {
                mistakes.add(meta, how);
            }
            fields.map(Key::Fields)
        }
        Meta::NameValue(_) => {
            mistakes.add(meta, how);
            None
        }
    }
}

/// `concurrency(limit = 10, key = "board_id")`.
fn read_concurrency(meta: &Meta, mistakes: &mut Mistakes) -> Option<Concurrency> {
    let example = "concurrency(limit = 10, key = \"board_id\")";
    let mut keys = CONCURRENCY.read(inner(meta, example, mistakes)?, mistakes);
    let said = keys.has("limit");
    let limit = read_count(&mut keys, "limit", "10", mistakes);
    let key = read_key(&mut keys, mistakes).unwrap_or_default();
    if !said {
        mistakes.add(meta, format!("`concurrency(..)` says how many may run at the same time: write `{example}`"));
    }
    Some(Concurrency { limit: limit?, key })
}

/// `rate_limit(count = 100, per = "1m")`.
fn read_rate_limit(meta: &Meta, mistakes: &mut Mistakes) -> Option<RateLimit> {
    let example = "rate_limit(count = 100, per = \"1m\")";
    let mut keys = RATE_LIMIT.read(inner(meta, example, mistakes)?, mistakes);
    if keys.has("count") && keys.has("requests") {
        mistakes.add(meta, "`count` and `requests` are the same: leave one out");
    }
    if !(keys.has("count") || keys.has("requests")) || !keys.has("per") {
        mistakes
            .add(meta, format!("`rate_limit(..)` says how many may be begun, and within which time: write `{example}`"));
    }
    let count = read_count(&mut keys, "count", "100", mistakes);
    let requests = read_count(&mut keys, "requests", "100", mistakes);
    let per_ms = keys.text("per", "1m", mistakes).and_then(|text| match text.value().as_str() {
        "second" => Some(1_000),
        "minute" => Some(60_000),
        "hour" => Some(3_600_000),
        "day" => Some(86_400_000),
        _ => checked_duration(&text, "per", mistakes),
    });
    Some(RateLimit { count: count.or(requests)?, per_ms: per_ms? })
}

/// `key = "a"` or `key = ["a", "b"]`.
fn read_key(keys: &mut Keys, mistakes: &mut Mistakes) -> Option<Vec<LitStr>> {
    let fields = keys.texts("key", "card_id", mistakes)?;
    for (index, field) in fields.iter().enumerate() {
        if field_ident(field).is_none() {
            mistakes.add(field, format!("`{}` cannot be the name of a field of the input", field.value()));
        }
        if fields[..index].iter().any(|other| other.value() == field.value()) {
            mistakes.add(field, format!("the field `{}` is given twice", field.value()));
        }
    }
    Some(fields)
}

impl Options {
    /// All fields that keys name.
    fn fields(&self) -> impl Iterator<Item = &LitStr> {
        let idempotent = match &self.idempotent {
            Some(Key::Fields(fields)) => fields.as_slice(),
            _ => &[],
        };
        let concurrency = self.concurrency.as_ref().map_or(&[][..], |concurrency| concurrency.key.as_slice());
        idempotent.iter().chain(concurrency)
    }

    /// Refuses fields that the input does not have, as far as the function shows them. Of a struct, only the compiler knows.
    pub(super) fn check_fields(&self, arguments: &Arguments<'_>, mistakes: &mut Mistakes) {
        let known: Vec<String> = match arguments {
            Arguments::Own(_) => return,
            Arguments::None | Arguments::Empty(_) => Vec::new(),
            Arguments::Generated(_, fields) => fields.iter().map(|field| plain(&field.ident)).collect(),
        };
        for field in self.fields() {
            let name = field.value();
            if known.contains(&name) {
                continue;
            }
            let why = if known.is_empty() {
                "this job takes no input, so nothing in it could be a key".to_owned()
            } else {
                let near = did_you_mean(&name, known.iter().map(String::as_str));
                format!(
                    "`{name}` is not a parameter of this job{near}\nthere is {}",
                    list(known.iter().map(String::as_str))
                )
            };
            mistakes.add(field, why);
        }
    }
}
