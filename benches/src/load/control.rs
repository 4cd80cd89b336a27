//! The load's standard input as one more thing to wait for.

use std::io;
use std::os::fd::AsRawFd;

use mio::unix::SourceFd;
use mio::{Interest, Poll, Token};

use super::report::Report;
use crate::Failure;

pub(super) const TOKEN: Token = Token(0);

/// Waits for standard input with the rest, which must be a pipe.
pub(super) fn register(poll: &Poll) -> Result<(), Failure> {
    let stdin = io::stdin().as_raw_fd();
    poll.registry()
        .register(&mut SourceFd(&stdin), TOKEN, Interest::READABLE)?;
    Ok(())
}

/// Answers what was asked; whether the load goes on.
pub(super) fn answer(report: &Report) -> Result<bool, Failure> {
    // Whoever asks waits for the answer before asking again: there is one line at most.
    let mut line = String::new();
    let length = io::stdin().read_line(&mut line)?;
    report.print()?;
    Ok(length > 0)
}
