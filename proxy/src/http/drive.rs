//! Polls one client connection to its end: asks it to finish when the drain starts or when it has
//! been idle for too long, and gives hyper the clock of its request heads. All deadlines of a
//! connection share one timer, which is looked at when it fires: a request touches none.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use tokio::time::{Instant as TokioInstant, sleep_until};

use super::activity::Activity;
use super::limits::Limits;
use super::withdrawal::Endings;

/// How a connection is asked to end when the drain starts.
pub(super) enum Finish<C> {
    /// HTTP/2: GOAWAY says which requests will not be answered, so none is lost (RFC 9113 §6.8).
    AtOnce(fn(Pin<&mut C>)),
    /// HTTP/1.1: closing an idle connection loses a request that is on its way (RFC 9112 §9.5). The
    /// next answer says `Connection: close` instead, and only what stays idle is closed.
    AfterLastAnswer(fn(Pin<&mut C>)),
}

enum Event {
    Over(Result<(), hyper::Error>),
    Drain,
    Withdrawn,
    Tick,
}

/// The deadlines of one connection.
struct Deadlines<'a> {
    limits: &'a Limits,
    activity: &'a Activity,
    heads: &'a HeadClock,
    idle_since: Instant,
    span_since: Instant,
    finished_before: u64,
    /// Whether the connection may be taken from hyper when nothing goes on.
    rests: bool,
    /// When a draining connection is closed though it may still be idle.
    last_call: Option<Instant>,
    finishing: bool,
    /// Whether the caller may no longer pass, and until when what is under way may go on.
    withdrawn: bool,
    cut: Option<Instant>,
}

/// What follows from a look at the deadlines.
enum Due {
    Nothing,
    Finish,
    Abandon,
    Cut,
    Rest(Instant),
}

/// How a connection was left.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Driven {
    /// At its end, or where nobody does anything any more.
    Left,
    /// In the middle of answers, which must not seem complete.
    Cut,
    /// Between two requests, with nothing of either on its way; the next one's head is due then.
    AtRest(Instant),
}

/// Polls the connection until it ends.
pub(super) async fn drive<C>(
    mut connection: Pin<&mut C>,
    finish: Finish<C>,
    (limits, heads): (&Limits, &HeadClock),
    endings: Endings,
    activity: &Activity,
) -> Result<Driven, hyper::Error>
where
    C: Future<Output = Result<(), hyper::Error>>,
{
    let is_http2 = matches!(finish, Finish::AtOnce(_));
    let Endings {
        mut drain,
        withdrawal,
    } = endings;
    let (finish, delay) = match finish {
        Finish::AtOnce(finish) => (finish, Duration::ZERO),
        Finish::AfterLastAnswer(finish) => (finish, limits.drain_idle_timeout),
    };
    let watch = drain.clone();
    let mut draining = pin!(drain.started());
    let mut deadlines = Deadlines::new(limits, activity, heads, !is_http2);
    let mut timer = pin!(sleep_until(deadlines.next()));
    // The task's waker is registered once with the drain and the timer; after that a look at a
    // flag tells whether they have anything to say.
    let mut is_new = true;
    loop {
        let event = poll_fn(|cx| {
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                return Poll::Ready(Event::Over(result));
            }
            if deadlines.last_call.is_none()
                && (is_new || watch.is_asked())
                && draining.as_mut().poll(cx).is_ready()
            {
                return Poll::Ready(Event::Drain);
            }
            if (withdrawal.is_abrupt() || !deadlines.withdrawn)
                && (is_new || withdrawal.is_set())
                && withdrawal.poll(cx).is_ready()
            {
                return Poll::Ready(Event::Withdrawn);
            }
            if (is_new || timer.is_elapsed()) && timer.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Event::Tick);
            }
            is_new = false;
            Poll::Pending
        })
        .await;
        let due = match event {
            Event::Over(result) => return result.map(|()| Driven::Left),
            Event::Drain => deadlines.drain(delay),
            Event::Withdrawn if withdrawal.is_abrupt() => Due::Cut,
            Event::Withdrawn => deadlines.withdraw(is_http2),
            Event::Tick => deadlines.look(),
        };
        match due {
            Due::Nothing => {}
            Due::Finish => finish(connection.as_mut()),
            Due::Abandon => return Ok(Driven::Left),
            Due::Cut => return Ok(Driven::Cut),
            Due::Rest(until) => return Ok(Driven::AtRest(until)),
        }
        timer.as_mut().reset(deadlines.next());
        is_new = true;
    }
}

impl<'a> Deadlines<'a> {
    fn new(limits: &'a Limits, activity: &'a Activity, heads: &'a HeadClock, rests: bool) -> Self {
        let now = Instant::now();
        Self {
            limits,
            activity,
            heads,
            idle_since: now,
            span_since: now,
            finished_before: activity.finished(),
            rests,
            last_call: None,
            finishing: false,
            withdrawn: false,
            cut: None,
        }
    }

    /// The drain has started; what is idle may stay for a while.
    fn drain(&mut self, delay: Duration) -> Due {
        self.activity.announce_end(delay > Duration::ZERO);
        self.rests = false;
        self.last_call = Some(Instant::now() + delay);
        self.look()
    }

    /// HTTP/2 is told at once, HTTP/1.1 with the refusal of its next request; what is under way has
    /// its grace.
    fn withdraw(&mut self, is_http2: bool) -> Due {
        self.withdrawn = true;
        self.rests = false;
        self.finishing |= is_http2;
        self.cut = Some(Instant::now() + self.limits.verdict_grace);
        match is_http2 {
            true => Due::Finish,
            false => Due::Nothing,
        }
    }

    fn look(&mut self) -> Due {
        let now = Instant::now();
        if self.cut.is_some_and(|cut| now >= cut) {
            self.cut = None;
            if self.activity.reset_streams() {
                // The reset of a stream waits behind what the client gives no window for.
                self.cut = Some(now + RESET_GRACE);
                return Due::Nothing;
            }
            // An idle HTTP/1.1 connection is told with the answer to its next request.
            if self.activity.in_flight() > 0 || self.finishing {
                return Due::Cut;
            }
        }
        if now >= self.span_since + self.limits.write_timeout {
            self.span_since = now;
            if self.activity.next_span() {
                // An answer waits for a client that gives HTTP/2 no window for it.
                return Due::Abandon;
            }
        }
        if !self.finishing && self.last_call.is_some_and(|last_call| now >= last_call) {
            self.finishing = true;
            self.idle_since = now;
            return Due::Finish;
        }
        let finished = self.activity.finished();
        if self.activity.in_flight() > 0 || finished != self.finished_before {
            self.finished_before = finished;
            self.idle_since = now;
        } else if now >= self.idle_since + self.limits.idle_timeout {
            if self.finishing {
                // Asked to go an idle time ago and still here: the peer is gone.
                return Due::Abandon;
            }
            self.finishing = true;
            self.idle_since = now;
            return Due::Finish;
        } else if self.rests && now >= self.idle_since + REST_AFTER && self.activity.is_at_rest() {
            let idle = self.idle_since + self.limits.idle_timeout;
            return Due::Rest(self.heads.deadline().map_or(idle, |head| head.min(idle)));
        }
        Due::Nothing
    }

    /// When to look again. A head's deadline can come up at any time, but never earlier than a
    /// whole head timeout from then.
    fn next(&self) -> TokioInstant {
        let now = Instant::now();
        let limits = self.limits;
        let mut next = now
            + limits
                .idle_timeout
                .min(limits.write_timeout)
                .min(limits.head_timeout);
        let rest = self.rests.then(|| now + REST_AFTER);
        let others = [self.heads.deadline(), self.last_call, self.cut, rest];
        for other in others.into_iter().flatten() {
            if other > now {
                next = next.min(other);
            }
        }
        next.into()
    }
}

/// hyper's clock for request heads: notes their deadlines instead of setting a timer for each.
#[derive(Clone, Debug)]
pub(super) struct HeadClock {
    start: Instant,
    noted: Arc<Noted>,
}

/// Milliseconds after a clock's start, rounded up; 0 for none.
#[derive(Debug, Default)]
struct Noted {
    /// The newest deadline.
    deadline: AtomicU64,
    /// What the next deadline may not pass.
    bound: AtomicU64,
}

impl HeadClock {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            noted: Arc::default(),
        }
    }

    /// The next head is due then at the latest, whenever the wait for it begins anew: a client that
    /// sends what is no request wakes its connection, and gains no time by it.
    pub(super) fn bound(&self, until: Instant) {
        self.noted.bound.store(self.after(until), Ordering::Relaxed);
    }

    fn deadline(&self) -> Option<Instant> {
        match self.noted.deadline.load(Ordering::Relaxed) {
            0 => None,
            after => Some(self.at(after)),
        }
    }

    fn after(&self, time: Instant) -> u64 {
        let after = time.saturating_duration_since(self.start).as_millis();
        u64::try_from(after).unwrap_or(u64::MAX - 1).max(1) + 1
    }

    fn at(&self, after: u64) -> Instant {
        self.start + Duration::from_millis(after)
    }
}

impl Timer for HeadClock {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        let after = self.after(deadline);
        let (after, deadline) = match self.noted.bound.swap(0, Ordering::Relaxed) {
            bound if bound != 0 && bound < after => (bound, self.at(bound)),
            _ => (after, deadline),
        };
        self.noted.deadline.store(after, Ordering::Relaxed);
        Box::pin(HeadDeadline(deadline))
    }
}

/// Ready when it is polled late enough. The connection's timer sees to that it is polled.
struct HeadDeadline(Instant);

impl Future for HeadDeadline {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.0 {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Sleep for HeadDeadline {}

/// How long the resets of streams may take to reach the client before the connection is cut.
const RESET_GRACE: Duration = Duration::from_millis(250);
/// How long an HTTP/1.1 connection is idle before it is taken from hyper. Putting it back costs
/// some microseconds, which whoever asks once a second or less often pays.
const REST_AFTER: Duration = Duration::from_secs(1);
