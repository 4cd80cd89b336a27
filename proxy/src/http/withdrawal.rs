//! Where a connection is told that its caller may no longer pass. Set by who watches over verdicts,
//! seen by the one task that drives the connection. Plain cells of one thread.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::drain::DrainWatch;

/// What ends a connection from outside.
#[derive(Clone, Debug)]
pub struct Endings {
    /// Herald stops.
    pub drain: DrainWatch,
    /// The caller may no longer pass.
    pub withdrawal: Rc<Withdrawal>,
}

/// Whether what a connection was let through for is withdrawn. It stays so once it is.
#[derive(Debug, Default)]
pub struct Withdrawal {
    is_set: Cell<bool>,
    is_abrupt: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Withdrawal {
    /// Withdraws it, and wakes the connection's task.
    pub fn set(&self) {
        if !self.is_set.replace(true)
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }

    /// Ends the connection at once, in the middle of whatever is under way.
    pub fn abort(&self) {
        self.is_abrupt.set(true);
        self.set();
    }

    /// Whether the connection is to end at once.
    pub fn is_abrupt(&self) -> bool {
        self.is_abrupt.get()
    }

    /// Whether it is withdrawn.
    pub fn is_set(&self) -> bool {
        self.is_set.get()
    }

    /// Ready once it is withdrawn; the last task to ask is woken then.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_set() {
            return Poll::Ready(());
        }
        let mut kept = self.waker.borrow_mut();
        match &mut *kept {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}
