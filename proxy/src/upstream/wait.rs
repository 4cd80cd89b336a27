//! Waiting for the response head while the request goes out.

use std::io;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::Method;
use http_body::Body;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::error::{BadResponse, BodyError, UpstreamError};
use super::fields::LineScanner;
use super::head::{FinalHead, Head, find_head, parse_head};
use super::pool::Lease;
use super::tunnel;
use super::upload::Upload;

/// One attempt's wait for its response head.
#[derive(Debug)]
pub(super) struct HeadWait<'a> {
    method: &'a Method,
    /// The protocol that the origin was asked to switch to.
    upgrade: Option<&'a str>,
    scanner: LineScanner,
    informational: u8,
    /// Whether the origin has sent anything: from then on nothing is tried again.
    answered: bool,
    /// Why the request could not be sent to its end. An origin may refuse a body, answer and
    /// close; what it answered counts.
    broken: Option<UpstreamError>,
    /// `Upload::sent` when the deadline was set.
    sent: u64,
    /// Whether the deadline was set before the request was sent completely.
    sending: bool,
}

impl<'a> HeadWait<'a> {
    pub(super) fn new(method: &'a Method, upgrade: Option<&'a str>) -> Self {
        Self {
            method,
            upgrade,
            scanner: LineScanner::default(),
            informational: 0,
            answered: false,
            broken: None,
            sent: 0,
            sending: false,
        }
    }

    /// Whether a byte of a response was received.
    pub(super) fn is_answered(&self) -> bool {
        self.answered
    }

    /// Sends on, reads on; ready with the final response's head.
    pub(super) fn poll<S, B>(
        &mut self,
        lease: &mut Lease<S>,
        upload: &mut Upload<B>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<FinalHead, UpstreamError>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<BodyError>,
    {
        self.drive_upload(lease, upload, cx)?;
        loop {
            if let Some(head) = self.take_head(lease)? {
                return Poll::Ready(Ok(head));
            }
            match lease.poll_fill(cx) {
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(self.broken.take().unwrap_or(UpstreamError::Closed)));
                }
                Poll::Ready(Ok(_)) => self.answered = true,
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Err(self.unreadable(error)));
                }
                Poll::Pending => return self.poll_deadline(lease, upload, cx).map(Err),
            }
        }
    }

    fn drive_upload<S, B>(
        &mut self,
        lease: &mut Lease<S>,
        upload: &mut Upload<B>,
        cx: &mut Context<'_>,
    ) -> Result<(), UpstreamError>
    where
        S: AsyncWrite + Unpin,
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<BodyError>,
    {
        if upload.is_over() {
            return Ok(());
        }
        match upload.poll(lease, cx) {
            Poll::Pending if !self.sending => {
                self.sending = true;
                self.rearm(lease, upload);
            }
            Poll::Pending => {}
            Poll::Ready(Ok(())) if self.sending => self.rearm(lease, upload),
            Poll::Ready(Ok(())) => self.sent = upload.sent(),
            Poll::Ready(Err(error @ UpstreamError::Write(_))) => {
                upload.stop();
                self.broken = Some(error);
            }
            Poll::Ready(Err(error)) => return Err(error),
        }
        Ok(())
    }

    /// Takes heads out of what was read, up to the final one.
    fn take_head<S>(&mut self, lease: &mut Lease<S>) -> Result<Option<FinalHead>, UpstreamError> {
        let Lease {
            connection, pool, ..
        } = lease;
        let limits = &pool.limits;
        let read = &mut connection.read;
        while let Some(end) = find_head(&mut self.scanner, read, limits.max_response_head)? {
            // A copy of its own: an HTTP/2 client's compression table keeps header values, and a
            // slice would keep the whole read buffer alive with each (`Date` is new every second,
            // so 60 buffers a connection).
            let head = Bytes::copy_from_slice(read.get(..end).unwrap_or_default());
            read.advance(end);
            match parse_head(&head, self.method, limits.max_response_headers)? {
                Head::Final(head) => return Ok(Some(head)),
                Head::Switched(headers) => {
                    return tunnel::switched(headers, self.upgrade).map(Some);
                }
                Head::Informational if self.informational < limits.max_informational => {
                    self.informational += 1;
                }
                Head::Informational => return Err(BadResponse::TooManyInformational.into()),
            }
        }
        Ok(None)
    }

    fn unreadable(&mut self, error: io::Error) -> UpstreamError {
        self.broken.take().unwrap_or(UpstreamError::Read(error))
    }

    /// The deadline is one timer for a whole period, looked at when it fires: no timer is touched
    /// while a body moves.
    fn poll_deadline<S, B>(
        &mut self,
        lease: &mut Lease<S>,
        upload: &Upload<B>,
        cx: &mut Context<'_>,
    ) -> Poll<UpstreamError>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<BodyError>,
    {
        while lease.connection.poll_deadline(cx).is_ready() {
            if upload.sent() == self.sent {
                return Poll::Ready(if upload.waits_for_client() {
                    UpstreamError::ClientStalled
                } else {
                    UpstreamError::ResponseTimeout
                });
            }
            self.rearm(lease, upload);
        }
        Poll::Pending
    }

    fn rearm<S, B>(&mut self, lease: &mut Lease<S>, upload: &Upload<B>)
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<BodyError>,
    {
        self.sent = upload.sent();
        let limits = &lease.pool.limits;
        let limit = match upload.is_over() {
            true => limits.response_timeout,
            false => limits.body_timeout,
        };
        lease.connection.arm(Instant::now() + limit);
    }
}
