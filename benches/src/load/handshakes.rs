//! Connections, one after another in each of a number of places: handshake, perhaps one request,
//! and an orderly end.
//!
//! In TLS 1.3 the client is done before the server has looked at its certificate (RFC 8446 §2), so
//! a handshake counts only when the server has closed in answer to our `close_notify` without an
//! alert: then it has verified the certificate and Finished.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use mio::{Events, Poll};
use rustls::ClientConfig;

use super::h1::Exchange;
use super::report::Report;
use super::visit::Visit;
use super::{Options, Tls, control};
use crate::{Failure, events};

/// A place where one connection follows the other, with a session cache of its own.
struct Place {
    config: Arc<ClientConfig>,
    visit: Option<Visit>,
    began: Instant,
}

pub(super) fn run(options: &Options, tls: &Tls) -> Result<(), Failure> {
    let mut poll = Poll::new()?;
    control::register(&poll)?;
    let mut report = Report::new()?;
    let counting_from = Instant::now() + std::time::Duration::from_secs_f64(options.warmup);
    let mut places = Vec::new();
    for slot in 0..options.connections {
        let mut place = Place {
            config: tls.config()?,
            visit: None,
            began: Instant::now(),
        };
        place.begin(&poll, slot, options)?;
        places.push(place);
    }
    let mut scratch = vec![0; 64 * 1024];
    let mut events = Events::with_capacity(1024);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &events {
            if event.token() == control::TOKEN {
                report.totals.repeats = tls.rota.repeats() as u64;
                if !control::answer(&report)? {
                    return Ok(());
                }
                continue;
            }
            let Some(slot) = events::slot(event.token()) else {
                continue;
            };
            let Some(place) = places.get_mut(slot) else {
                continue;
            };
            let Some(visit) = &mut place.visit else {
                continue;
            };
            visit.notice(event);
            match visit.advance(options.kind, &mut scratch, &mut report) {
                Ok(progress) if !progress.is_over => continue,
                Ok(_) if Instant::now() >= counting_from => {
                    report.latency(place.began.elapsed());
                }
                Ok(_) => {}
                Err(error) => report.error(&error),
            }
            place.begin(&poll, slot, options)?;
        }
        if report.hopeless() {
            report.print()?;
            return Err("too many errors".into());
        }
    }
}

impl Place {
    fn begin(&mut self, poll: &Poll, slot: usize, options: &Options) -> Result<(), Failure> {
        // Closed first: its descriptor leaves the poll.
        self.visit = None;
        let exchange = Exchange::new(&options.path, options.post);
        let visit = Visit::begin(poll, slot, options.to, &self.config, exchange)?;
        self.visit = Some(visit);
        self.began = Instant::now();
        Ok(())
    }
}
