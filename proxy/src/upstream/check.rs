//! Active health checks, where asked for: a GET to each endpoint at an interval, by each worker over
//! its own connections. An endpoint that fails twice gets no requests, as long as another one is
//! left, until it answers a check again.

use std::future::poll_fn;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::uri::{PathAndQuery, Scheme};
use http::{Method, Request, Uri};
use http_body_util::Empty;
use tokio::time::{Instant, timeout};

use super::answer::OriginBody;
use super::connect::Connect;
use super::error::UpstreamError;
use super::health::InFlight;
use super::{RequestHead, Upstream};
use crate::headers::Framing;

/// How endpoints are checked.
#[derive(Clone, Debug)]
pub struct HealthCheck {
    /// What is asked for; 200 to 399 means well.
    pub path: PathAndQuery,
    /// From one check to the next, and how long one may take.
    pub interval: Duration,
}

impl<C: Connect> Upstream<C> {
    /// How many endpoints there are.
    pub fn endpoints(&self) -> usize {
        self.endpoints.len()
    }

    /// Checks one endpoint once; says in the log when that changed what it counts as.
    pub async fn check(&self, number: usize, check: &HealthCheck) {
        let Some(endpoint) = self.endpoints.get(number) else {
            return;
        };
        let asked = timeout(check.interval, self.ask(number, check)).await;
        let outcome = match asked {
            Ok(Ok(status)) if (200..400).contains(&status) => Ok(()),
            Ok(Ok(status)) => Err(format!("status {status}")),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_elapsed) => Err("no answer in time".to_owned()),
        };
        let changed = endpoint.health.checked(outcome.is_ok());
        match outcome {
            Ok(()) if changed => tracing::info!(origin = %endpoint.label, "health check passes"),
            Err(reason) if changed => {
                tracing::warn!(origin = %endpoint.label, reason, "health check fails");
            }
            _ => {}
        }
    }

    /// The status of a check's answer, after its body was read: then the connection can be kept.
    async fn ask(&self, number: usize, check: &HealthCheck) -> Result<u16, UpstreamError> {
        let Some(endpoint) = self.endpoints.get(number) else {
            return Err(UpstreamError::Closed);
        };
        let head = CheckHead {
            authority: endpoint.connect.authority(),
            path: &check.path,
        };
        let now = Instant::now();
        let channel = match endpoint.reuse(None, now) {
            Some(channel) => channel,
            None => endpoint.open(None).await?,
        };
        let sent = endpoint.exchange(channel, &head, Empty::<Bytes>::new(), now);
        let response = sent.await.map_err(|failed| failed.error)?;
        let status = response.status().as_u16();
        let in_flight = InFlight::new(&endpoint.health);
        let mut body = OriginBody::new(response.into_body(), number, in_flight);
        while let Some(frame) = poll_fn(|cx| body.poll_frame(cx)).await {
            frame?;
            if body.received() > BODY_MAX {
                break;
            }
        }
        Ok(status)
    }
}

struct CheckHead<'a> {
    authority: String,
    path: &'a PathAndQuery,
}

impl RequestHead for CheckHead<'_> {
    fn method(&self) -> &Method {
        &Method::GET
    }

    fn framing(&self) -> Framing {
        Framing::None
    }

    fn upgrade(&self) -> Option<&str> {
        None
    }

    fn write_http1_head(&self, head: &mut BytesMut) {
        for part in [
            "GET ",
            self.path.as_str(),
            " HTTP/1.1\r\nhost: ",
            &self.authority,
            "\r\nuser-agent: herald-health-check\r\n\r\n",
        ] {
            head.put_slice(part.as_bytes());
        }
    }

    fn http2_request(&self, scheme: Scheme) -> Option<Request<()>> {
        let uri = Uri::builder()
            .scheme(scheme)
            .authority(self.authority.as_str())
            .path_and_query(self.path.clone());
        let request = Request::get(uri.build().ok()?);
        request
            .header("user-agent", "herald-health-check")
            .body(())
            .ok()
    }
}

/// More of a body than this is not read: its connection is closed instead.
const BODY_MAX: u64 = 64 * 1024;
