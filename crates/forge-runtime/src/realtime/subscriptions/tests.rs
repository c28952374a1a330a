//! Who is told what came of whose run.

use forge_core::auth::{AuthContext, AuthUser};
use forge_core::request::{RequestMetadata, TraceContext};

use super::*;
use crate::auth::Principal;
use crate::function::{Looked, Written, Wrote};
use crate::realtime::presence;

/// A manager, with a query and its subscribers.
struct Board {
    manager: SubscriptionManager,
    args: Arc<[u8]>,
}

impl Board {
    fn new() -> Self {
        Self { manager: SubscriptionManager::new(Roll::new(), Versions::new(None)), args: b"{}".as_slice().into() }
    }

    /// Subscribes somebody, under number 0.
    fn subscribe(&mut self, user: &str) -> Arc<Outbox> {
        let auth = if user.is_empty() { AuthContext::anonymous() } else { AuthContext::of(AuthUser::new(user)) };
        let request = RequestMetadata {
            request_id: String::new(),
            correlation_id: None,
            trace: TraceContext { trace_id: 1, span_id: 1, sampled: false },
            client_ip: None,
            user_agent: None,
        };
        let caller = Arc::new(Caller {
            principal: Arc::new(Principal { auth, expires_at: i64::MAX, session: None }),
            request: Arc::new(request),
            written: Written::default(),
            wrote: Wrote::default(),
            looked: Looked::default(),
        });
        let outbox = Outbox::new();
        let (entry, args) = (presence::entry(), self.args.clone());
        self.manager.subscribe(Subscribe { outbox: outbox.clone(), id: 0, entry, args, caller, presence: None });
        outbox
    }

    fn leave(&mut self, outbox: &Outbox) {
        self.manager.unsubscribe(&Unsubscribe { session: outbox.id, id: None });
    }

    fn group(&self, outbox: &Outbox) -> GroupId {
        self.manager.by_subscriber[&(outbox.id, 0)]
    }

    /// Begins to run somebody's group.
    fn begin(&mut self, outbox: &Outbox) -> Job {
        let id = self.group(outbox);
        self.manager.clean(id);
        self.manager.job(id, Instant::now()).expect("it is there")
    }

    /// What came of it, when the function looked at so much. Tells who may be told.
    fn end(&mut self, job: Job, looked: u8, json: &str) {
        let sight = Sight { of: job.of, looked };
        let ran = Ran { json: json.into(), sight, dependencies: Vec::new(), began: job.began };
        self.manager.ran(job.id, ran);
        self.tell();
    }

    fn fail(&mut self, job: Job, looked: u8) {
        let mut deliveries = Deliveries::default();
        let sight = Sight { of: job.of, looked };
        self.manager.refused(job.id, Error::forbidden("members only"), &sight, &mut deliveries);
        deliveries.send(0);
        self.tell();
    }

    fn tell(&mut self) {
        let mut deliveries = Deliveries::default();
        self.manager.tell(&mut deliveries);
        deliveries.send(0);
    }
}

/// What somebody has been told since the last time.
fn told(outbox: &Outbox) -> String {
    match outbox.latest(0) {
        Some(News::Result(told)) => told.json.clone(),
        Some(News::Failed(why)) => why.code().to_owned(),
        None => String::new(),
    }
}

#[test]
fn a_refusal_is_for_whom_the_function_looked_at() {
    let mut board = Board::new();
    let (visitor, ada, bob) = (board.subscribe(""), board.subscribe("ada"), board.subscribe("bob"));
    let job = board.begin(&visitor);
    board.end(job, 0, "1");
    assert_eq!([&visitor, &ada, &bob].map(|one| told(one)), ["1", "1", "1"], "they share what is public");
    let job = board.begin(&visitor);
    board.fail(job, Looked::AT_CALLER);
    assert_eq!([&visitor, &ada, &bob].map(|one| told(one)), ["FORBIDDEN", "", ""]);
    let job = board.begin(&ada);
    board.end(job, Looked::AT_CALLER, "2");
    assert_eq!([&visitor, &ada, &bob].map(|one| told(one)), ["", "2", ""]);
    let job = board.begin(&bob);
    board.fail(job, Looked::AT_REQUEST);
    assert_eq!([&visitor, &ada, &bob].map(|one| told(one)), ["", "", "FORBIDDEN"]);
    assert_eq!(board.manager.counts(), (1, 1));
    // What nobody was looked at for is for all.
    let (eve, eves) = (board.subscribe("eve"), board.subscribe("eve"));
    let job = board.begin(&eve);
    board.fail(job, 0);
    assert_eq!([&eve, &eves].map(|one| told(one)), ["FORBIDDEN", "FORBIDDEN"]);
    board.leave(&ada);
    assert_eq!(board.manager.counts(), (0, 0));
}

#[test]
fn a_result_is_for_whom_the_run_was_and_not_for_who_came_after() {
    for looked in [Looked::AT_CALLER, Looked::AT_REQUEST] {
        let mut board = Board::new();
        let (ada, bob) = (board.subscribe("ada"), board.subscribe("bob"));
        let job = board.begin(&ada);
        board.end(job, 0, "1");
        assert_eq!([&ada, &bob].map(|one| told(one)), ["1", "1"]);
        // It begins for ada, and takes its time.
        let job = board.begin(&ada);
        board.leave(&ada);
        let eve = board.subscribe("eve");
        told(&eve);
        board.end(job, looked, "what is ada's");
        assert_eq!([&bob, &eve].map(|one| told(one)), ["", ""]);
        let job = board.begin(&bob);
        board.end(job, looked, "what is bob's");
        assert_eq!([&bob, &eve].map(|one| told(one)), ["what is bob's", ""]);
    }
}

#[test]
fn who_waits_for_a_result_of_his_own_is_shown_nothing_else_meanwhile() {
    let mut board = Board::new();
    let (ada, bob) = (board.subscribe("ada"), board.subscribe("bob"));
    let job = board.begin(&ada);
    board.end(job, 0, "1");
    board.manager.measured(board.group(&ada), false);
    let job = board.begin(&ada);
    board.end(job, Looked::AT_CALLER, "what is ada's");
    // What was everybody's stands on bob's page until his own has run, slow as it is.
    assert_eq!(board.manager.unsettled(), HashSet::from([bob.id]));
    assert_eq!(board.manager.shown(board.group(&bob)), [bob.id]);
    let job = board.begin(&bob);
    board.end(job, Looked::AT_CALLER, "what is bob's");
    assert_eq!(board.manager.unsettled(), HashSet::new());
}

#[test]
fn callers_find_the_group_that_is_theirs() {
    let mut board = Board::new();
    let (ada, adas, bob) = (board.subscribe("ada"), board.subscribe("ada"), board.subscribe("bob"));
    assert_eq!(board.group(&ada), board.group(&adas), "of whom nothing different can be seen");
    assert_ne!(board.group(&ada), board.group(&bob));
    let job = board.begin(&ada);
    board.end(job, Looked::AT_CALLER, "1");
    let again = board.subscribe("ada");
    assert_eq!(board.group(&ada), board.group(&again));
    // It turns out that it does not matter on whose behalf: those who have not run yet come in, in whatever order they began.
    let visitor = board.subscribe("");
    let job = board.begin(&visitor);
    board.end(job, 0, "2");
    assert_eq!(board.group(&bob), board.group(&visitor));
    assert_eq!(board.manager.counts().1, 2);
    for one in [&ada, &adas, &bob, &again, &visitor] {
        board.leave(one);
    }
    assert_eq!(board.manager.counts(), (0, 0));
    assert!(board.manager.calls.of("forge:presence", &board.args).is_empty());
}
