//! What happens around jobs: queues are paused, workers die, time passes, dead letters are put back, keys get places.

use forge_core::job::JobStatus;

use super::*;

impl World<'_> {
    pub(super) async fn pause(&mut self) -> Outcome {
        let queue = self.dice.pick(&KINDS).queue;
        let paused = self.model.paused.insert(queue);
        if !paused {
            self.model.paused.remove(queue);
        }
        self.tell(if paused { "pause" } else { "resume" }, queue.to_owned());
        let text = "INSERT INTO forge_job_queues (queue, paused) VALUES ($1, $2) ON CONFLICT (queue) DO UPDATE SET paused = excluded.paused";
        self.place.client.execute(text, &[&queue, &paused]).await.map_err(broken)?;
        // Whoever has asked for what was paused finds it with the next look.
        self.workers.iter_mut().for_each(|worker| worker.blind |= !paused);
        Ok(())
    }

    pub(super) async fn join(&mut self) -> Outcome {
        let id = self.id();
        let text = "INSERT INTO forge_nodes (id, hostname, roles, capabilities, status, version, forge_version, started_at) \
                    VALUES ($1, 'here', '{}', '{}', 'active', '1', '1', now())";
        self.place.client.execute(text, &[&id]).await.map_err(broken)?;
        let lanes = Lanes::new(KINDS.iter().map(|kind| LaneKind { kind: kind.name, queue: kind.queue }));
        self.workers.push(Worker { id, lanes, blind: true, has: Vec::new() });
        Ok(())
    }

    /// A worker is taken for dead. It may not know.
    pub(super) async fn crash(&mut self) -> Outcome {
        let worker = self.workers.remove(self.dice.below(self.workers.len()));
        self.tell("crash", worker.id.to_string());
        // Its row may have been swept away before anybody looks.
        let gone = self.dice.chance(30);
        // It may be alive, and join anew.
        let cut_off = !gone && self.dice.chance(30);
        let text = if gone {
            "DELETE FROM forge_nodes WHERE id = $1"
        } else if cut_off {
            self.model.cut_off.insert(worker.id);
            "UPDATE forge_nodes SET status = 'dead', cut_off = true WHERE id = $1"
        } else {
            "UPDATE forge_nodes SET status = 'dead' WHERE id = $1"
        };
        self.place.client.execute(text, &[&worker.id]).await.map_err(broken)?;
        self.model.dead.insert(worker.id);
        self.ghosts.push(worker);
        self.join().await
    }

    /// Somebody dead writes down how its jobs ended: before they are taken from it, or after that.
    pub(super) async fn haunt(&mut self) -> Outcome {
        let with: Vec<usize> = (0..self.ghosts.len()).filter(|n| !self.ghosts[*n].has.is_empty()).collect();
        if with.is_empty() {
            return Ok(());
        }
        let n = *self.dice.pick(&with);
        let held = self.ghosts[n].has.remove(0);
        self.tell("haunt", format!("{} by {}", held.job.id, held.job.worker));
        let one = self.how(held)?;
        self.write(vec![one]).await
    }

    pub(super) async fn take_over(&mut self) -> Outcome {
        self.tell("take over", String::new());
        self.model.take_over();
        let answer = self.ask(&TAKE_OVER, &[&CRASHES_MAX, &HOUR_US, &"JOB_POISON", &json!({ "letter": 0 })]).await?;
        let mut wakes = Vec::new();
        for row in &answer.rows {
            let (kind, at): (String, Option<Timestamp>) = (get(row, 1).map_err(broken)?, get(row, 3).map_err(broken)?);
            match (row.get::<_, Option<String>>(4), at) {
                (Some(key), _) => wakes.push(Wake::Held { kind, key }),
                (None, Some(at)) => wakes.push(Wake::Ready { kind: kind.into(), priority: row.get(2), at }),
                (None, None) => *self.counts.entry("take over: poison").or_default() += 1,
            }
        }
        self.wake(wakes).await
    }

    /// Dead letters are put back: one of them, or all.
    pub(super) async fn retry(&mut self) -> Outcome {
        let letters = self.model.letters();
        if letters.is_empty() {
            return Ok(());
        }
        let one = *self.dice.pick(&letters);
        let (these, after, last) = if self.dice.chance(30) {
            (letters, Uuid::nil(), Uuid::max())
        } else {
            (vec![one], Uuid::from_u128(one.as_u128() - 1), one)
        };
        let (nothing, never) = (None::<&str>, None::<Timestamp>);
        let answer = self.ask(&RETRY, &[&nothing, &nothing, &nothing, &never, &never, &after, &last, &1000_i64]).await?;
        let right = self.model.retry(&these);
        self.tell("retry", format!("{these:?}: {right:?}"));
        let (mut back, mut wakes) = (BTreeSet::new(), Vec::new());
        for row in &answer.rows {
            if let Some(looked_at) = row.get::<_, Option<i64>>(5) {
                if looked_at != these.len() as i64 {
                    return Err(format!("{looked_at} dead letters were looked at, not {}", these.len()));
                }
                continue;
            }
            back.insert(row.get::<_, Uuid>(0));
            let kind: String = row.get(1);
            wakes.push(match row.get::<_, Option<String>>(4) {
                Some(key) => Wake::Held { kind, key },
                None => Wake::Ready { kind: kind.into(), priority: row.get(2), at: get(row, 3).map_err(broken)? },
            });
        }
        if back != right {
            return Err(format!("{back:?} were put back, not {right:?}"));
        }
        if back.len() < these.len() {
            *self.counts.entry("retry: a key that is taken").or_default() += 1;
        }
        self.wake(wakes).await
    }

    /// Time passes, and what is due becomes ready.
    pub(super) async fn travel(&mut self) -> Outcome {
        let hours = 1 + self.dice.below(2) as u32;
        self.model.hour += i64::from(hours);
        self.jobs.cluster().clock().advance(HOUR * hours);
        self.tell("travel", format!("to hour {}", self.model.hour));
        if self.dice.chance(20) {
            return Ok(());
        }
        self.model.promote();
        let answer = self.ask(&PROMOTE, &[&self.shift(), &PROMOTE_MAX]).await?;
        let mut wakes = Vec::new();
        for row in &answer.rows {
            match row.get::<_, Option<String>>(0) {
                Some(kind) if row.get::<_, i16>(2) == 0 => {
                    wakes.push(Wake::Ready { kind: kind.into(), priority: row.get(1), at: get(row, 3).map_err(broken)? });
                }
                Some(kind) => wakes.push(Wake::Held { kind, key: row.get::<_, Option<String>>(4).unwrap_or_default() }),
                None => self.due(row.get(5))?,
            }
        }
        *self.counts.entry("travel: some are due").or_default() += usize::from(!wakes.is_empty());
        self.wake(wakes).await
    }

    /// What is asked rather than done, and the keys that somebody waits for.
    pub(super) async fn look_around(&mut self) -> Outcome {
        let idle: bool = self.ask(&IDLE, &[&self.shift()]).await?.rows[0].get(0);
        if idle != self.model.is_idle() {
            return Err(format!("that nothing is left to do is {idle}"));
        }
        let known = self.model.known();
        for found in self.jobs.status(&known).await.map_err(broken)? {
            let right = self.model.status(found.id);
            let said = match found.status {
                JobStatus::Pending | JobStatus::Retry => "waiting",
                JobStatus::DeadLetter => "dead",
                other => other.as_str(),
            };
            if right != Some(said) {
                return Err(format!("{} is said to be {said}, not {right:?}", found.id));
            }
        }
        let limits = KINDS.iter().filter_map(|kind| Some((kind.name.to_owned(), kind.limit?.into())));
        let limits = Value::Object(limits.collect());
        let answer = self.ask(&HELD, &[&"", &"", &100_i32, &limits]).await?;
        for row in &answer.rows {
            let (kind, key, free): (&str, &str, bool) = (row.get(0), row.get(1), row.get(2));
            if free != (self.model.waiting_for(kind, key).0 > 0) {
                return Err(format!("that {kind} {key} has a place is {free}"));
            }
        }
        let held: Vec<(String, String)> = answer.rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let waits =
            |job: &Job| (job.state == State::Held).then(|| (job.kind.name.to_owned(), job.key.clone().unwrap_or_default()));
        let right: BTreeSet<(String, String)> = self.model.live.values().filter_map(waits).collect();
        if held.iter().cloned().collect::<BTreeSet<_>>() != right || held.len() != right.len() {
            return Err(format!("{held:?} are waited for, not {right:?}"));
        }
        self.tell("look around", format!("{held:?}"));
        for (kind, key) in held {
            self.release(&kind, &key).await?;
        }
        Ok(())
    }

    /// Lets jobs of a key in, and sees that the right ones were.
    pub(super) async fn release(&mut self, kind: &str, key: &str) -> Outcome {
        let (room, held) = self.model.waiting_for(kind, key);
        let Some(limit) = KINDS.iter().find(|one| one.name == kind).and_then(|kind| kind.limit) else { return Ok(()) };
        self.ask(&RELEASE_LOCK, &[&vec![kind], &vec![key]]).await?;
        let answer = self.ask(&RELEASE, &[&kind, &key, &(limit as i64)]).await?;
        for row in &answer.rows {
            let (priority, at) = (row.get(0), get(row, 1).map_err(broken)?);
            self.workers.iter_mut().for_each(|worker| worker.lanes.wake(kind, priority, at));
        }
        // Which they were is seen in the table: of several with one place, any may be.
        let text = "SELECT id FROM forge_jobs WHERE id = ANY ($1) AND state = 0";
        let rows = self.place.client.query(text, &[&held]).await.map_err(broken)?;
        let released: BTreeSet<Uuid> = rows.iter().map(|row| row.get(0)).collect();
        if released.len() != room.min(held.len()) || released.len() != answer.rows.len() {
            return Err(format!(
                "{} of {} that waited for {kind} {key} were let in, with room for {room}",
                released.len(),
                held.len()
            ));
        }
        let place = self.model.place();
        let order = |job: &Job| (std::cmp::Reverse(job.priority), job.place);
        let last = released.iter().filter_map(|id| self.model.live.get(id)).map(order).max();
        let passed =
            held.iter().filter(|id| !released.contains(*id)).filter_map(|id| self.model.live.get(id)).map(order).min();
        if let (Some(last), Some(passed)) = (last, passed)
            && passed < last
        {
            return Err(format!(
                "of those that waited for {kind} {key}, one at {last:?} was let in before one at {passed:?}"
            ));
        }
        if !released.is_empty() {
            self.tell("release", format!("{kind} {key}: {released:?}"));
        }
        for id in released {
            if let Some(job) = self.model.live.get_mut(&id) {
                (job.state, job.place) = (State::Ready, place);
            }
        }
        Ok(())
    }
}
