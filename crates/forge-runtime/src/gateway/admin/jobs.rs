//! `/_api/jobs`.

use forge_core::job::JobStatus;
use forge_core::{Error, Result};
use http::Method;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::wish::{self, SaidFilter};
use super::{Desk, Wish, data, nothing};
use crate::admin::Actor;
use crate::jobs::admin::{Bulk, Verb};

/// What a job that is cancelled is told when nobody gives a reason.
const NO_REASON: &str = "somebody has called it off";

/// The longest reason, in characters.
const REASON_MAX: usize = 500;

/// What is to be done to one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct One {
    reason: Option<String>,
}

/// What is to be done to many.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Many {
    #[serde(default)]
    filter: SaidFilter,
    /// Without a filter: all of them are meant.
    #[serde(default)]
    all: bool,
    #[serde(default)]
    dry_run: bool,
    after: Option<Uuid>,
    reason: Option<String>,
}

impl Desk {
    pub(super) async fn jobs(&self, actor: &Actor, path: &[&str], mut wish: Wish) -> Result<Vec<u8>> {
        let (jobs, admin) = (&self.parts.jobs, &self.admin);
        match (&wish.method, path) {
            (&Method::GET, []) => {
                let filter = wish.words.filter()?;
                filter.check_statuses(&JobStatus::ALL)?;
                let (before, limit) = (wish.words.id("before")?, wish.words.limit()?);
                wish.words.end()?;
                data(&jobs.list(admin, &filter, before, limit).await?)
            }
            (&Method::GET, [id]) => {
                wish.words.end()?;
                data(&jobs.whole(admin, wish::id("id", id)?).await?)
            }
            (&Method::POST, [word]) => {
                let verb = Verb::named(word).ok_or_else(nothing)?;
                self.many(actor, verb, wish).await
            }
            (&Method::POST, [id, word]) => {
                let (id, verb) = (wish::id("id", id)?, Verb::named(word).ok_or_else(nothing)?);
                wish.words.end()?;
                let One { reason } = wish::body(&wish.body)?;
                let status = jobs.do_one(admin, actor, verb, id, &reason_for(verb, reason)?).await?;
                data(&json!({ "id": id, "status": status }))
            }
            _ => Err(nothing()),
        }
    }

    async fn many(&self, actor: &Actor, verb: Verb, wish: Wish) -> Result<Vec<u8>> {
        wish.words.end()?;
        let Many { filter, all, dry_run, after, reason } = wish::body(&wish.body)?;
        let filter = filter.read(wish.now)?;
        filter.check_statuses(verb.statuses())?;
        if filter.says_something() == all {
            return Err(Error::invalid_argument(
                "say which jobs are meant: `filter` with at least one of status, kind, queue, code, since, until; or `all` alone",
            ));
        }
        let (jobs, admin) = (&self.parts.jobs, &self.admin);
        let bulk = Bulk { verb, filter, after, reason: reason_for(verb, reason)? };
        if dry_run {
            return data(&json!({ "matched": jobs.count_bulk(admin, &bulk).await? }));
        }
        data(&jobs.do_bulk(admin, actor, &bulk).await?)
    }
}

fn reason_for(verb: Verb, reason: Option<String>) -> Result<String> {
    match reason {
        Some(_) if verb != Verb::Cancel => Err(Error::invalid_argument("`reason` is for those that are cancelled")),
        Some(reason) if reason.chars().count() > REASON_MAX || reason.contains('\0') => {
            Err(Error::invalid_argument(format!("`reason` has at most {REASON_MAX} characters, and no NUL")))
        }
        Some(reason) => Ok(reason),
        None => Ok(NO_REASON.to_owned()),
    }
}
