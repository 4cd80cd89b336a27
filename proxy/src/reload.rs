//! Puts another configuration in the place of the one in force: on SIGHUP, on `herald reload`, and
//! when a file that was read changes. Loads, compiles, checks, and publishes the whole or nothing;
//! what is wrong is told and the old one stays. What only a start can do is refused as such.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot, watch as publishing};

use crate::clock;
use crate::config::{Config, Mistakes};
use crate::files::Files;
use crate::snapshot::Snapshot;
use crate::telemetry::Telemetry;
use crate::telemetry::reloads::ReloadCall;

pub mod watch;

use watch::Watch;

/// Reads the configuration once more.
pub type Load = Arc<dyn Fn(&Files) -> Result<Config, Mistakes> + Send + Sync>;

/// Where the configuration came from.
#[derive(Default)]
pub struct Source {
    /// The files that were read for it.
    pub files: Files,
    /// How it is read once more; nothing where it can't be.
    pub load: Option<Load>,
}

/// See the module's documentation.
pub struct Reloader {
    files: Arc<Files>,
    load: Option<Load>,
    running: Arc<Config>,
    watch: Option<Watch>,
    publisher: publishing::Sender<Arc<Snapshot>>,
    /// Those whose place was taken, until nobody else has them: taking ten thousand applications
    /// apart takes milliseconds, which no worker should spend.
    retired: Vec<Arc<Snapshot>>,
    telemetry: Arc<Telemetry>,
}

impl Reloader {
    /// Begins to watch, if `config` wants that: before privileges go.
    pub fn new(
        config: &Config,
        source: Source,
        publisher: publishing::Sender<Arc<Snapshot>>,
        telemetry: Arc<Telemetry>,
        watch: Option<Watch>,
    ) -> Self {
        Self {
            files: Arc::new(source.files),
            load: source.load,
            running: Arc::new(config.clone()),
            watch,
            publisher,
            retired: Vec::new(),
            telemetry,
        }
    }

    /// Reloads whenever that is asked for, for as long as it is polled.
    pub async fn run(mut self, mut signal: Signal, mut calls: mpsc::Receiver<ReloadCall>) {
        let mut are_calls = true;
        loop {
            let files = Arc::clone(&self.files);
            tokio::select! {
                Some(()) = signal.recv() => drop(self.reload("SIGHUP").await),
                call = calls.recv(), if are_calls => match call {
                    Some(call) => {
                        // Whoever asked may be gone.
                        drop(call.send(self.reload("herald reload").await));
                    }
                    None => are_calls = false,
                },
                () = tokio::time::sleep(RETIRED_LOOK), if !self.retired.is_empty() => {
                    self.retired.retain(|snapshot| Arc::strong_count(snapshot) > 1);
                }
                () = changed(&mut self.watch, &files) => {
                    let began = Instant::now();
                    drop(self.reload("a file has changed").await);
                    // Files that never rest take half of one core at most.
                    tokio::time::sleep(began.elapsed()).await;
                }
            }
        }
    }

    async fn reload(&mut self, why: &'static str) -> Result<u64, String> {
        let began = Instant::now();
        let prepared = match self.prepare().await {
            Ok(prepared) => prepared,
            Err(error) => Err(error.to_string()),
        };
        let outcome = prepared.map(|(config, snapshot)| {
            self.running = config;
            let generation = snapshot.generation;
            self.retired.push(self.publisher.send_replace(snapshot));
            generation
        });
        let reloads = &self.telemetry.reloads;
        match &outcome {
            Ok(generation) => {
                self.taken_up(*generation).await;
                reloads.published(*generation, clock::unix_now());
                let took = began.elapsed();
                tracing::info!(why, generation, ?took, "reloaded");
            }
            Err(error) => {
                reloads.refused(error);
                tracing::error!(why, "not reloaded, the old configuration stays: {error}");
            }
        }
        if let Some(watch) = &mut self.watch {
            watch.follow(&self.files);
        }
        outcome
    }

    /// Returns when every worker serves by this configuration: whoever asked may rely on it. A worker
    /// that is gone or stuck holds nobody up.
    async fn taken_up(&self, generation: u64) {
        let boards = &self.telemetry.boards;
        let deadline = Instant::now() + TAKING_UP_MAX;
        while boards
            .iter()
            .any(|board| board.generation.get() < generation)
            && Instant::now() < deadline
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// On a thread of its own and of low priority: workers have the cores first, and whoever looks
    /// at the status gets an answer meanwhile.
    async fn prepare(&mut self) -> io::Result<Result<(Arc<Config>, Arc<Snapshot>), String>> {
        let Some(load) = self.load.clone() else {
            return Ok(Err("this configuration can't be read again".to_owned()));
        };
        let (files, running) = (self.files.again(), Arc::clone(&self.running));
        let before = Arc::clone(&self.publisher.borrow());
        let (done, prepared) = oneshot::channel();
        std::thread::Builder::new()
            .name("reload".to_owned())
            .spawn(move || {
                // On Linux this is about the calling thread (setpriority(2), "C library/kernel
                // differences"); without it the reload is only less polite.
                let _niceness = rustix::process::nice(NICE);
                let prepared = prepare(&load, &files, &running, &before);
                drop(done.send((files, prepared.map_err(|mistakes| mistakes.to_string()))));
            })?;
        let Ok((files, prepared)) = prepared.await else {
            return Err(io::Error::other("the thread that reloads has died"));
        };
        if prepared.is_err() {
            files.remember(&self.files);
        }
        self.files = Arc::new(files);
        Ok(prepared)
    }
}

fn prepare(
    load: &Load,
    files: &Files,
    running: &Config,
    before: &Snapshot,
) -> Result<(Arc<Config>, Arc<Snapshot>), Mistakes> {
    let config = load(files)?;
    let mistakes = config.needs_restart_after(running);
    if !mistakes.is_empty() {
        return Err(Mistakes(mistakes));
    }
    let snapshot = Snapshot::compile(&config, files, Some(before))?;
    snapshot.check(&config)?;
    Ok((Arc::new(config), Arc::new(snapshot)))
}

/// Never, without a watch.
async fn changed(watch: &mut Option<Watch>, files: &Files) {
    match watch {
        Some(watch) => watch.changed(files).await,
        None => std::future::pending().await,
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.files).finish()
    }
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reloader").field(&self.files).finish()
    }
}

/// How much the thread that reloads stands back.
const NICE: i32 = 3;
/// How often it is looked whether the last connection has left an old configuration.
const RETIRED_LOOK: Duration = Duration::from_secs(1);
const TAKING_UP_MAX: Duration = Duration::from_secs(1);
/// Calls that wait for the one under way.
pub const CALLS_MAX: usize = 8;
/// How long a call may take: ten thousand applications take seconds.
pub const CALL_MAX: Duration = Duration::from_secs(60);
