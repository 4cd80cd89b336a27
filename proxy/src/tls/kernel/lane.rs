//! What a connection's stream and the body of its response say to each other: the body asks for the
//! hand-over to the kernel, the stream tells how it went; then the body fills a pipe from the
//! origin's socket and gives hyper a slice of nothing of that length, and the stream empties the
//! pipe when hyper writes that slice. A refusal at any point ends in copying, with nothing lost.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::pipe::Pipe;
use super::{KernelTls, Level};
use crate::net::PlainSocket;
use crate::sys::void;

/// See the module's documentation. Shared within one task.
#[derive(Debug)]
pub struct Lane {
    pub(super) kernel: Arc<KernelTls>,
    state: Cell<State>,
    wanted: Cell<bool>,
    /// Whether bodies may be moved; given up for good at the first refusal.
    splices: Cell<bool>,
    pipe: RefCell<Option<Pipe>>,
    /// Bytes that were taken back out of the pipe and are still promised to hyper.
    rescued: RefCell<Bytes>,
    /// The body that waits for the stream.
    waiting: RefCell<Option<Waker>>,
    is_http1: Cell<bool>,
    retired: Cell<bool>,
    /// Responses so far, and the bytes of those that were large.
    answers: Cell<u64>,
    large: Cell<u64>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Userspace,
    Kernel,
    Refused,
}

/// What [`Lane::poll_fill`] gives.
#[derive(Debug)]
pub enum Filled {
    /// A slice that stands for bytes on their way.
    Moved(&'static [u8]),
    /// The origin's end of stream.
    End,
    /// Nothing can be moved any more: read and copy.
    Refused,
}

impl Lane {
    /// A lane of a connection; `splices` where its protocol lets bodies be moved (HTTP/1.1).
    pub(super) fn new(kernel: Arc<KernelTls>) -> Self {
        Self {
            splices: Cell::new(kernel.level == Level::Splice),
            kernel,
            state: Cell::new(State::Userspace),
            wanted: Cell::new(false),
            pipe: RefCell::default(),
            rescued: RefCell::default(),
            waiting: RefCell::default(),
            is_http1: Cell::new(true),
            retired: Cell::new(false),
            answers: Cell::new(0),
            large: Cell::new(0),
        }
    }

    /// HTTP/2 frames are cut as flow control wants: bodies are never moved. And its connections do
    /// not end by a field of an answer.
    pub(in crate::tls) fn speaks(&self, http1: bool) {
        self.is_http1.set(http1);
        self.splices.set(self.splices.get() && http1);
    }

    /// Response bodies of at least so many bytes are worth asking for.
    pub(super) fn threshold(&self) -> u64 {
        self.kernel.threshold
    }

    /// Weighs a response whose body has this length; whether the kernel should have a part in it. It costs a little more
    /// to have the kernel seal a small answer, and there is no way back: a connection whose answers are mostly small,
    /// by what it has carried so far, is left alone.
    pub fn weigh(&self, length: Option<u64>) -> bool {
        let answers = self.answers.get().saturating_add(1);
        self.answers.set(answers);
        let Some(length) = length.filter(|length| *length >= self.threshold()) else {
            return false;
        };
        let large = self.large.get().saturating_add(length);
        self.large.set(large);
        self.state.get() == State::Kernel || large >= answers.saturating_mul(ANSWER_COST)
    }

    /// A large response is on its way. Where bodies are moved, its body asks for the hand-over once
    /// it can be; elsewhere this does.
    pub fn note_large(&self) {
        if self.kernel.level == Level::Transmit {
            self.wanted.set(true);
        }
    }

    /// Whether an HTTP/1.1 connection should close after this answer: its keys have sealed enough,
    /// or the client's wish for new ones cannot be met.
    pub fn is_retired(&self) -> bool {
        self.retired.get() && self.is_http1.get()
    }

    /// Ready when bodies can be moved (`true`) or never will be (`false`). Asks for the hand-over
    /// and waits for the stream's next flush.
    pub fn poll_open(&self, cx: &mut Context<'_>) -> Poll<bool> {
        if !self.splices.get() {
            return Poll::Ready(false);
        }
        match self.state.get() {
            State::Kernel => Poll::Ready(true),
            State::Refused => Poll::Ready(false),
            State::Userspace => {
                self.wanted.set(true);
                self.wait(cx);
                Poll::Pending
            }
        }
    }

    /// Moves up to `most` bytes of the origin's socket into the pipe, once it is empty.
    pub fn poll_fill(
        &self,
        cx: &mut Context<'_>,
        origin: PlainSocket<'_>,
        most: u64,
    ) -> Poll<io::Result<Filled>> {
        if !self.splices.get() || !self.rescued.borrow().is_empty() {
            return Poll::Ready(Ok(Filled::Refused));
        }
        let mut slot = self.pipe.borrow_mut();
        let Some(pipe) = self.open(&mut slot) else {
            return Poll::Ready(Ok(Filled::Refused));
        };
        if pipe.held() > 0 {
            self.wait(cx);
            return Poll::Pending;
        }
        loop {
            ready!(origin.poll_read_ready(cx))?;
            match origin.try_read(|| pipe.fill(origin.as_fd(), most)) {
                Ok(0) => return Poll::Ready(Ok(Filled::End)),
                Ok(count) => {
                    self.kernel.counts.spliced.add(count as u64);
                    return Poll::Ready(match void::slice(count) {
                        Some(slice) => Ok(Filled::Moved(slice)),
                        // `open` has seen that there is a range.
                        None => Err(io::Error::other("no address range")),
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if is_broken(&error) => return Poll::Ready(Err(error)),
                Err(error) => {
                    self.give_up(&error);
                    return Poll::Ready(Ok(Filled::Refused));
                }
            }
        }
    }

    /// Moves up to `most` promised bytes to the client.
    pub(super) fn poll_drain(
        &self,
        cx: &mut Context<'_>,
        client: &TcpStream,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let mut slot = self.pipe.borrow_mut();
        loop {
            ready!(client.poll_write_ready(cx))?;
            let mut rescued = self.rescued.borrow_mut();
            let outcome = client.try_io(Interest::WRITABLE, || {
                if !rescued.is_empty() {
                    let some = rescued.get(..most.min(rescued.len())).unwrap_or_default();
                    return rustix::io::write(client, some).map_err(io::Error::from);
                }
                match slot.as_mut().filter(|pipe| pipe.held() > 0) {
                    Some(pipe) => pipe.drain(client.as_fd(), most),
                    None => Err(io::Error::other("more was promised than moved")),
                }
            });
            match outcome {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => {
                    let copied = rescued.len().min(count);
                    rescued.advance(copied);
                    let is_empty = slot.as_ref().is_none_or(|pipe| pipe.held() == 0);
                    if is_empty && rescued.is_empty() {
                        self.wake();
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if is_broken(&error) || !rescued.is_empty() => {
                    return Poll::Ready(Err(error));
                }
                Err(error) => {
                    let Some(pipe) = slot.as_mut().filter(|pipe| pipe.held() > 0) else {
                        return Poll::Ready(Err(error));
                    };
                    *rescued = pipe.rescue()?.into();
                    self.give_up(&error);
                }
            }
        }
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.get() && self.state.get() == State::Userspace
    }

    /// The kernel seals from now on.
    pub(super) fn opened(&self) {
        self.state.set(State::Kernel);
        self.kernel.counts.offloaded.add(1);
        self.wake();
    }

    /// It never will on this connection.
    pub(super) fn refused(&self) {
        self.state.set(State::Refused);
        self.wake();
    }

    pub(super) fn retire(&self) {
        self.retired.set(true);
    }

    fn open<'a>(&self, slot: &'a mut Option<Pipe>) -> Option<&'a mut Pipe> {
        if slot.is_none() {
            let taken = Pipe::take().and_then(|pipe| {
                let has_range = void::slice(1).is_some();
                has_range
                    .then_some(pipe)
                    .ok_or_else(|| io::Error::other("no address range"))
            });
            match taken {
                Ok(pipe) => *slot = Some(pipe),
                Err(error) => {
                    self.give_up(&error);
                    return None;
                }
            }
        }
        slot.as_mut()
    }

    fn give_up(&self, error: &io::Error) {
        self.splices.set(false);
        self.kernel.counts.restored.add(1);
        tracing::debug!(%error, "a body is copied, not spliced");
        self.wake();
    }

    fn wait(&self, cx: &Context<'_>) {
        *self.waiting.borrow_mut() = Some(cx.waker().clone());
    }

    fn wake(&self) {
        let waiting = self.waiting.take();
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if let Some(pipe) = self.pipe.get_mut().take() {
            pipe.give_back();
        }
    }
}

/// What the sealing of a small answer by the kernel costs, in bytes of a large one on which as many instructions are saved
/// (4,400 and 1.25 each on 7.3, `cargo xtask bench ktls`).
const ANSWER_COST: u64 = 4 * 1024;

/// Whether the connection itself is at its end, so that copying would not help.
fn is_broken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::NotConnected
            | io::ErrorKind::TimedOut
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    )
}

#[cfg(test)]
mod tests {
    use super::super::Ability;
    use super::*;

    fn lane() -> Lane {
        Lane::new(KernelTls::new(Level::Splice, 100_000, Ability::ALL))
    }

    #[test]
    fn a_connection_of_small_answers_waits_for_as_many_large_bytes() {
        let first = lane();
        assert!(first.weigh(Some(100_000)));
        assert!(!first.weigh(Some(99_999)));
        assert!(!first.weigh(None));

        let busy = lane();
        (0..999).for_each(|_| assert!(!busy.weigh(Some(1000))));
        let weighed: Vec<_> = (0..5).map(|_| busy.weigh(Some(1_000_000))).collect();
        assert_eq!(weighed, [false, false, false, false, true]);
    }

    #[test]
    fn there_is_no_way_back_so_a_sealed_connection_is_not_weighed() {
        let sealed = lane();
        (0..1_000_000).for_each(|_| assert!(!sealed.weigh(Some(1000))));
        assert!(!sealed.weigh(Some(100_000)));
        sealed.opened();
        assert!(sealed.weigh(Some(100_000)));
    }
}
