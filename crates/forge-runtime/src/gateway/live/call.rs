//! `call`: a session's calls, each in a task of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use forge_core::{Error, Result};
use serde_json::value::RawValue;

use super::{message, session, standing};
use crate::app::NodeParts;
use crate::function::{Answer, Call, Caller};
use crate::realtime::{Acknowledge, Outbox};

/// How many calls of one session are under way at a time, or answered and the answer not yet taken.
const CALLS_MAX: usize = 16;

/// A message `call`.
#[derive(Debug)]
pub(super) struct Wish {
    /// The client's number for it.
    pub(super) id: u64,
    pub(super) function: String,
    pub(super) args: Option<Box<RawValue>>,
    pub(super) mutation_id: Option<String>,
}

/// The calls of a session that are under way.
#[derive(Debug, Default)]
pub(super) struct Calls(Arc<AtomicUsize>);

impl Calls {
    /// Begins a call, which is answered in the outbox.
    pub(super) fn begin(&self, wish: Wish, caller: Arc<Caller>, outbox: &Arc<Outbox>, parts: &NodeParts) {
        // Only here are there more of them, one message after the other.
        if self.0.load(Ordering::Relaxed) + outbox.replies() >= CALLS_MAX {
            let why = Error::rate_limited(format!("a session has at most {CALLS_MAX} calls under way"), 1);
            return outbox.say(message::refusal(wish.id, &why));
        }
        let (under_way, outbox, parts) = (self.0.clone(), outbox.clone(), parts.clone());
        under_way.fetch_add(1, Ordering::Relaxed);
        // It ends with its own time-out at the latest, also when the client goes away: what it has begun is finished.
        tokio::spawn(async move {
            let (id, request) = (wish.id, caller.request.clone());
            let reply = match run(wish, caller, &outbox, &parts).await {
                Ok(answer) => {
                    let data = String::from_utf8_lossy(&answer.json);
                    let position = answer.position.map(|at| format!(",\"position\":\"{at}\"")).unwrap_or_default();
                    format!("{{\"type\":\"reply\",\"id\":{id},\"data\":{data}{position}}}")
                }
                Err(why) => {
                    session::log(&why, &request);
                    message::refusal(id, &why)
                }
            };
            outbox.reply(reply);
            under_way.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

async fn run(wish: Wish, caller: Arc<Caller>, outbox: &Arc<Outbox>, parts: &NodeParts) -> Result<Answer> {
    // The connection may be older than the end of what it was opened with. As over HTTP, each call is looked at; so an answer is always
    // that to a call which began while it was allowed to.
    standing::check(&caller.principal, &parts.accounts.revocations).await?;
    let args = wish.args.as_ref().map_or("{}", |args| args.get()).as_bytes();
    let acknowledge = wish.mutation_id.as_ref().map(|mutation| Acknowledge {
        live: parts.live.clone(),
        outbox: outbox.clone(),
        mutation: mutation.clone(),
    });
    let call = Call { function: &wish.function, args, caller, mutation_id: wish.mutation_id, acknowledge };
    parts.executor.call(call).await
}
