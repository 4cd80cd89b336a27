//! The body of an answer: the origin's or Herald's own words, and the record of the request, which
//! ends with it.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;

use crate::http::{RequestBody, Withdrawal};
use crate::relay::{End, IdleLimit, RelayBody, RelayError, Totals, Watch};
use crate::respond::upstream_reason;
use crate::telemetry::Record;
use crate::telemetry::reason::{Ending, Reason};

/// Finishes the record of a relayed answer, or the answer itself when nothing moves any more.
#[derive(Debug)]
pub struct Recorded {
    pub(super) record: Record,
    pub(super) idle: IdleLimit,
    pub(super) withdrawal: Rc<Withdrawal>,
}

impl Watch for Recorded {
    fn moved(&mut self, _totals: Totals) {
        self.idle.moved();
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.idle.poll(cx)
    }

    fn ended(&mut self, totals: Totals, end: End<'_>) {
        let record = &mut self.record;
        record.bodies(totals.sent, totals.received);
        match end {
            End::Complete => record.finish(Ending::Complete),
            End::Dropped if self.withdrawal.is_set() => {
                record.failed(Reason::CertificateFailed);
                record.finish(Ending::Failed);
            }
            End::Dropped => record.finish(Ending::ClientGone),
            End::Failed(error) => {
                record.failed(match error {
                    RelayError::Upstream(error) => upstream_reason(error),
                    RelayError::Idle => Reason::Idle,
                });
                record.finish(Ending::Failed);
            }
        }
    }
}

/// Herald's own words, and the record that ends with them.
#[derive(Debug)]
pub struct Page {
    body: Full<Bytes>,
    record: Record,
}

impl Page {
    pub(super) fn new(page: Bytes, mut record: Record, is_head: bool) -> Self {
        if is_head {
            // hyper sends no body and asks for none.
            record.finish(Ending::Complete);
        }
        let body = Full::new(page);
        Self { body, record }
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let length = frame.data_ref().map_or(0, Bytes::len);
            self.record.bodies(0, length as u64);
            self.record.finish(Ending::Complete);
        }
        polled
    }
}

/// The body of an answer.
#[derive(Debug)]
pub enum Reply {
    /// Herald's own words.
    Page(Page),
    /// No body: a 101.
    Nothing,
    /// The origin's.
    Relay(RelayBody<RequestBody, Recorded>),
}

impl Body for Reply {
    type Data = Bytes;
    type Error = RelayError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RelayError>>> {
        match self.get_mut() {
            Self::Nothing => Poll::Ready(None),
            Self::Page(page) => page.poll_frame(cx).map_err(|never| match never {}),
            Self::Relay(relay) => Pin::new(relay).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Page(page) => page.body.is_end_stream(),
            Self::Relay(relay) => relay.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Nothing => SizeHint::with_exact(0),
            Self::Page(page) => page.body.size_hint(),
            Self::Relay(relay) => relay.size_hint(),
        }
    }
}
