//! What goes on on one client connection: requests in flight, requests that the client broke off,
//! and answers of which a client takes nothing though they wait for it. Plain cells of one thread.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::guarded::{Abuse, Conduct};

/// Counts of one connection.
#[derive(Debug, Default)]
pub(super) struct Activity {
    in_flight: Cell<usize>,
    finished: Cell<u64>,
    /// From here on an HTTP/1.1 answer says that it is the connection's last.
    ending: Cell<bool>,
    /// Pieces of answers that were given to hyper and not asked beyond since, by the age of the
    /// piece: of this span, of the one before, of older ones.
    offered: [Cell<u32>; AGES],
    span: Cell<usize>,
    /// Request bodies that were not read to their end, be they given up or still to come.
    unread: Cell<usize>,
    resets: Resets,
    /// The tasks of HTTP/2 streams. Those that are over stay until none is under way, or for as
    /// long as there are no more of them than others: a request pays for a push.
    streams: RefCell<Vec<AbortHandle>>,
    conduct: Rc<Conduct>,
}

/// A request's body on its way; see [`Activity::is_at_rest`].
#[derive(Debug)]
pub(super) struct Unread(Rc<Activity>);

/// Requests broken off within a span of time.
#[derive(Debug, Default)]
struct Resets {
    /// `None` on HTTP/1.1, where a broken request is the end of its connection.
    max: Option<u32>,
    since: Cell<Option<Instant>>,
    count: Cell<u32>,
    /// From here on streams are broken off by Herald.
    are_own: Cell<bool>,
}

impl Activity {
    /// Of a connection on which a client may break off `resets_max` requests in ten seconds.
    pub(super) fn new(resets_max: Option<u32>) -> Rc<Self> {
        Rc::new(Self {
            resets: Resets {
                max: resets_max,
                ..Resets::default()
            },
            ..Self::default()
        })
    }

    /// What the stream asks whether it must end.
    pub(super) fn conduct(&self) -> Rc<Conduct> {
        Rc::clone(&self.conduct)
    }

    /// Requests under way.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.get()
    }

    /// Requests that are over.
    pub(super) fn finished(&self) -> u64 {
        self.finished.get()
    }

    /// A request's head is complete; `has_body` if more of the request follows.
    pub(super) fn begin(self: &Rc<Self>, has_body: bool) -> Option<Unread> {
        self.conduct.quiet();
        self.has_said_all(!has_body);
        has_body.then(|| {
            self.unread.set(self.unread.get() + 1);
            Unread(Rc::clone(self))
        })
    }

    /// Whether an HTTP/1.1 connection is between two requests and nothing of either is on its way:
    /// all bodies were read to their ends, all answers are with the kernel, and no byte of another
    /// head has come. Only then hyper has nothing of it that its stream has not.
    pub(super) fn is_at_rest(&self) -> bool {
        self.in_flight.get() == 0 && self.unread.get() == 0 && self.conduct.is_quiet()
    }

    /// Answers say from here on whether they are the connection's last.
    pub(super) fn announce_end(&self, ending: bool) {
        self.ending.set(ending);
    }

    /// Whether an answer is the connection's last and says so.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.get()
    }

    /// A stream's task has begun.
    pub(super) fn stream(&self, task: AbortHandle) {
        let mut streams = self.streams.borrow_mut();
        if streams.len() >= 2 * self.in_flight.get() + STREAMS_OVER_MAX {
            streams.retain(|task| !task.is_finished());
        }
        streams.push(task);
    }

    /// Ends every stream under way: h2 resets those whose tasks are gone (RST_STREAM with CANCEL,
    /// RFC 9113 §5.4.2). Whether there was one.
    pub(super) fn reset_streams(&self) -> bool {
        let mut streams = self.streams.take();
        streams.retain(|task| !task.is_finished());
        if !streams.is_empty() {
            // They are no misconduct of the client's.
            self.resets.are_own.set(true);
        }
        streams.iter().for_each(AbortHandle::abort);
        !streams.is_empty()
    }

    /// Begins a span of time. Whether an answer has waited for the client through all of the last
    /// one.
    pub(super) fn next_span(&self) -> bool {
        let span = self.span.get();
        let before = self.at(span + AGES - 1).get();
        self.span.set(span + 1);
        before > 0
    }

    /// Whether the client's request is complete. On HTTP/2 the client goes on speaking, and h2 listens.
    fn has_said_all(&self, all: bool) {
        let is_http1 = self.resets.max.is_none();
        let awaits = all && is_http1 && self.in_flight.get() > 0;
        self.conduct.set_awaits_answer(awaits);
    }

    fn at(&self, span: usize) -> &Cell<u32> {
        let [first, second, third] = &self.offered;
        match span % AGES {
            0 => first,
            1 => second,
            _ => third,
        }
    }

    fn broken_off(&self) {
        let Some(max) = self.resets.max.filter(|_| !self.resets.are_own.get()) else {
            return;
        };
        let now = Instant::now();
        let since = self.resets.since.get();
        let is_recent = since.is_some_and(|since| now.duration_since(since) < RESETS_SPAN);
        let count = if is_recent {
            self.resets.count.get()
        } else {
            self.resets.since.set(Some(now));
            0
        };
        self.resets.count.set(count + 1);
        if count >= max {
            self.conduct.is_past_bearing(Abuse::Resets);
        }
    }
}

impl Unread {
    /// It came to its end.
    pub(super) fn read(self) {
        let unread = &self.0.unread;
        unread.set(unread.get().saturating_sub(1));
        self.0.conduct.quiet();
        self.0.has_said_all(true);
    }
}

/// One request under way, to the end of its answer.
#[derive(Debug)]
pub(super) struct InFlight {
    activity: Rc<Activity>,
    /// The span in which a piece of the answer was given last, until the next is asked for.
    offered: Option<usize>,
    complete: bool,
}

impl InFlight {
    pub(super) fn new(activity: Rc<Activity>) -> Self {
        activity.in_flight.set(activity.in_flight.get() + 1);
        Self {
            activity,
            offered: None,
            complete: false,
        }
    }

    /// hyper asks for a piece of the answer: it has room for it.
    pub(super) fn asked(&mut self) {
        if let Some(span) = self.offered.take() {
            let offered = self.activity.at(span);
            offered.set(offered.get().saturating_sub(1));
        }
    }

    /// hyper was given a piece of the answer.
    pub(super) fn gave(&mut self) {
        let span = self.activity.span.get();
        let offered = self.activity.at(span);
        offered.set(offered.get() + 1);
        self.offered = Some(span);
    }

    /// The answer has been given to its end.
    pub(super) fn complete(&mut self) {
        self.complete = true;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.asked();
        let activity = &self.activity;
        let in_flight = activity.in_flight.get().saturating_sub(1);
        activity.in_flight.set(in_flight);
        if in_flight == 0 {
            activity.conduct.set_awaits_answer(false);
            activity.streams.borrow_mut().clear();
        }
        activity
            .finished
            .set(activity.finished.get().wrapping_add(1));
        if !self.complete {
            activity.broken_off();
        }
    }
}

const AGES: usize = 3;
/// Tasks that are over and still remembered, beside as many as are under way.
const STREAMS_OVER_MAX: usize = 16;
/// In which time requests that were broken off are counted together.
const RESETS_SPAN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_waits_through_a_whole_span_is_seen() {
        let activity = Activity::new(None);
        let mut request = InFlight::new(Rc::clone(&activity));
        let mut other = InFlight::new(Rc::clone(&activity));
        request.gave();
        assert!(!activity.next_span(), "it was given in this very span");
        for _ in 0..10 {
            other.asked();
            other.gave();
        }
        assert!(activity.next_span(), "another's progress hides nothing");
        request.asked();
        other.asked();
        for _ in 0..5 {
            // Waiting for the origin, however long, is no fault of the client.
            assert!(!activity.next_span());
        }
    }

    #[test]
    fn an_answer_that_moves_once_a_span_is_no_stall() {
        let activity = Activity::new(None);
        let mut request = InFlight::new(Rc::clone(&activity));
        for _ in 0..10 {
            request.asked();
            request.gave();
            assert!(!activity.next_span());
        }
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn requests_may_be_broken_off_now_and_then() {
        let activity = Activity::new(Some(3));
        let is_borne = || activity.conduct.check().is_ok();
        for _ in 0..10 {
            for _ in 0..3 {
                drop(InFlight::new(Rc::clone(&activity)));
            }
            let mut good = InFlight::new(Rc::clone(&activity));
            good.complete();
            drop(good);
            assert!(is_borne());
            tokio::time::sleep(RESETS_SPAN).await;
        }
        for _ in 0..3 {
            drop(InFlight::new(Rc::clone(&activity)));
        }
        assert!(is_borne());
        drop(InFlight::new(Rc::clone(&activity)));
        assert!(!is_borne());
        assert_eq!((activity.in_flight(), activity.finished()), (0, 44));
    }
}
