//! Connections that come at a fixed rate, whether or not those before are done: handshake, perhaps
//! one request, and an orderly end. Errors are counted and never end the load: a peer that refuses
//! or drowns is what some of this is for.
//!
//! A connection that is not done when its patience is over has failed, so what is open at a time is
//! bounded by rate and patience, and by `--connections`.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Poll};
use rustls::ClientConfig;
use slab::Slab;

use super::h1::Exchange;
use super::report::Report;
use super::timer::Timer;
use super::visit::Visit;
use super::{Options, Tls, control};
use crate::{Failure, events};

/// One connection that came.
struct Arrival {
    number: u64,
    visit: Visit,
    due: Instant,
    is_light: bool,
}

/// All that are open, and when the next ones come.
struct Arrivals<'a> {
    options: &'a Options,
    config: Arc<ClientConfig>,
    poll: Poll,
    arrived: Slab<Arrival>,
    /// When each loses its patience, and its slot: the earliest first, as patience is one for all.
    ends: VecDeque<(Instant, usize, u64)>,
    report: Report,
    interval: Duration,
    patience: Duration,
    next: Instant,
    counting_from: Instant,
    dice: u64,
    scratch: Vec<u8>,
}

pub(super) fn run(options: &Options, tls: &Tls) -> Result<(), Failure> {
    let rate = options
        .rate
        .ok_or("connections at a fixed rate need --rate")?;
    let poll = Poll::new()?;
    control::register(&poll)?;
    let timer = Timer::new(&poll)?;
    let now = Instant::now();
    let mut arrivals = Arrivals {
        options,
        config: tls.config()?,
        poll,
        arrived: Slab::new(),
        ends: VecDeque::new(),
        report: Report::new()?,
        interval: Duration::try_from_secs_f64(1.0 / rate)?,
        patience: Duration::try_from_secs_f64(options.patience)?,
        next: now,
        counting_from: now + Duration::from_secs_f64(options.warmup),
        dice: FIRST_DICE,
        scratch: vec![0; SCRATCH],
    };
    let mut events = Events::with_capacity(1024);
    loop {
        timer.arm(arrivals.next)?;
        match arrivals.poll.poll(&mut events, None) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &events {
            if event.token() == control::TOKEN {
                arrivals.report.totals.repeats = tls.rota.repeats() as u64;
                if !control::answer(&arrivals.report)? {
                    return Ok(());
                }
            } else if let Some(slot) = events::slot(event.token()) {
                arrivals.serve(slot, event);
            }
        }
        // After the events: one of a connection that is gone must not meet the next in its slot.
        arrivals.give_up();
        arrivals.open_due();
    }
}

impl Arrivals<'_> {
    fn open_due(&mut self) {
        let now = Instant::now();
        while self.next <= now {
            let due = self.next;
            self.next += self.interval;
            for _ in 0..self.options.burst {
                self.report.totals.offered += 1;
                if let Err(error) = self.open(due) {
                    self.report.error(&error);
                }
            }
        }
    }

    fn open(&mut self, due: Instant) -> Result<(), Failure> {
        if self.arrived.len() >= self.options.connections {
            return Err("as many connections as may be are open".into());
        }
        let mut exchange = Exchange::new(&self.options.path, self.options.post);
        let is_light = self.throw() >= self.options.stalls;
        if !is_light {
            exchange.say(STALL);
        }
        let slot = self.arrived.vacant_key();
        let number = self.report.totals.offered;
        let visit = Visit::begin(&self.poll, slot, self.options.to, &self.config, exchange)?;
        self.ends.push_back((due + self.patience, slot, number));
        self.arrived.insert(Arrival {
            number,
            visit,
            due,
            is_light,
        });
        Ok(())
    }

    /// A number below 100, from a sequence that is the same in every run (xorshift64).
    fn throw(&mut self) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice % 100
    }

    fn serve(&mut self, slot: usize, event: &Event) {
        let Some(arrival) = self.arrived.get_mut(slot) else {
            return;
        };
        arrival.visit.notice(event);
        let kind = self.options.kind;
        match arrival
            .visit
            .advance(kind, &mut self.scratch, &mut self.report)
        {
            Ok(progress) => {
                let counts = Instant::now() >= self.counting_from && arrival.is_light;
                if progress.is_answered && counts {
                    self.report.latency(arrival.due.elapsed());
                }
                if !progress.is_over {
                    return;
                }
            }
            Err(error) => self.report.error(&error),
        }
        self.arrived.remove(slot);
    }

    fn give_up(&mut self) {
        let now = Instant::now();
        while let Some((end, slot, number)) = self.ends.front().copied() {
            let lives = self
                .arrived
                .get(slot)
                .is_some_and(|arrival| arrival.number == number);
            if lives && end > now {
                return;
            }
            self.ends.pop_front();
            if lives {
                self.arrived.remove(slot);
                self.report.error(&"no patience left");
            }
        }
    }
}

/// `proxy/src/exchange/stall.rs` knows it.
const STALL: &str = "X-Bench-Stall: 1";
const SCRATCH: usize = 64 * 1024;
/// Any number but zero.
const FIRST_DICE: u64 = 0x9e37_79b9_7f4a_7c15;
