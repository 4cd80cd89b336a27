//! `herald selftest`: the attacks of docs/selftest.md made on a configuration, as it would run. Its
//! data path is started on loopback twice, as configured and with policies as shadows (so that a
//! throw-away caller gets past them to where headers are), with throw-away client CAs in the place of
//! its own and an origin that notes what it sees. What the origin saw decides.

mod attacks;
mod attempt;
mod judge;
mod stage;
mod table;

use std::io::{self, Write};

use thiserror::Error;

use self::attacks::Target;
use self::stage::Stage;
use self::table::Table;
use crate::app::StartError;
use crate::config::{Config, Mistakes};

/// Why nothing could be tried.
#[derive(Debug, Error)]
pub enum SelftestError {
    /// A certificate could not be made.
    #[error("can't make the throw-away certificates: {0}")]
    Pki(#[from] rcgen::Error),
    /// A file, a socket or the terminal.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Herald's own start.
    #[error("the configuration did not start: {0}")]
    Start(#[from] StartError),
    /// The configuration, or a file that it names.
    #[error("{0}")]
    Config(Mistakes),
}

/// Tries the applications of these names, all without names. Returns whether every attack was
/// withstood.
///
/// # Errors
/// What kept the trial from being held.
pub fn run(config: &Config, only: &[String], out: &mut impl Write) -> Result<bool, SelftestError> {
    let stage = Stage::set(config)?;
    let chosen: Vec<_> = stage
        .snapshot
        .applications()
        .iter()
        .filter(|application| only.is_empty() || only.contains(&application.name))
        .collect();
    if chosen.is_empty() {
        let message = format!("there is no application {}", only.join(", "));
        return Err(io::Error::new(io::ErrorKind::NotFound, message).into());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut table = Table::default();
    let mut attempts = 0_usize;
    for application in &chosen {
        let target = Target::of(&stage, application);
        for attempt in attacks::all(&target) {
            attempts += 1;
            let answer = runtime.block_on(stage.ask(&attempt, attempts));
            let seen = stage.seen(attempts);
            let fault = judge::fault(&stage, &attempt, &answer, &seen);
            table.add(&application.name, &attempt, fault);
        }
        for (row, why) in attacks::not_tried(&target) {
            table.skip(&application.name, row, why);
        }
    }
    table.write(out, chosen.len())?;
    Ok(table.is_right())
}
