//! Wakes an event loop at a moment. epoll's own timeout counts milliseconds, which would turn a fixed
//! rate into bursts.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Interest, Poll, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::Failure;

pub(super) struct Timer(OwnedFd);

impl Timer {
    pub(super) fn new(poll: &Poll) -> Result<Self, Failure> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        let descriptor = timer.as_raw_fd();
        poll.registry()
            .register(&mut SourceFd(&descriptor), TOKEN, Interest::READABLE)?;
        Ok(Self(timer))
    }

    /// Wakes the loop at `moment`, and not at what was set before.
    pub(super) fn arm(&self, moment: Instant) -> Result<(), Failure> {
        let wait = moment.saturating_duration_since(Instant::now());
        let zero = Timespec::default();
        let once = Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            // Zero would disarm it.
            tv_nsec: i64::from(wait.subsec_nanos().max(1)),
        };
        let setting = Itimerspec {
            it_interval: zero,
            it_value: once,
        };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &setting)?;
        Ok(())
    }
}

const TOKEN: Token = Token(1);
