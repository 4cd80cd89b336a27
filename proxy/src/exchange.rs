//! One request, from head to answer: the order of the stages, and nothing else.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::caller::Caller;
use crate::clock;
use crate::headers::{self, Hygiene, Outbound};
use crate::http::RequestHead;
use crate::policy;
use crate::relay::{RelayBody, RelayError};
use crate::respond::Failure;
use crate::snapshot::Snapshot;
use crate::tls::kernel::Lane;
use crate::upstream::Upstream;

/// What all requests of one connection share.
#[derive(Debug)]
pub struct Exchange {
    /// Who is calling.
    pub caller: Caller,
    /// The configuration the connection was accepted under.
    pub snapshot: Arc<Snapshot>,
    /// The worker's own copy of the snapshot's name tables.
    pub hygiene: Rc<Hygiene>,
    /// The worker's connections to the origin.
    pub upstream: Rc<Upstream>,
    /// Where bodies can go past userspace, if they can.
    pub lane: Option<Rc<Lane>>,
}

impl Exchange {
    /// Answers one request: from the origin, or with the reason why not.
    pub async fn answer(self: Rc<Self>, request: Request<Incoming>) -> Response<Reply> {
        let method = request.method().clone();
        let is_http2 = request.version() == Version::HTTP_2;
        let mut response = match self.forward(request).await {
            Ok(response) => response,
            Err(failure) => {
                tracing::debug!(%method, status = failure.status().as_u16(), %failure, "request not served");
                failure.response().map(|page| Reply::Page(Full::new(page)))
            }
        };
        if is_http2 {
            headers::ensure_date(response.headers_mut(), clock::unix_now());
        }
        response
    }

    async fn forward(&self, request: Request<Incoming>) -> Result<Response<Reply>, Failure> {
        let (parts, body) = request.into_parts();
        // First the request must mean one thing only ...
        let head = RequestHead::check(parts, &body, &self.snapshot.fallback_authority)?;
        // ... then the caller is judged as of now, not as of the handshake ...
        let standing = self.caller.standing(&*self.snapshot, clock::unix_now());
        let permit = policy::authorize(self.snapshot.client_auth, &standing.verdict)?;
        // ... then what the client said of itself goes and what Herald knows comes in ...
        let outbound = Outbound::new(head, permit, &self.hygiene, &standing.block)?;
        let response = self.upstream.send(&outbound, body).await?;
        // ... and the answer is cleaned on its way back.
        let (mut parts, body) = response.into_parts();
        headers::clean_response(&mut parts.headers, &self.hygiene);
        let mut body = RelayBody::new(body);
        if let Some(lane) = &self.lane {
            body.take_lane(lane);
        }
        Ok(Response::from_parts(parts, Reply::Relay(body)))
    }
}

/// The body of an answer.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every answer is relayed: a box would cost each an allocation"
)]
pub enum Reply {
    /// Herald's own words.
    Page(Full<Bytes>),
    /// The origin's.
    Relay(RelayBody<Incoming>),
}

impl Body for Reply {
    type Data = Bytes;
    type Error = RelayError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RelayError>>> {
        match self.get_mut() {
            Self::Page(page) => Pin::new(page)
                .poll_frame(cx)
                .map_err(|never| match never {}),
            Self::Relay(relay) => Pin::new(relay).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Page(page) => page.is_end_stream(),
            Self::Relay(relay) => relay.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Page(page) => page.size_hint(),
            Self::Relay(relay) => relay.size_hint(),
        }
    }
}
