//! Which configuration is in force, and what became of the last that was to take its place.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// Asks for a reload; answered with the generation in force, or with why it was refused.
pub type ReloadCall = oneshot::Sender<Result<u64, String>>;

/// The configurations so far.
#[derive(Debug)]
pub struct Reloads(Mutex<ReloadState>);

/// The configurations so far, as status and metrics show them.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ReloadState {
    /// The one in force; the first is that of the start.
    pub generation: u64,
    /// Since when, Unix seconds.
    pub since: u64,
    /// How many were refused.
    pub refused: u64,
    /// Why the last was, if it was.
    pub error: Option<String>,
}

impl Reloads {
    /// At the start.
    pub fn new(now: u64) -> Self {
        Self(Mutex::new(ReloadState {
            generation: 1,
            since: now,
            refused: 0,
            error: None,
        }))
    }

    /// Another configuration is in force.
    pub fn published(&self, generation: u64, now: u64) {
        self.with(|state| {
            state.generation = generation;
            state.since = now;
            state.error = None;
        });
    }

    /// The one in force stays.
    pub fn refused(&self, error: &str) {
        self.with(|state| {
            state.refused += 1;
            state.error = Some(error.to_owned());
        });
    }

    /// As it is now.
    pub fn now(&self) -> ReloadState {
        self.with(|state| state.clone())
    }

    fn with<T>(&self, act: impl FnOnce(&mut ReloadState) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
