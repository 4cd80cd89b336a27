//! One connection of the loads that make many: handshake, perhaps one request, and an orderly end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mio::Poll;
use mio::event::Event;
use rustls::ClientConfig;

use super::Kind;
use super::h1::Exchange;
use super::link::Link;
use super::report::Report;
use crate::Failure;

/// See the module's documentation.
pub(super) struct Visit {
    link: Link,
    exchange: Exchange,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Handshake,
    Answer,
    End,
}

/// What has come of it by now.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// The answer has just become whole.
    pub(super) is_answered: bool,
    /// The connection came to its orderly end.
    pub(super) is_over: bool,
}

impl Visit {
    pub(super) fn begin(
        poll: &Poll,
        slot: usize,
        to: SocketAddr,
        config: &Arc<ClientConfig>,
        exchange: Exchange,
    ) -> Result<Self, Failure> {
        Ok(Self {
            link: Link::open(poll, slot, to, config)?,
            exchange,
            stage: Stage::Handshake,
        })
    }

    pub(super) fn notice(&mut self, event: &Event) {
        self.link.notice(event);
    }

    /// Goes on as far as it can; what was moved and ended is counted in `report`.
    pub(super) fn advance(
        &mut self,
        kind: Kind,
        scratch: &mut [u8],
        report: &mut Report,
    ) -> io::Result<Progress> {
        let (link, exchange) = (&mut self.link, &mut self.exchange);
        let mut progress = Progress::default();
        let mut is_whole = false;
        link.read(scratch, |bytes| {
            let (whole, body) = exchange.take(bytes)?;
            is_whole |= whole;
            report.totals.bytes_down += body;
            Ok(())
        })?;
        link.flush()?;
        if self.stage == Stage::Handshake && link.is_up() {
            if kind == Kind::Churn {
                exchange.start(link)?;
                self.stage = Stage::Answer;
            } else {
                link.finish()?;
                self.stage = Stage::End;
            }
        }
        if self.stage == Stage::Answer && is_whole {
            report.totals.requests += 1;
            progress.is_answered = true;
            link.finish()?;
            self.stage = Stage::End;
        }
        if !link.ended() {
            return Ok(progress);
        }
        if self.stage != Stage::End {
            return Err(io::Error::other("the peer closed the connection"));
        }
        report.totals.connections += 1;
        report.totals.resumed += u64::from(link.resumed());
        progress.is_over = true;
        Ok(progress)
    }
}
