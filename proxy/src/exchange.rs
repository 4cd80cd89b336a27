//! One request, from head to answer: the order of the stages, and nothing else.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::caller::{Caller, Standing};
use crate::clock;
use crate::headers::{self, ClientHop, Hygiene, Outbound, Way};
use crate::http::{RequestBody, RequestHead};
use crate::net::HalfClose;
use crate::policy;
use crate::relay::{End, IdleLimit, RelayBody, RelayError, Totals, Tunnel, TunnelError, Watch};
use crate::respond::{Asked, Failure, upstream_reason};
use crate::snapshot::Snapshot;
use crate::telemetry::reason::{Ending, Reason};
use crate::telemetry::{Record, RequestId, RequestIds, Scope, Telemetry};
use crate::upstream::{OriginBody, OriginSide, Upstream};

/// What all requests of one connection share.
#[derive(Debug)]
pub struct Exchange {
    /// Who is calling.
    pub caller: Caller,
    /// The way its requests come.
    pub hop: ClientHop,
    /// The configuration the connection was accepted under.
    pub snapshot: Arc<Snapshot>,
    /// The worker's own copy of the snapshot's name tables.
    pub hygiene: Rc<Hygiene>,
    /// Where requests get their ids.
    pub request_ids: Rc<RequestIds>,
    /// The worker's connections to the origins.
    pub upstream: Rc<Upstream>,
    /// The connection, as records see it.
    pub scope: Rc<Scope>,
    /// Where the client comes from.
    pub client: IpAddr,
    /// The limit on lines about requests.
    pub telemetry: Arc<Telemetry>,
    /// The tunnel that the last answer opened.
    pub switched: RefCell<Option<Switched>>,
}

/// What a 101 leaves for the connection to do.
#[derive(Debug)]
pub struct Switched {
    origin: OriginSide,
    record: Record,
}

impl Exchange {
    /// Answers one request: from the origin, or with the reason why not.
    pub async fn answer(self: Rc<Self>, request: Request<Incoming>) -> Response<Reply> {
        let asked = Asked::of(&request);
        let is_http2 = request.version() == Version::HTTP_2;
        let standing = self.caller.standing(&*self.snapshot, clock::unix_now());
        let id = self.hop.request_id(request.headers(), &self.request_ids);
        let mut record = Record::begin(&self.scope, &standing.identity, &request);
        record.request_id(id.as_bytes());
        let mut response = match self.forward(request, &standing, &id, &mut record).await {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                self.switch(response, record, &asked, &id)
            }
            Ok(response) => {
                record.answered(response.status().as_u16());
                response.map(|body| Reply::Relay(RelayBody::watched(body, self.watch(record))))
            }
            Err(failure) => self.refuse(&failure, record, &asked, &id),
        };
        if is_http2 {
            headers::ensure_date(response.headers_mut(), clock::unix_now());
        }
        response
    }

    fn refuse(
        &self,
        failure: &Failure,
        mut record: Record,
        asked: &Asked,
        id: &RequestId,
    ) -> Response<Reply> {
        self.tell(failure, id);
        record.failed(failure.reason());
        record.answered(failure.status().as_u16());
        let is_head = *asked.method() == Method::HEAD;
        failure
            .response(asked, id)
            .map(|page| Reply::Page(Page::new(page, record, is_head)))
    }

    /// Takes the origin's side of a tunnel out of its 101; the connection opens it once hyper has
    /// sent the answer.
    fn switch(
        &self,
        response: Response<OriginBody<RequestBody>>,
        mut record: Record,
        asked: &Asked,
        id: &RequestId,
    ) -> Response<Reply> {
        let (head, body) = response.into_parts();
        match body.into_tunnel() {
            Ok(origin) => {
                record.answered(head.status.as_u16());
                self.switched.replace(Some(Switched { origin, record }));
                Response::from_parts(head, Reply::Nothing)
            }
            Err(error) => self.refuse(&error.into(), record, asked, id),
        }
    }

    /// Moves bytes through the tunnel that the last answer opened, if it opened one, until it is
    /// over. `None` gives the client's stream back.
    pub async fn tunnel<C>(&self, client: C, read: Bytes) -> Option<C>
    where
        C: AsyncRead + AsyncWrite + HalfClose + Unpin,
    {
        let Some(Switched { origin, mut record }) = self.switched.take() else {
            return Some(client);
        };
        let OriginSide { io, read: sent, .. } = origin;
        let tunnel = Tunnel::new((client, read.into()), (io, sent));
        let idle = self.snapshot.limits.tunnel_idle;
        let (totals, end) = tunnel.run(idle, || self.may_go_on()).await;
        record.bodies(totals.sent, totals.received);
        match end {
            Ok(()) => record.finish(Ending::Complete),
            Err(error) => {
                tracing::debug!(client = %self.client, %error, "tunnel cut");
                record.failed(tunnel_reason(&error));
                record.finish(Ending::Failed);
            }
        }
        None
    }

    fn watch(&self, record: Record) -> Recorded {
        let idle = IdleLimit::new(self.snapshot.limits.exchange_idle);
        Recorded { record, idle }
    }

    /// For how long the caller may go on without being judged anew; `None` if it may not.
    fn may_go_on(&self) -> Option<Duration> {
        let now = clock::unix_now();
        let standing = self.caller.standing(&*self.snapshot, now);
        policy::authorize(self.snapshot.client_auth, &standing.verdict).ok()?;
        Some(Duration::from_secs(
            standing.holds_until.saturating_sub(now),
        ))
    }

    async fn forward(
        &self,
        request: Request<Incoming>,
        standing: &Standing,
        id: &RequestId,
        record: &mut Record,
    ) -> Result<Response<OriginBody<RequestBody>>, Failure> {
        let (parts, body) = request.into_parts();
        // First the request must mean one thing only ...
        let head = RequestHead::check(parts, &body, &self.snapshot.fallback_authority)?;
        // ... then the caller may pass or not, as it stands now, not as of the handshake ...
        let permit = policy::authorize(self.snapshot.client_auth, &standing.verdict)?;
        let body = RequestBody::new(body, self.snapshot.limits.body_max)?;
        // ... then what the client said of itself goes and what Herald knows comes in ...
        let way = Way { hop: &self.hop, id };
        let outbound = Outbound::new(head, permit, &self.hygiene, &standing.block, way)?
            .with_upgrade(&self.snapshot.upgrades);
        record.forwarding();
        let caller = standing.fingerprint.as_ref();
        let answered = self.upstream.send(&outbound, body, caller).await;
        let endpoint = answered
            .as_ref()
            .ok()
            .map(|answer| answer.body().endpoint());
        record.upstream(self.snapshot.origin_label(endpoint));
        let response = answered?;
        // ... and the answer is cleaned on its way back.
        let (mut parts, body) = response.into_parts();
        headers::clean_response(&mut parts.headers, &self.hygiene);
        if let (StatusCode::SWITCHING_PROTOCOLS, Some(protocol)) =
            (parts.status, outbound.upgrade())
        {
            headers::announce_switch(&mut parts.headers, protocol);
        }
        Ok(Response::from_parts(parts, body))
    }

    /// A line for who looks closely; the record says it in any case.
    fn tell(&self, failure: &Failure, id: &RequestId) {
        if tracing::enabled!(tracing::Level::DEBUG)
            && let Some(held) = self
                .telemetry
                .requests
                .permit(self.client, clock::unix_now())
        {
            let (client, status) = (self.client, failure.status().as_u16());
            let (suppressed, elsewhere) = (held.source, held.others);
            tracing::debug!(%client, status, %failure, %id, suppressed, elsewhere, "request not served");
        }
    }
}

/// Finishes the record of a relayed answer, or the answer itself when nothing moves any more.
#[derive(Debug)]
pub struct Recorded {
    record: Record,
    idle: IdleLimit,
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

fn tunnel_reason(error: &TunnelError) -> Reason {
    match error {
        TunnelError::Client(_) => Reason::ClientGone,
        TunnelError::Origin(_) => Reason::OriginRead,
        TunnelError::Idle => Reason::Idle,
        TunnelError::Withdrawn => Reason::CertificateFailed,
    }
}

/// Herald's own words, and the record that ends with them.
#[derive(Debug)]
pub struct Page {
    body: Full<Bytes>,
    record: Record,
}

impl Page {
    fn new(page: Bytes, mut record: Record, is_head: bool) -> Self {
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
