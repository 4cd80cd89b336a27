//! Requests over lasting connections, closed loop or at a fixed rate; and idle connections.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll};
use rustls::ClientConfig;

use super::h1::Exchange;
use super::h2::{Came, Session};
use super::link::Link;
use super::report::Report;
use super::timer::Timer;
use super::{Kind, Options, Tls, control};
use crate::{Failure, events};

/// A connection and what it carries.
struct Asker {
    link: Link,
    speech: Speech,
    /// When the request in flight was due (HTTP/1.1); `None` if there is none.
    due: Option<Instant>,
    counted: bool,
}

enum Speech {
    H1(Exchange),
    H2(Session),
}

/// All connections, and when requests are due.
struct Crowd<'a> {
    options: &'a Options,
    config: Arc<ClientConfig>,
    poll: Poll,
    askers: Vec<Option<Asker>>,
    report: Report,
    pace: Option<Pace>,
    counting_from: Instant,
    scratch: Vec<u8>,
    /// Connections opened so far: idle ones come up a few at a time.
    opened: usize,
}

/// A fixed rate.
struct Pace {
    timer: Timer,
    interval: Duration,
    next: Instant,
    /// When requests were due that no connection was free for.
    backlog: VecDeque<Instant>,
    /// Slots that are up and have nothing in flight.
    free: Vec<usize>,
}

pub(super) fn run(options: &Options, tls: &Tls) -> Result<(), Failure> {
    let poll = Poll::new()?;
    control::register(&poll)?;
    let pace = options
        .rate
        .map(|rate| Pace::new(rate, &poll))
        .transpose()?;
    let mut crowd = Crowd {
        options,
        config: tls.config()?,
        poll,
        askers: Vec::new(),
        report: Report::new()?,
        pace,
        counting_from: Instant::now() + Duration::from_secs_f64(options.warmup),
        scratch: vec![0; SCRATCH],
        opened: 0,
    };
    crowd.askers.resize_with(options.connections, || None);
    let mut events = Events::with_capacity(1024);
    loop {
        crowd.open_more()?;
        if let Some(pace) = &mut crowd.pace {
            pace.timer.arm(pace.next)?;
        }
        match crowd.poll.poll(&mut events, None) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        crowd.send_due();
        for event in &events {
            if event.token() == control::TOKEN {
                let totals = &mut crowd.report.totals;
                totals.repeats = tls.rota.repeats() as u64;
                totals.late = crowd
                    .pace
                    .as_ref()
                    .map_or(0, |pace| pace.backlog.len() as u64);
                if !control::answer(&crowd.report)? {
                    return Ok(());
                }
            } else if let Some(slot) = events::slot(event.token()) {
                crowd.serve(slot, event);
            }
        }
        if crowd.report.hopeless() {
            crowd.report.print()?;
            return Err("too many errors".into());
        }
    }
}

impl Crowd<'_> {
    /// Opens connections until all are, but not more at a time than a listener's queue takes.
    fn open_more(&mut self) -> Result<(), Failure> {
        while self.opened < self.askers.len()
            && (self.opened as u64) < self.report.totals.connections + OPENING
        {
            self.open(self.opened)?;
            self.opened += 1;
        }
        Ok(())
    }

    fn open(&mut self, slot: usize) -> Result<(), Failure> {
        let link = Link::open(&self.poll, slot, self.options.to, &self.config)?;
        let path = &self.options.path;
        let speech = if self.options.streams > 0 {
            Speech::H2(Session::new(path)?)
        } else {
            Speech::H1(Exchange::new(path, self.options.post))
        };
        if let Some(place) = self.askers.get_mut(slot) {
            *place = Some(Asker {
                link,
                speech,
                due: None,
                counted: false,
            });
        }
        Ok(())
    }

    fn serve(&mut self, slot: usize, event: &mio::event::Event) {
        if let Some(Some(asker)) = self.askers.get_mut(slot) {
            asker.link.notice(event);
            if let Err(error) = self.advance(slot) {
                self.fail(slot, &error);
            }
        }
    }

    /// A failed connection is counted, and another takes its place.
    fn fail(&mut self, slot: usize, error: &io::Error) {
        self.report.error(error);
        if let Some(pace) = &mut self.pace {
            pace.free.retain(|free| *free != slot);
        }
        if let Err(error) = self.open(slot) {
            self.report.error(&error);
        }
    }

    fn advance(&mut self, slot: usize) -> io::Result<()> {
        let Some(Some(asker)) = self.askers.get_mut(slot) else {
            return Ok(());
        };
        let came = asker.receive(&mut self.scratch)?;
        let now = Instant::now();
        let totals = &mut self.report.totals;
        totals.bytes_down += came.bytes;
        totals.requests += came.done.len() as u64;
        if let Speech::H1(exchange) = &mut asker.speech {
            totals.bytes_up += exchange.take_sent();
        }
        let was_up = asker.counted;
        if asker.link.is_up() && !asker.counted {
            asker.counted = true;
            totals.connections += 1;
            totals.resumed += u64::from(asker.link.resumed());
        }
        if now >= self.counting_from {
            for due in &came.done {
                self.report.latency(now - *due);
            }
        }
        if asker.link.ended() {
            return Err(io::Error::other("the peer closed the connection"));
        }
        match &mut self.pace {
            None if self.options.kind == Kind::Idle => {
                if asker.counted && !was_up {
                    asker.ask(now)?;
                }
            }
            None => asker.ask_again(self.options.streams.max(1), now)?,
            Some(pace) => {
                let became_free = if was_up {
                    came.done.len()
                } else {
                    asker.room(self.options)
                };
                for _ in 0..became_free {
                    match pace.backlog.pop_front() {
                        Some(due) => asker.ask(due)?,
                        None => pace.free.push(slot),
                    }
                }
            }
        }
        asker.send()
    }

    /// Sends what is due by now over connections that are free; the rest waits, and its latency
    /// grows.
    fn send_due(&mut self) {
        let now = Instant::now();
        loop {
            let Some(pace) = self.pace.as_mut().filter(|pace| pace.next <= now) else {
                return;
            };
            let due = pace.next;
            pace.next += pace.interval;
            let Some(slot) = pace.free.pop() else {
                pace.backlog.push_back(due);
                continue;
            };
            if let Some(Some(asker)) = self.askers.get_mut(slot)
                && let Err(error) = asker.ask(due).and_then(|()| asker.send())
            {
                self.fail(slot, &error);
            }
        }
    }
}

impl Asker {
    fn receive(&mut self, scratch: &mut [u8]) -> io::Result<Came> {
        let mut came = Came::default();
        let (speech, due) = (&mut self.speech, &mut self.due);
        self.link.read(scratch, |bytes| match speech {
            Speech::H1(exchange) => {
                let (whole, body) = exchange.take(bytes)?;
                came.bytes += body;
                if whole {
                    came.done.extend(due.take());
                }
                Ok(())
            }
            Speech::H2(session) => session.take(bytes, &mut came),
        })?;
        Ok(came)
    }

    /// Asks as often as there is room for (closed loop).
    fn ask_again(&mut self, streams: usize, now: Instant) -> io::Result<()> {
        if !self.link.is_up() {
            return Ok(());
        }
        match &self.speech {
            Speech::H1(_) if self.due.is_some() => Ok(()),
            Speech::H1(_) => self.ask(now),
            Speech::H2(session) => {
                for _ in session.in_flight()..streams {
                    self.ask(now)?;
                }
                Ok(())
            }
        }
    }

    /// Requests that a connection that has just come up can take.
    fn room(&self, options: &Options) -> usize {
        if self.counted {
            options.streams.max(1)
        } else {
            0
        }
    }

    fn ask(&mut self, due: Instant) -> io::Result<()> {
        match &mut self.speech {
            Speech::H1(exchange) => {
                self.due = Some(due);
                exchange.start(&mut self.link)
            }
            Speech::H2(session) => {
                session.start(due);
                Ok(())
            }
        }
    }

    fn send(&mut self) -> io::Result<()> {
        match &mut self.speech {
            Speech::H1(exchange) => exchange.send_body(&mut self.link),
            Speech::H2(session) if self.link.is_up() => session.flush(&mut self.link),
            Speech::H2(_) => self.link.flush(),
        }
    }
}

impl Pace {
    fn new(rate: f64, poll: &Poll) -> Result<Self, Failure> {
        Ok(Self {
            timer: Timer::new(poll)?,
            interval: Duration::from_secs_f64(1.0 / rate),
            // Connections come up first.
            next: Instant::now() + Duration::from_millis(300),
            backlog: VecDeque::new(),
            free: Vec::new(),
        })
    }
}

const SCRATCH: usize = 256 * 1024;
/// Handshakes under way at a time.
const OPENING: u64 = 64;
