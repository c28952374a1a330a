//! The statements of the cluster, all of which run on the session that a node beats with.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use forge_core::{Error, Result};
use jiff::Timestamp;
use postgres_types::FromSqlOwned;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use super::node::{LeaderRole, NodeId, NodeInfo, NodeStatus};
use crate::config::ClusterConfig;
use crate::db::error::from_driver;
use crate::db::{Connection, Shape};

/// How many nodes a view has at most, those that died last of all.
const NODES_MAX: i64 = 1_000;

/// The key of a role's lock, from its class.
macro_rules! key {
    () => {
        "($1::int8 << 32) + 'forge_leaders'::regclass::oid::int8"
    };
}

static JOIN: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of(include_str!("sql/join.sql")));
static BEAT: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of(include_str!("sql/beat.sql")));
static CLAIM: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of(include_str!("sql/claim.sql")));
static RESIGN: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of(include_str!("sql/resign.sql")));
static LEAVE: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of(include_str!("sql/leave.sql")));
static LOCK: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of(concat!("SELECT pg_try_advisory_lock(", key!(), ")")));
static UNLOCK: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of(concat!("SELECT pg_advisory_unlock(", key!(), ")")));
static TERMINATE: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of(include_str!("sql/terminate.sql")));

/// What a node says of itself when it joins.
#[derive(Debug, Clone)]
pub(super) struct About {
    pub(super) hostname: String,
    pub(super) address: Option<String>,
    pub(super) roles: Vec<&'static str>,
    pub(super) version: String,
    /// Those of its app's jobs.
    pub(super) queues: Vec<&'static str>,
    pub(super) started_at: Timestamp,
}

/// What a node says with every beat.
#[derive(Debug)]
pub(super) struct Says {
    pub(super) status: NodeStatus,
    pub(super) connections: i32,
    pub(super) jobs: (i32, i32),
    pub(super) cpu: f32,
    pub(super) memory: i64,
    pub(super) capabilities: Vec<String>,
    /// How many jobs it has completed within the last minute: an object, by queue.
    pub(super) completed: String,
    /// How long ago its last beat was, by its own clock.
    pub(super) since_last: Duration,
    /// What it leads, and in which terms.
    pub(super) leads: Vec<(LeaderRole, i64)>,
}

/// What a beat brings.
#[derive(Debug)]
pub(super) struct Beat {
    /// False when others have declared this node dead.
    pub(super) counts: bool,
    /// Somebody has asked this node to drain.
    pub(super) drain: bool,
    /// Whom this beat has marked dead.
    pub(super) died: Vec<NodeId>,
    /// Which leases it has renewed.
    pub(super) renewed: Vec<LeaderRole>,
    pub(super) now: Timestamp,
    /// As they were before.
    pub(super) nodes: Vec<NodeInfo>,
    /// As they were before.
    pub(super) seats: Vec<Seat>,
}

/// How it is with a role.
#[derive(Debug, Deserialize)]
pub(super) struct Seat {
    #[serde(deserialize_with = "named")]
    pub(super) role: Option<LeaderRole>,
    pub(super) node_id: Option<NodeId>,
    /// None when nobody has ever led.
    pub(super) term: Option<i64>,
    pub(super) acquired_at: Option<Timestamp>,
    pub(super) locked: Option<bool>,
    pub(super) lease_left_ms: Option<i64>,
    /// Whose session has the lock.
    pub(super) lock_pid: Option<i32>,
    pub(super) lock_mine: Option<bool>,
}

fn named<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<LeaderRole>, D::Error> {
    Ok(LeaderRole::named(&String::deserialize(from)?))
}

/// Joins under an id; the one before is dead from then on.
pub(super) async fn join(
    session: &Connection,
    id: NodeId,
    before: Option<NodeId>,
    about: &About,
    says: &Says,
    let_go_after: Duration,
) -> Result<()> {
    let status = NodeStatus::Joining.as_str();
    let version = env!("CARGO_PKG_VERSION");
    let row: crate::db::Params<'_> = &[
        &id,
        &about.hostname,
        &about.address,
        &about.roles,
        &says.capabilities,
        &status,
        &about.version,
        &version,
        &about.started_at,
        &before,
        &about.queues,
        &let_go_after.as_secs_f64(),
    ];
    session.query(&JOIN, row).await.map(drop).map_err(from_driver)
}

/// Beats. See the statement.
pub(super) async fn beat(session: &Connection, id: NodeId, says: &Says, config: &ClusterConfig) -> Result<Beat> {
    let roles: Vec<&str> = LeaderRole::ALL.iter().map(|role| role.as_str()).collect();
    let classes: Vec<i64> = LeaderRole::ALL.iter().map(|role| role.lock_class()).collect();
    let (led, terms): (Vec<&str>, Vec<i64>) = says.leads.iter().map(|(role, term)| (role.as_str(), *term)).unzip();
    let row: crate::db::Params<'_> = &[
        &id,
        &says.status.as_str(),
        &says.connections,
        &says.jobs.0,
        &says.jobs.1,
        &says.cpu,
        &says.memory,
        &says.capabilities,
        &session.is_pooled(),
        &says.since_last.as_secs_f64(),
        &config.dead_threshold.as_secs_f64(),
        &config.reconnect_within().as_secs_f64(),
        &roles,
        &classes,
        &led,
        &terms,
        &config.lease().as_secs_f64(),
        &NODES_MAX,
        &says.completed,
    ];
    let answer = session.query(&BEAT, row).await.map_err(from_driver)?;
    let row = answer.rows.first().ok_or_else(|| Error::internal("a beat has no answer"))?;
    let renewed: Vec<String> = get(row, 2)?;
    Ok(Beat {
        counts: get(row, 0)?,
        died: get(row, 1)?,
        renewed: renewed.iter().filter_map(|role| LeaderRole::named(role)).collect(),
        now: get(row, 3)?,
        nodes: list(row, 4)?,
        seats: list(row, 5)?,
        drain: get(row, 6)?,
    })
}

/// Takes the lock of a role, if nobody has it.
pub(super) async fn lock(session: &Connection, role: LeaderRole) -> Result<bool> {
    let answer = session.query(&LOCK, &[&role.lock_class()]).await.map_err(from_driver)?;
    answer.rows.first().map_or(Ok(false), |row| get(row, 0))
}

/// Gives the lock of a role back.
pub(super) async fn unlock(session: &Connection, role: LeaderRole) -> Result<()> {
    session.query(&UNLOCK, &[&role.lock_class()]).await.map(drop).map_err(from_driver)
}

/// Takes a role. Returns the term, and whether the leader before had not resigned; nothing when the role is not free, or somebody still
/// writes under the old term.
pub(super) async fn claim(
    session: &Connection,
    role: LeaderRole,
    id: NodeId,
    lease: Duration,
) -> Result<Option<(i64, bool)>> {
    let claimed = session.query(&CLAIM, &[&role.as_str(), &id, &lease.as_secs_f64(), &!session.is_pooled()]).await;
    let answer = match claimed {
        Err(why) if why.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => return Ok(None),
        claimed => claimed.map_err(from_driver)?,
    };
    answer.rows.first().map(|row| Ok((get(row, 0)?, get(row, 1)?))).transpose()
}

/// Hands over whatever it leads, and gives its locks back.
pub(super) async fn resign(session: &Connection, id: NodeId) -> Result<()> {
    session.query(&RESIGN, &[&id, &!session.is_pooled()]).await.map(drop).map_err(from_driver)
}

/// What became of an attempt to end the session of a leader whose lease is over.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Terminated {
    Done,
    /// There is none any more.
    Gone,
    /// It belongs to another database user.
    Refused,
}

/// Ends the session that has the lock of a role, if its lease is over.
pub(super) async fn terminate(session: &Connection, role: LeaderRole, pid: i32) -> Result<Terminated> {
    match session.query(&TERMINATE, &[&role.as_str(), &role.lock_class(), &pid]).await {
        Ok(answer) if answer.rows.is_empty() => Ok(Terminated::Gone),
        Ok(_) => Ok(Terminated::Done),
        Err(why) if why.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Ok(Terminated::Refused),
        Err(why) => Err(from_driver(why)),
    }
}

/// Leaves for good.
pub(super) async fn leave(session: &Connection, id: NodeId) -> Result<()> {
    session.query(&LEAVE, &[&id]).await.map(drop).map_err(from_driver)
}

fn get<T: FromSqlOwned>(row: &Row, at: usize) -> Result<T> {
    row.try_get(at).map_err(from_driver)
}

fn list<T: DeserializeOwned>(row: &Row, at: usize) -> Result<Vec<T>> {
    let text: Option<String> = get(row, at)?;
    Ok(text.map_or(Ok(Vec::new()), |text| serde_json::from_str(&text))?)
}
