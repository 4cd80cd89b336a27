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
use crate::headers::{self, ClientHop, Hygiene, Outbound, Way};
use crate::http::{RequestBody, RequestHead};
use crate::policy;
use crate::relay::{RelayBody, RelayError};
use crate::respond::{Asked, Failure};
use crate::snapshot::Snapshot;
use crate::telemetry::{RequestId, RequestIds};
use crate::upstream::Upstream;

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
}

impl Exchange {
    /// Answers one request: from the origin, or with the reason why not.
    pub async fn answer(self: Rc<Self>, request: Request<Incoming>) -> Response<Reply> {
        let asked = Asked::of(&request);
        let is_http2 = request.version() == Version::HTTP_2;
        let id = self.hop.request_id(request.headers(), &self.request_ids);
        let mut response = match self.forward(request, &id).await {
            Ok(response) => response,
            Err(failure) => {
                let status = failure.status().as_u16();
                tracing::debug!(method = %asked.method(), status, %failure, %id, "request not served");
                failure
                    .response(&asked, &id)
                    .map(|page| Reply::Page(Full::new(page)))
            }
        };
        if is_http2 {
            headers::ensure_date(response.headers_mut(), clock::unix_now());
        }
        response
    }

    async fn forward(
        &self,
        request: Request<Incoming>,
        id: &RequestId,
    ) -> Result<Response<Reply>, Failure> {
        let (parts, body) = request.into_parts();
        let body = RequestBody::new(body, self.snapshot.limits.body_max)?;
        // First the request must mean one thing only ...
        let head = RequestHead::check(parts, &body, &self.snapshot.fallback_authority)?;
        // ... then the caller is judged as of now, not as of the handshake ...
        let standing = self.caller.standing(&*self.snapshot, clock::unix_now());
        let permit = policy::authorize(self.snapshot.client_auth, &standing.verdict)?;
        // ... then what the client said of itself goes and what Herald knows comes in ...
        let way = Way { hop: &self.hop, id };
        let outbound = Outbound::new(head, permit, &self.hygiene, &standing.block, way)?;
        let caller = standing.fingerprint.as_ref();
        let response = self.upstream.send(&outbound, body, caller).await?;
        // ... and the answer is cleaned on its way back.
        let (mut parts, body) = response.into_parts();
        headers::clean_response(&mut parts.headers, &self.hygiene);
        Ok(Response::from_parts(
            parts,
            Reply::Relay(RelayBody::new(body)),
        ))
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
    Relay(RelayBody<RequestBody>),
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
