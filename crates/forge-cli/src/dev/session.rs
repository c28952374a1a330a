//! One run of `forge dev`: what is being made, which process serves, which one is about to, which ones are finishing.

use std::pin::Pin;
use std::time::{Duration, Instant};

use forge_core::Result;
use rustix::process::Pid;

use super::Signals;
use super::changes::Changes;
use super::keys::{Key, Keys};
use super::making::{Identity, Made, Maker};
use super::node::{self, Event, Nodes, What};
use super::surroundings::Surroundings;
use super::watch::Watch;
use crate::app::Crates;
use crate::cargo::{TICK, seconds};
use crate::status::Status;

/// Work that is under way. Dropped, it ends with every process that it has started.
type Work<T> = Option<Pin<Box<dyn Future<Output = Result<T>>>>>;

/// A run.
pub(crate) struct Session {
    maker: Maker,
    crates: Crates,
    watch: Watch,
    nodes: Nodes,
    status: Status,
    surroundings: Surroundings,
    /// What is still to be done.
    wanted: Changes,
    program: Work<Made>,
    /// What the work on the program is for.
    under_way: Changes,
    /// What work that failed was for: to be done with the next change, as nothing else will come of it.
    owed: Changes,
    page: Work<()>,
    /// Begun, not ready.
    starting: Option<Process>,
    /// The one that answers.
    serving: Option<Process>,
    /// Told to stop, and still finishing.
    finishing: Vec<Pid>,
}

/// A process of the app.
struct Process {
    pid: Pid,
    identity: Identity,
    began: Instant,
    built_in: Duration,
    /// When the change was noticed that it was built for.
    since: Option<Instant>,
}

impl Session {
    /// Begins to watch the files.
    pub(crate) fn new(
        maker: Maker,
        crates: Crates,
        nodes: Nodes,
        surroundings: Surroundings,
        status: Status,
    ) -> Result<Self> {
        let watch = Watch::new(maker.places(&crates))?;
        Ok(Self {
            maker,
            crates,
            watch,
            nodes,
            status,
            surroundings,
            wanted: Changes::everything(),
            program: None,
            under_way: Changes::default(),
            owed: Changes::default(),
            page: None,
            starting: None,
            serving: None,
            finishing: Vec::new(),
        })
    }

    /// Runs until a signal or a key ends it, and until every process has ended. Gives back what the app ran in.
    pub(crate) async fn run(mut self, signals: &mut Signals) -> Result<Surroundings> {
        let mut keys = Keys::listen();
        if keys.are_read() {
            self.status.line("keys: r rebuilds and restarts, q quits");
        }
        let ended = self.work(signals, &mut keys).await;
        self.program = None;
        self.page = None;
        self.stop(signals, &mut keys).await;
        ended.map(|()| self.surroundings)
    }

    async fn work(&mut self, signals: &mut Signals, keys: &mut Keys) -> Result<()> {
        let mut tick = tokio::time::interval(TICK);
        loop {
            self.begin();
            tokio::select! {
                () = signals.told() => return Ok(()),
                key = keys.next() => match key {
                    Key::Quit => return Ok(()),
                    Key::Rebuild => self.wanted.merge(Changes { restart: true, ..Changes::default() }),
                },
                changes = self.watch.next() => self.wanted.merge(changes?),
                made = finished(&mut self.program) => {
                    self.program = None;
                    self.made(made).await?;
                }
                done = finished(&mut self.page) => {
                    self.page = None;
                    done.unwrap_or_else(|why| self.status.failure(&why));
                }
                event = self.nodes.next() => self.heard(event)?,
                _ = tick.tick(), if self.starting.is_some() && self.program.is_none() && self.page.is_none() => {
                    let began = self.starting.as_ref().map_or_else(Instant::now, |process| process.began);
                    self.status.set(&format!("starting · {}", seconds(began.elapsed())));
                }
            }
        }
    }

    /// Begins what is wanted, as far as the same work is not under way already; then it is done once more afterwards.
    fn begin(&mut self) {
        if self.program.is_none() {
            let wanted = &mut self.wanted;
            let embedded = self.maker.embeds_page() && wanted.page;
            if wanted.program || wanted.config || wanted.crates || wanted.restart || embedded {
                // The page as well: it is made of the client, which comes of the program.
                self.under_way = std::mem::take(wanted);
                self.under_way.merge(std::mem::take(&mut self.owed));
                if !self.status.is_terminal() {
                    self.status.line("building");
                }
                self.program = Some(Box::pin(self.maker.clone().program(self.crates.clone(), self.under_way.config)));
            }
        }
        let has_built = self.starting.is_some() || self.serving.is_some();
        if self.page.is_none() && self.wanted.page && has_built {
            self.wanted.page = false;
            self.page = Some(Box::pin(self.maker.clone().page()));
        }
    }

    /// A build has ended.
    async fn made(&mut self, made: Result<Made>) -> Result<()> {
        let built_for = std::mem::take(&mut self.under_way);
        if built_for.crates {
            match self.maker.app().crates().await {
                Ok(crates) if crates != self.crates => {
                    self.watch = Watch::new(self.maker.places(&crates))?;
                    self.crates = crates;
                }
                Ok(_) => {}
                Err(why) => self.status.failure(&why),
            }
        }
        let made = match made {
            Ok(made) => made,
            Err(why) => {
                self.wanted.page |= built_for.page;
                self.owed = Changes { config: built_for.config, restart: built_for.restart, ..Changes::default() };
                self.status.failure(&why);
                self.status.line(&self.stays());
                return Ok(());
            }
        };
        self.wanted.page |= !made.page_is_current && (built_for.page || made.client_changed);
        if let Some(surroundings) = made.surroundings {
            self.nodes.surround(surroundings.environment());
            self.surroundings = surroundings;
        }
        let same =
            self.starting.as_ref().or(self.serving.as_ref()).is_some_and(|process| process.identity == made.identity);
        if same && !built_for.restart && !built_for.config {
            self.status.line(&format!("nothing changed in the program · looked for {}", seconds(made.took)));
            return Ok(());
        }
        if let Some(superseded) = self.starting.take() {
            self.finish(superseded.pid);
        }
        match self.nodes.start(&made.program) {
            Ok(pid) => {
                let began = Instant::now();
                self.starting =
                    Some(Process { pid, identity: made.identity, began, built_in: made.took, since: built_for.since });
            }
            Err(why) => self.status.failure(&why),
        }
        Ok(())
    }

    /// Something has become of a process.
    fn heard(&mut self, event: Event) -> Result<()> {
        let is = |process: &Option<Process>| process.as_ref().is_some_and(|process| process.pid == event.pid);
        match event.what {
            What::Ready if is(&self.starting) => {
                self.status.clear();
                let old = std::mem::replace(&mut self.serving, self.starting.take());
                let Some(new) = &self.serving else { return Ok(()) };
                let edit =
                    new.since.map(|since| format!(" · {} after the edit", seconds(since.elapsed()))).unwrap_or_default();
                self.status.line(&format!("ready {} · built in {}{edit}", self.nodes.url()?, seconds(new.built_in)));
                if let Some(old) = old {
                    self.finish(old.pid);
                }
            }
            What::Ready => {}
            What::Ended(ended) if is(&self.starting) => {
                self.status.clear();
                self.starting = None;
                self.status
                    .line(&format!("the app ended before it was ready ({ended}); why stands above. {}", self.stays()));
            }
            What::Ended(ended) if is(&self.serving) => {
                self.serving = None;
                self.status.line(&format!(
                    "the app ended by itself ({ended}); it is started again after the next change, requests wait until then"
                ));
            }
            What::Ended(_) => self.finishing.retain(|pid| *pid != event.pid),
        }
        Ok(())
    }

    /// What holds when a change came to nothing.
    fn stays(&self) -> String {
        match &self.serving {
            Some(_) => "the version before it goes on serving; waiting for the next change".to_owned(),
            None => "waiting for the next change".to_owned(),
        }
    }

    fn finish(&mut self, pid: Pid) {
        node::stop(pid);
        self.finishing.push(pid);
    }

    /// Stops every process and waits for its end. Being told once more ends them at once.
    async fn stop(&mut self, signals: &mut Signals, keys: &mut Keys) {
        let running: Vec<Pid> =
            self.starting.take().into_iter().chain(self.serving.take()).map(|process| process.pid).collect();
        for pid in running {
            self.finish(pid);
        }
        if !self.finishing.is_empty() {
            self.status.line("stopping: the app finishes what is under way; once more ends it at once");
        }
        while !self.finishing.is_empty() {
            tokio::select! {
                () = signals.told() => self.finishing.iter().copied().for_each(node::end),
                Key::Quit = keys.next() => self.finishing.iter().copied().for_each(node::end),
                Event { pid, what } = self.nodes.next() => {
                    if matches!(what, What::Ended(_)) {
                        self.finishing.retain(|finishing| *finishing != pid);
                    }
                }
            }
        }
    }
}

/// Waits for work that is under way; forever when there is none.
async fn finished<T>(work: &mut Work<T>) -> Result<T> {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}
