//! The log: one line an event on standard error.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Installs the process's log. A second call (tests, the demo) changes nothing.
pub fn install(level: LevelFilter) {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    // Herald's own events only: what hyper and rustls say at these levels, peers can cause at will.
    let filter = Targets::new().with_target("herald", level);
    // The error says that a subscriber is there already, which is what is wanted.
    drop(
        tracing_subscriber::registry()
            .with(lines)
            .with(filter)
            .try_init(),
    );
}
