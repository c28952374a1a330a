//! How jobs end, how that is written down, and who is too late with it.

use super::*;

impl World<'_> {
    /// Some of a worker's jobs end.
    pub(super) async fn end(&mut self) -> Outcome {
        let n = self.dice.below(self.workers.len());
        let mut these = Vec::new();
        for _ in 0..1 + self.dice.below(4) {
            let has = self.workers[n].has.len();
            if has > 0 {
                let held = self.workers[n].has.swap_remove(self.dice.below(has));
                these.push(self.how(held)?);
            }
        }
        self.write(these).await
    }

    /// How an attempt ends.
    pub(super) fn how(&mut self, held: Held) -> Outcome<(Ended, u64)> {
        let Held { job, running, claim } = held;
        let kind = KINDS.into_iter().find(|kind| kind.name == job.kind).unwrap_or(KINDS[0]);
        let hours = 1 + self.dice.below(3) as i64;
        let ends = running.is_cancelled();
        let (why, right) = match self.dice.below(10) {
            0..=3 => {
                self.tell("end: completed", job.id.to_string());
                let output = if self.dice.chance(50) { "null" } else { "{\"n\":1}" }.to_owned();
                let end = Written::Completed { output: Ok(output), keep: self.dice.chance(80) };
                return Ok((ended(&job, &kind, end), claim));
            }
            4..=5 => {
                self.tell("end: failed", job.id.to_string());
                let last = job.attempt >= attempts(&kind);
                (Error::internal("it fails"), if last { End::Dead } else { End::Again(1, true) })
            }
            6..=7 => {
                self.tell("end: put off", job.id.to_string());
                (Error::retry_in(HOUR * hours as u32), End::Again(hours, false))
            }
            8 => {
                self.tell("end: given up", job.id.to_string());
                (Error::cancel("it is pointless"), End::Cancelled)
            }
            _ => {
                self.tell("end: handed back", job.id.to_string());
                running.let_go();
                (Error::cancelled(), End::Again(0, false))
            }
        };
        // Whoever was told to end does, unless it is let go.
        let right = if ends && !running.is_let_go() { End::Cancelled } else { right };
        let end = run::failed(&info(&kind), job.attempt, &why, &running, job.id);
        match meant(&end) {
            said if said == right => Ok((ended(&job, &kind, end), claim)),
            said => Err(format!("{} ends as {said:?}, not {right:?}", job.id)),
        }
    }

    /// Has the finisher write ends down, and the model as well.
    pub(super) async fn write(&mut self, these: Vec<(Ended, u64)>) -> Outcome {
        for (one, claim) in &these {
            self.model.end(one.id, *claim, meant(&one.end));
        }
        let these: Vec<Ended> = these.into_iter().map(|(one, _)| one).collect();
        self.finish(&these).await?;
        if !these.is_empty() {
            self.written.push(these);
        }
        Ok(())
    }

    pub(super) async fn finish(&mut self, these: &[Ended]) -> Outcome {
        let (sender, ended) = mpsc::channel(these.len().max(1));
        for one in these {
            sender.send(one.clone()).await.map_err(broken)?;
        }
        drop(sender);
        // It would try for ever.
        let finishing = Finisher { jobs: self.jobs.clone(), ended, claims: Claims::default() }.run();
        tokio::time::timeout(Duration::from_secs(30), finishing).await.map_err(|_| "ends cannot be written down")?;
        let wakes = self.jobs.waker().next().now_or_never().unwrap_or_default();
        self.wake(wakes).await
    }

    /// A worker that does not know whether ends were written writes them again, however much has happened meanwhile, or others instead.
    pub(super) async fn repeat(&mut self) -> Outcome {
        if self.written.is_empty() {
            return Ok(());
        }
        // Mostly one of the last.
        let back = if self.dice.chance(70) { self.dice.below(3) } else { self.dice.below(self.written.len()) };
        let n = self.written.len() - 1 - back.min(self.written.len() - 1);
        let mut again = self.written[n].clone();
        if self.dice.chance(40) {
            for one in &mut again {
                let error = "{\"code\":\"OTHERWISE\"}".to_owned();
                one.end = match self.dice.below(3) {
                    0 => Written::Completed { output: Ok("null".into()), keep: true },
                    1 => Written::Again { delay: HOUR, error: Some(error), unspent: false },
                    _ => Written::Over { error, retain: Some(HOUR) },
                };
            }
            *self.counts.entry("repeat: otherwise").or_default() += 1;
        }
        self.tell("repeat", again.iter().map(|one| one.id.to_string()).collect::<Vec<_>>().join(", "));
        self.finish(&again).await
    }

    pub(super) async fn cancel(&mut self) -> Outcome {
        let known = self.model.known();
        let id = if known.is_empty() || self.dice.chance(5) { self.id() } else { *self.dice.pick(&known) };
        self.tell("cancel", id.to_string());
        let key = self.model.live.get(&id).and_then(|job| Some((job.kind.name, job.key.clone()?)));
        let right = self.model.cancel(id);
        let said = self.jobs.cancel(id, "it is not wanted").await.map_err(broken)?;
        if said != right {
            return Err(format!("that {id} could be cancelled is {said}, not {right}"));
        }
        if self.model.live.contains_key(&id) {
            let told = !self.is_lost();
            let has = self.workers.iter().flat_map(|worker| &worker.has).filter(|held| told && held.job.id == id);
            has.for_each(|held| held.running.cancel(HOUR));
            *self.counts.entry("cancel: one that runs").or_default() += 1;
        } else if let Some((kind, key)) = key {
            self.release(kind, &key).await?;
        }
        Ok(())
    }

    pub(super) async fn save(&mut self) -> Outcome {
        if self.dice.chance(40) && !self.written.is_empty() {
            // Of a job that it has no more.
            let back = self.dice.below(self.written.len().min(5));
            let Ended { id, worker, claim, .. } = self.written[self.written.len() - 1 - back][0];
            self.tell("save: too late", format!("of {id} by {worker}"));
            let affected = self.ask(&SAVE, &[&id, &worker, &claim, &"0"]).await?.affected;
            return if affected == 0 { Ok(()) } else { Err(format!("{id} was saved by who has it no more")) };
        }
        let n = self.dice.below(self.workers.len() + self.ghosts.len());
        let worker = self.workers.get(n).or_else(|| self.ghosts.get(n - self.workers.len()));
        let Some(held) = worker.and_then(|worker| worker.has.first()) else { return Ok(()) };
        let (id, by, fence, claim) = (held.job.id, held.job.worker, held.job.claim, held.claim);
        let value = self.dice.below(100).to_string();
        self.tell("save", format!("{value} of {id} by {by}"));
        let affected = self.ask(&SAVE, &[&id, &by, &fence, &value]).await?.affected;
        let job = self.model.of_claim(id, claim);
        if (affected == 1) != job.is_some() {
            return Err(format!("that {id} could be saved is {affected}"));
        }
        if let Some(job) = job {
            job.saved = Some(value);
        }
        Ok(())
    }
}

/// What an end says, in the model's words.
fn meant(end: &Written) -> End {
    match end {
        Written::Completed { keep, .. } => End::Completed(*keep),
        Written::Again { delay, unspent, .. } => End::Again(i64::try_from(delay.as_secs() / 3600).unwrap_or(0), !unspent),
        Written::Over { retain: Some(_), .. } => End::Dead,
        Written::Over { retain: None, .. } => End::Cancelled,
    }
}

pub(super) fn ended(job: &Claimed, kind: &Kind, end: Written) -> Ended {
    let Claimed { id, worker, claim, concurrency_key, .. } = job;
    Ended { id: *id, kind: kind.name, worker: *worker, claim: *claim, concurrency_key: concurrency_key.clone(), end }
}

/// How often a job is begun at most. Those with unique keys die at once, so that it happens that their key is taken when they are put back.
fn attempts(kind: &Kind) -> i32 {
    if kind.unique { 1 } else { 2 }
}

/// What a kind says of itself.
pub(super) fn info(kind: &Kind) -> JobInfo {
    let max_attempts = attempts(kind).unsigned_abs();
    let retry =
        RetryPolicy { max_attempts, backoff: Backoff::Fixed, initial: HOUR, max_backoff: HOUR, jitter: false, on: &[] };
    JobInfo {
        name: kind.name,
        doc: "",
        queue: kind.queue,
        priority: Priority::Normal,
        timeout: HOUR,
        retry,
        capability: "general",
        idempotent: kind.unique,
        concurrency: kind.limit.map(|limit| Concurrency { limit: u32::try_from(limit).unwrap_or(1), key: true }),
        rate_limit: None,
        retain: HOUR,
        dead_letter_retain: HOUR,
        track: JobInfo::NOBODY,
        module: "",
        file: "",
        line: 0,
    }
}
