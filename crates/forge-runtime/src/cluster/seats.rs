//! The part of the heart that leads: keeps what it has, and takes what is free.

use std::sync::Arc;
use std::time::{Duration, Instant};

use forge_core::Result;
use jiff::Timestamp;

use super::heart::Heart;
use super::leader::LeaderGuard;
use super::node::{LeaderRole, NodeId};
use super::store::{self, Beat, Seat, Terminated};
use crate::db::Connection;
use crate::observability;

/// How soon to look again once the session of a leader whose lease is over was ended, or somebody still wrote under the old term.
const SOON: Duration = Duration::from_millis(50);

impl Heart {
    /// Notes which leases were renewed, and lets go of what others have, or whose lock is gone.
    pub(super) fn keep(&mut self, session: &Connection, beat: &Beat, asked_at: Instant) {
        let mut kept = Vec::new();
        for guard in std::mem::take(&mut self.leads) {
            let seat = beat.seats.iter().find(|seat| seat.role == Some(guard.role()));
            let mine =
                seat.is_some_and(|seat| seat.is_led_by(&guard) && (session.is_pooled() || seat.lock_mine == Some(true)));
            if beat.renewed.contains(&guard.role()) {
                guard.renewed(asked_at);
                kept.push(guard);
            } else if mine && guard.holds() {
                // Somebody writes under it at this moment, so the row was left alone.
                kept.push(guard);
            } else {
                // If it is the row that was lost, and not the lock: see `elect`.
                self.revoke(&guard, "somebody else leads now, or its lock is gone");
            }
        }
        self.leads = kept;
    }

    /// Takes what is free. Returns in how long to look again, if that is to be soon.
    pub(super) async fn elect(
        &mut self,
        session: &Arc<Connection>,
        id: NodeId,
        beat: &Beat,
        asked_at: Instant,
    ) -> Result<Option<Duration>> {
        let mut soonest = None;
        for seat in &beat.seats {
            let Some(role) = seat.role else { continue };
            let leads = self.leads.iter().any(|guard| guard.role() == role);
            if leads || !self.node.has(role.candidates()) {
                continue;
            }
            let soon = self.stand_for(session, (role, seat), id, (asked_at, beat.now)).await?;
            soonest = soonest.into_iter().chain(soon).min();
        }
        Ok(soonest)
    }

    async fn stand_for(
        &mut self,
        session: &Connection,
        (role, seat): (LeaderRole, &Seat),
        id: NodeId,
        (asked_at, now): (Instant, Timestamp),
    ) -> Result<Option<Duration>> {
        let left_ms = seat.lease_left_ms.unwrap_or(-1);
        let free = seat.node_id.is_none() || left_ms < 0;
        match seat.lock_pid {
            Some(pid) if seat.lock_mine != Some(true) => {
                let lease_ms = i64::try_from(self.config.lease().as_millis()).unwrap_or(i64::MAX);
                // One that has resigned, or that has the lock and not yet the row, gets a lease's time more.
                let over = if seat.node_id.is_some() { left_ms < 0 } else { left_ms < -lease_ms };
                if !over {
                    // It may be over before the next beat.
                    return Ok(u64::try_from(left_ms).ok().map(|left| Duration::from_millis(left) + SOON));
                }
                return self.end_session(session, role, pid).await;
            }
            // The leader never had a lock, or a lock says nothing here. Had it one that nobody has now, then its session has ended.
            None if !free && (seat.locked != Some(true) || session.is_pooled()) => {
                return Ok(u64::try_from(left_ms).ok().map(|left| Duration::from_millis(left) + SOON));
            }
            // Its own: taken by a beat that got no further, or left over when the row was lost.
            None | Some(_) => {}
        }
        let locked = session.is_pooled() || seat.lock_mine == Some(true) || store::lock(session, role).await?;
        if !locked {
            return Ok(None);
        }
        match store::claim(session, role, id, self.config.lease()).await? {
            Some((term, failover)) => {
                self.lead(LeaderGuard::new((role, id), (term, now), asked_at, self.config.lease()), failover);
                Ok(None)
            }
            None => {
                if !session.is_pooled() {
                    store::unlock(session, role).await?;
                }
                Ok(Some(SOON))
            }
        }
    }

    async fn end_session(&self, session: &Connection, role: LeaderRole, pid: i32) -> Result<Option<Duration>> {
        match store::terminate(session, role, pid).await? {
            Terminated::Done => {
                tracing::warn!(role = role.as_str(), pid, "the leader's lease is over: its session was ended");
                Ok(Some(SOON))
            }
            Terminated::Gone => Ok(Some(SOON)),
            Terminated::Refused => {
                tracing::error!(
                    role = role.as_str(),
                    pid,
                    "the leader's lease is over, but its session cannot be ended, so nobody can lead: it belongs to another database user. Let all \
                     nodes connect as the same one, or GRANT pg_signal_backend to it; until then end the session by hand: SELECT pg_terminate_backend({pid})"
                );
                Ok(None)
            }
        }
    }

    fn lead(&mut self, guard: LeaderGuard, failover: bool) {
        tracing::info!(role = guard.role().as_str(), term = guard.term(), failover, "this node leads");
        observability::cluster().elected(guard.role(), failover);
        self.cluster.seat(guard.role()).send_replace(Some(guard.clone()));
        self.leads.push(guard);
    }

    fn revoke(&self, guard: &LeaderGuard, why: &str) {
        guard.revoke();
        self.cluster.seat(guard.role()).send_replace(None);
        observability::cluster().deposed(guard.role());
        tracing::info!(role = guard.role().as_str(), term = guard.term(), "this node leads no longer: {why}");
    }

    /// Stops leading, whatever the database knows of it.
    pub(super) fn revoke_all(&mut self, why: &str) {
        for guard in std::mem::take(&mut self.leads) {
            self.revoke(&guard, why);
        }
    }
}

impl Seat {
    fn is_led_by(&self, guard: &LeaderGuard) -> bool {
        self.node_id == Some(guard.node()) && self.term == Some(guard.term())
    }
}
