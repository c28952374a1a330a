//! The heart of a node: beats, notices what each beat brings, and lets go when there is none for too long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use forge_core::{Error, Result};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::load::Meter;
use super::node::{LeaderInfo, NodeId, NodeStatus, Standing, View};
use super::store::{self, About, Beat, Says};
use super::{Cluster, LeaderGuard};
use crate::app::Stage;
use crate::config::{ClusterConfig, NodeConfig};
use crate::db::{Connection, Connector, Database, new_uuid};
use crate::observability;

/// How long to wait after a beat that failed, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// How long a node that has nothing to lose tries at least, before it does on another connection.
const PATIENCE: Duration = Duration::from_secs(1);

/// How much later than necessary to look whether something is so by then.
const SURELY: Duration = Duration::from_millis(10);

/// How long leaving may take. Who cannot leave is found to be gone.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub(crate) struct Heart {
    pub(super) cluster: Cluster,
    pub(super) config: ClusterConfig,
    pub(super) node: NodeConfig,
    connector: Connector,
    about: About,
    stage: watch::Receiver<Stage>,
    pub(super) session: Option<Arc<Connection>>,
    id: Option<NodeId>,
    /// The id that it had before it was cut off, until it has joined anew.
    before: Option<NodeId>,
    /// When the last beat that succeeded was sent.
    pub(super) last: Option<Instant>,
    meter: Meter,
    pub(super) leads: Vec<LeaderGuard>,
    /// It led when it was told to stop, and has not told the database that it does not any more.
    hands_over: bool,
}

impl Heart {
    /// The heart of a node that listens at an address, if it does, and runs a version of its app, whose jobs have these queues.
    ///
    /// # Errors
    /// When the database's URL or its TLS settings cannot be used.
    pub(crate) fn new(
        cluster: Cluster,
        database: &Database,
        (config, node): (&ClusterConfig, &NodeConfig),
        (address, version, queues): (Option<String>, &str, Vec<&'static str>),
        stage: watch::Receiver<Stage>,
    ) -> Result<Self> {
        let about = About {
            hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            address,
            roles: node.roles.iter().map(|role| role.as_str()).collect(),
            version: version.to_owned(),
            queues,
            started_at: Timestamp::now(),
        };
        let connector = database.pinned("heartbeat", &settings(config))?.impatient(config.dead_threshold);
        Ok(Self {
            cluster,
            config: config.clone(),
            node: node.clone(),
            connector,
            about,
            stage,
            session: None,
            id: None,
            before: None,
            last: None,
            meter: Meter::new(),
            leads: Vec::new(),
            hands_over: false,
        })
    }

    /// Joins once the schema is prepared, beats until told to stop, and leaves.
    pub(crate) async fn run(mut self, prepared: CancellationToken, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => return,
            () = prepared.cancelled() => {}
        }
        let (mut next, mut pause, mut failing) = (Instant::now(), PAUSE.0, false);
        loop {
            let wake = self.let_go_at().map_or(next, |at| at.min(next));
            tokio::select! {
                () = stop.cancelled() => break,
                // The server, or whatever is on the way, has ended it.
                () = ended(self.session.as_deref()) => {
                    self.lose_session();
                    next = Instant::now();
                }
                // It fails when there is no node any more that could tell; then nothing changes.
                Ok(()) = self.stage.changed() => next = Instant::now(),
                () = tokio::time::sleep_until(wake.into()) => {}
            }
            self.let_go_when_due();
            if Instant::now() < next {
                continue;
            }
            let within = self.within();
            let beaten = tokio::select! {
                () = stop.cancelled() => break,
                beaten = tokio::time::timeout(within, self.run_once()) => beaten,
            };
            let failed = match beaten {
                Ok(Ok(then)) => {
                    if std::mem::take(&mut failing) {
                        tracing::info!("this node shows again that it lives");
                    }
                    (next, pause) = (then, PAUSE.0);
                    continue;
                }
                Ok(Err(why)) => why,
                // Whatever it hangs in, a half-open connection most likely.
                Err(_) => {
                    self.lose_session();
                    Error::database_unavailable(format!("a heartbeat got no answer within {within:?}"))
                }
            };
            observability::cluster().beat_failed();
            if std::mem::replace(&mut failing, true) {
                tracing::debug!(error = ?failed, "this node still cannot show that it lives");
            } else {
                tracing::warn!(error = ?failed, "this node cannot show that it lives; trying until it can");
            }
            match &self.session {
                Some(session) if session.is_closed() => self.lose_session(),
                // A migration may have changed what they stand on.
                Some(session) => session.forget_statements(),
                None => {}
            }
            next = Instant::now() + pause;
            pause = (pause * 2).min(PAUSE.1);
        }
        self.leave().await;
    }

    /// Beats once, joining before if needed. Returns when to do so again.
    ///
    /// # Errors
    /// When the database cannot be reached, or refuses a statement.
    pub(crate) async fn run_once(&mut self) -> Result<Instant> {
        let asked_at = Instant::now();
        let status = match *self.stage.borrow() {
            Stage::Starting => NodeStatus::Joining,
            Stage::Ready => NodeStatus::Active,
            Stage::Stopping => NodeStatus::Draining,
        };
        if status == NodeStatus::Draining {
            self.stop_taking();
        }
        let session = self.session().await?;
        let says = self.says(status, asked_at);
        let id = match self.id {
            Some(id) => id,
            None => self.join(&session, &says, asked_at).await?,
        };
        if std::mem::take(&mut self.hands_over) {
            store::resign(&session, id).await?;
        }
        let beat = store::beat(&session, id, &says, &self.config).await?;
        if !beat.counts {
            self.cut_off("other nodes have taken it for dead: it was silent for too long");
            return Ok(Instant::now());
        }
        self.last = Some(asked_at);
        self.cluster.0.clock.told(beat.now, asked_at);
        self.keep(&session, &beat, asked_at);
        let standing = match status {
            NodeStatus::Joining | NodeStatus::Dead => Standing::Joining,
            NodeStatus::Active => Standing::Active(id),
            NodeStatus::Draining => Standing::Draining(id),
        };
        self.stand(standing);
        if beat.drain && !self.cluster.asked_to_drain().is_cancelled() {
            tracing::info!(node = %id, "somebody has asked this node to drain");
            self.cluster.asked_to_drain().cancel();
        }
        for died in &beat.died {
            tracing::warn!(node = %died, "a node is dead: what it had is given to others");
            self.tell_death(*died);
        }
        let elected = match status {
            NodeStatus::Active => self.elect(&session, id, &beat, asked_at).await,
            NodeStatus::Joining | NodeStatus::Draining | NodeStatus::Dead => Ok(None),
        };
        let ripe = self.next_death(&beat);
        self.publish(id, &says, beat);
        let soonest = [elected?, ripe].into_iter().flatten().min();
        Ok(asked_at + soonest.map_or(self.config.heartbeat_interval, |soon| soon.min(self.config.heartbeat_interval)))
    }

    /// What this node says of itself now.
    fn says(&mut self, status: NodeStatus, now: Instant) -> Says {
        Says {
            status,
            connections: observability::http_connections(),
            jobs: self.cluster.0.jobs.now(),
            cpu: self.meter.cpu(),
            memory: self.meter.memory(),
            capabilities: self.cluster.capabilities(),
            completed: serde_json::json!(self.cluster.last_minute()).to_string(),
            since_last: self.last.map_or(Duration::ZERO, |last| now - last),
            leads: self.leads.iter().map(|guard| (guard.role(), guard.term())).collect(),
        }
    }

    async fn session(&mut self) -> Result<Arc<Connection>> {
        if let Some(session) = &self.session {
            return Ok(session.clone());
        }
        let session = Arc::new(self.connector.connect().await?);
        if session.is_pooled() {
            /// Said once: it does not change while the program runs.
            static TOLD: std::sync::Once = std::sync::Once::new();
            TOLD.call_once(|| tracing::warn!(
                "this node reaches the database through a pooler alone (DATABASE_NOT_DIRECT). What works: it joins, beats, and may lead. What does not: \
                 that it has ended is noticed only after cluster.dead_threshold, not at once, and it does not hear what other nodes say, so that it finds \
                 new work by looking for it now and then. Set database.direct_url to the address of the PostgreSQL server itself"
            ));
        }
        self.session = Some(session.clone());
        Ok(session)
    }

    async fn join(&mut self, session: &Connection, says: &Says, asked_at: Instant) -> Result<NodeId> {
        let id = new_uuid();
        store::join(session, id, self.before, &self.about, says, self.config.let_go_after()).await?;
        (self.id, self.last) = (Some(id), Some(asked_at));
        observability::cluster().joined();
        tracing::info!(node = %id, "joined the cluster");
        if let Some(before) = self.before.take() {
            self.tell_death(before);
        }
        Ok(id)
    }

    /// Whoever looks for the work of the dead may not listen; then it sweeps.
    fn tell_death(&self, id: NodeId) {
        let _ = self.cluster.0.died.send(id);
    }

    fn stand(&self, standing: Standing) {
        self.cluster.0.standing.send_if_modified(|was| std::mem::replace(was, standing) != standing);
    }

    /// The session is gone, or given up. With it goes the lock of whatever this node led.
    pub(super) fn lose_session(&mut self) {
        self.revoke_all("its session with the database has ended");
        self.session = None;
    }

    /// It is told to stop: whatever the database has to say, nothing new is begun.
    fn stop_taking(&mut self) {
        self.hands_over |= !self.leads.is_empty();
        self.revoke_all("it is told to stop");
        if let Some(id) = self.id {
            self.stand(Standing::Draining(id));
        }
    }

    fn let_go_at(&self) -> Option<Instant> {
        self.id.and(self.last).map(|last| last + self.config.let_go_after())
    }

    fn let_go_when_due(&mut self) {
        if self.let_go_at().is_some_and(|at| at <= Instant::now()) {
            self.cut_off("it could not reach the database for too long");
        }
    }

    /// How long the next beat may take: not longer than until it is time to let go.
    fn within(&self) -> Duration {
        let within = self.config.beat_within();
        match self.let_go_at() {
            Some(at) => within.min(at.saturating_duration_since(Instant::now())),
            None => within.max(PATIENCE),
        }
    }

    /// Lets go of everything: this node does not count any more, or soon will not.
    fn cut_off(&mut self, why: &str) {
        tracing::warn!(node = ?self.id, "this node stops working for now: {why}; it joins again as soon as it can");
        self.revoke_all(why);
        self.stand(Standing::CutOff);
        if let Some(id) = self.id.take() {
            self.before = Some(id);
            observability::cluster().left();
        }
        self.last = None;
    }

    /// In how long a node whose session has ended can be marked dead, if one is to be.
    fn next_death(&self, beat: &Beat) -> Option<Duration> {
        let within = self.config.reconnect_within();
        let gone = beat.nodes.iter().filter(|node| node.gone && !beat.died.contains(&node.id));
        gone.map(|node| within.saturating_sub(node.silent_for) + SURELY).min()
    }

    /// Shows what the beat has brought, with what it has changed.
    fn publish(&self, id: NodeId, says: &Says, beat: Beat) {
        let Beat { mut nodes, seats, died, now, .. } = beat;
        for node in &mut nodes {
            if died.contains(&node.id) {
                node.status = NodeStatus::Dead;
            }
            if node.id == id {
                let count = |n: i32| u32::try_from(n).unwrap_or(0);
                (node.status, node.last_heartbeat, node.silent_for) = (says.status, now, Duration::ZERO);
                (node.connections, node.jobs, node.jobs_max) =
                    (count(says.connections), count(says.jobs.0), count(says.jobs.1));
                (node.cpu, node.memory) = (says.cpu, u64::try_from(says.memory).unwrap_or(0));
                node.capabilities.clone_from(&says.capabilities);
            }
        }
        let mine = self.leads.iter().filter(|guard| guard.holds());
        let mine = mine.map(|guard| LeaderInfo { role: guard.role(), node: id, term: guard.term(), since: guard.since() });
        let mut leaders: Vec<LeaderInfo> = mine.collect();
        for seat in seats {
            if let (Some(role), Some(node), Some(term), Some(since)) =
                (seat.role, seat.node_id, seat.term, seat.acquired_at)
                && seat.lease_left_ms.is_some_and(|left| left > 0)
                && node != id
                && !leaders.iter().any(|leader| leader.role == role)
            {
                leaders.push(LeaderInfo { role, node, term, since });
            }
        }
        observability::cluster().seen(&nodes);
        self.cluster.0.view.send_replace(Arc::new(View { me: Some(id), nodes, leaders, seen_at: Some(now) }));
    }

    pub(super) async fn leave(&mut self) {
        self.revoke_all("it is told to stop");
        let Some(id) = self.id else { return };
        let leaving = async {
            let session = self.session().await?;
            store::leave(&session, id).await
        };
        match tokio::time::timeout(LEAVE_WITHIN, leaving).await {
            Ok(Ok(())) => {
                observability::cluster().left();
                tracing::info!(node = %id, "left the cluster");
            }
            Ok(Err(_)) | Err(_) => tracing::debug!("the others will find out by themselves that this node has stopped"),
        }
    }
}

async fn ended(session: Option<&Connection>) {
    match session {
        Some(session) => session.ended().cancelled().await,
        None => std::future::pending().await,
    }
}

/// Settings of the session: the server is to notice as well when nobody is there any more, and no statement may wait for longer than a
/// beat may take.
fn settings(config: &ClusterConfig) -> Vec<(&'static str, String)> {
    let ms = |duration: Duration| duration.as_millis().max(1).to_string();
    let third_s = (config.dead_threshold / 3).as_secs().max(1).to_string();
    vec![
        // Before this side gives up. A commit that waits for a standby is then done, and is told so.
        ("statement_timeout", ms(config.beat_within() * 3 / 4)),
        ("lock_timeout", ms(config.beat_within() / 2)),
        ("idle_session_timeout", "0".to_owned()),
        ("tcp_user_timeout", ms(config.dead_threshold)),
        ("tcp_keepalives_idle", third_s.clone()),
        ("tcp_keepalives_interval", third_s),
        ("tcp_keepalives_count", "2".to_owned()),
    ]
}
