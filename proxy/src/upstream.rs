//! The way to the origins, for one worker: takes an `Outbound` request and its body, chooses an
//! endpoint, returns the response's head and an [`OriginBody`] that moves the rest of both bodies
//! when polled. One task, no channel: a small request costs one write and one read.
//!
//! Refuses any response whose end is not beyond doubt (RFC 9112 §6.3, stricter), and never reuses
//! a connection unless request and response were both complete and nothing followed them.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::uri::Scheme;
use http::{Method, Request, Response};
use http_body::Body;
use proxy_common::TcpProfile;
use tokio::time::Instant;

use crate::headers::{Framing, Outbound};
use crate::sys::marks::Marks;

mod answer;
mod balance;
mod body;
mod check;
mod chunked;
mod connect;
mod connection;
mod endpoint;
mod error;
mod fields;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
mod head;
mod health;
mod http1;
mod http2;
mod io;
mod limits;
mod opening;
mod piece;
mod pool;
mod resolve;
mod target;
#[cfg(test)]
pub(crate) mod tests;
mod transfer;
mod tunnel;
mod upload;
mod wait;

pub use answer::OriginBody;
pub use balance::{Balance, ENDPOINTS_MAX, Fingerprint};
pub use check::HealthCheck;
pub use connect::{Connect, OriginConnect, Version};
pub use error::{BadResponse, Blame, BodyError, UpstreamError};
pub use health::EndpointHealth;
pub use io::OriginIo;
pub use limits::Limits;
pub use pool::{Stats, TrailerFilter, TrailerFilters};
pub use target::{Origin, Speaks, TlsOrigin, UpstreamTarget};
pub use transfer::Transfer;
pub use tunnel::OriginSide;

use answer::Transfers;
use balance::{Chooser, Tried};
use endpoint::Endpoint;
use health::InFlight;
use pool::{Pool, bump};

/// The origins of one application as one worker sees them: where they are, how they do, and the
/// connections that are idle.
pub struct Upstream<C: Connect = OriginConnect> {
    endpoints: Box<[Endpoint<C>]>,
    chooser: Chooser,
    isolate: bool,
    connect_timeout: Duration,
}

/// What a worker knows of an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct EndpointView<'a> {
    /// How the configuration names it.
    pub label: &'a str,
    /// How it does.
    pub health: EndpointHealth,
    /// How many connections are idle.
    pub idle: usize,
    /// What its connections did since the start.
    pub stats: Stats,
}

/// What an application's origins have in common.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Which origin a request goes to.
    pub balance: Balance,
    /// Whether each caller has connections of its own.
    pub isolate: bool,
    /// TCP settings that the kernel makes.
    pub tcp_profile: Option<TcpProfile>,
    /// Limits of each origin.
    pub limits: Limits,
}

impl Upstream {
    /// These origins, at least one, in this order. Trailers pass what the filters leave of them;
    /// connections with a profile are marked in `marks`.
    pub fn new(
        origins: &[Origin],
        settings: Settings,
        filters: &TrailerFilters,
        marks: &Marks,
    ) -> Rc<Self> {
        let marking = settings.tcp_profile.map(|profile| (marks.clone(), profile));
        let endpoints = origins
            .iter()
            .map(|origin| {
                let pool = Pool::new(settings.limits.clone(), filters);
                let connect = OriginConnect::new(origin.clone(), marking.clone());
                Endpoint::new(origin.to_string(), connect, pool)
            })
            .collect();
        Self::over(endpoints, settings)
    }

    /// Asks for the addresses of all names now. Where an address is gone, idle connections are
    /// closed: some may lead there. What can't be resolved keeps its last good answer.
    pub async fn resolve(&self) {
        for endpoint in &self.endpoints {
            let resolver = endpoint.connect.resolver();
            match resolver.refresh().await {
                Ok(true) => endpoint.clear(),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(origin = %endpoint.label, %error, "keeping the last addresses");
                }
            }
        }
    }

    /// Whether any origin is a name.
    pub fn has_names(&self) -> bool {
        let mut endpoints = self.endpoints.iter();
        endpoints.any(|endpoint| endpoint.connect.resolver().has_name())
    }
}

impl<C: Connect> Upstream<C> {
    fn over(endpoints: Box<[Endpoint<C>]>, settings: Settings) -> Rc<Self> {
        let named = endpoints
            .iter()
            .map(|endpoint| (&*endpoint.label, &endpoint.health));
        Rc::new(Self {
            chooser: Chooser::new(settings.balance, named),
            endpoints,
            isolate: settings.isolate,
            connect_timeout: settings.limits.connect_timeout,
        })
    }

    /// Sends the request and waits for the response's head. The request's body is sent as far as
    /// it comes until then, and by the returned [`OriginBody`] from then on. `caller` is the
    /// certificate's fingerprint, for balancing and isolation.
    ///
    /// Where no connection could be made, another endpoint is tried. A request is sent a second
    /// time, on a new connection, if nothing of its body was taken and it was sent on an open
    /// connection that turned out to be closed, no byte was answered, and the request has no side
    /// effects; or if the origin says that it did not process it (RFC 9113 §8.7).
    ///
    /// # Errors
    /// Every [`UpstreamError`]; the connection is closed then.
    pub fn send<B>(
        &self,
        outbound: &Outbound<'_>,
        body: B,
        caller: Option<&Fingerprint>,
    ) -> impl Future<Output = Result<Response<OriginBody<B, C::Io>>, UpstreamError>>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<BodyError>,
    {
        self.send_request(outbound, body, caller)
    }

    /// Closes connections that were idle for too long or were closed by the origin. The worker's
    /// tick calls it; without it they are closed when the next request comes.
    pub fn sweep(&self, now: Instant) {
        for endpoint in &self.endpoints {
            endpoint.sweep(now);
        }
    }

    /// How many connections are idle.
    pub fn idle(&self) -> usize {
        let endpoints = self.endpoints.iter();
        endpoints.map(|endpoint| endpoint.idle()).sum()
    }

    /// What this worker's connections did since the start.
    pub fn stats(&self) -> Stats {
        let endpoints = self.endpoints.iter();
        endpoints
            .map(|endpoint| endpoint.pool.stats.snapshot())
            .fold(Stats::default(), Stats::plus)
    }

    /// Each endpoint and how it does, in the order of the configuration.
    pub fn health(&self, now: Instant) -> impl Iterator<Item = (&str, EndpointHealth)> {
        let endpoints = self.endpoints.iter();
        endpoints.map(move |endpoint| (&*endpoint.label, endpoint.health.view(now)))
    }

    /// What this worker knows of each endpoint, in the order of the configuration.
    pub fn views(&self, now: Instant) -> impl Iterator<Item = EndpointView<'_>> {
        let endpoints = self.endpoints.iter();
        endpoints.map(move |endpoint| EndpointView {
            label: &endpoint.label,
            health: endpoint.health.view(now),
            idle: endpoint.idle(),
            stats: endpoint.pool.stats.snapshot(),
        })
    }

    async fn send_request<H, B>(
        &self,
        head: &H,
        mut body: B,
        caller: Option<&Fingerprint>,
    ) -> Result<Response<OriginBody<B, C::Io>>, UpstreamError>
    where
        H: RequestHead,
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<BodyError>,
    {
        let owner = caller.copied().filter(|_| self.isolate);
        let upgrades = head.upgrade().is_some();
        let now = Instant::now();
        let mut tried = Tried::default();
        let mut failure = None;
        while let Some((number, endpoint)) = self.choose(caller, tried, now) {
            let in_flight = InFlight::new(&endpoint.health);
            if let Some(channel) = endpoint.reuse(owner, upgrades, now) {
                match endpoint.exchange(channel, head, body, now).await {
                    Ok(response) => return Ok(endpoint.answered(response, number, in_flight)),
                    Err(failed) => body = failed.retry(head.method())?,
                }
                bump(&endpoint.pool.stats.retried);
            }
            // Boxed: it is seldom needed, and larger than all the rest.
            let channel = match Box::pin(endpoint.open(owner, upgrades)).await {
                Ok(channel) => channel,
                // Nothing was sent: any request may go elsewhere.
                Err(error) => {
                    endpoint.health.refused(Instant::now());
                    tried.add(number);
                    failure = Some(error);
                    if tried.count() == ATTEMPTS_MAX || now.elapsed() > self.connect_timeout {
                        break;
                    }
                    continue;
                }
            };
            let sending = endpoint.exchange(channel, head, body, Instant::now());
            return match sending.await {
                Ok(response) => Ok(endpoint.answered(response, number, in_flight)),
                Err(failed) => {
                    if failed.error.is_lost_connection() {
                        endpoint.health.broken(Instant::now());
                    }
                    Err(failed.error)
                }
            };
        }
        Err(failure.unwrap_or(UpstreamError::ConnectTimeout))
    }

    /// The next endpoint to be tried. The usual one of one costs a look at its health and nothing
    /// else.
    fn choose(
        &self,
        caller: Option<&Fingerprint>,
        tried: Tried,
        now: Instant,
    ) -> Option<(usize, &Endpoint<C>)> {
        if let [only] = &*self.endpoints {
            return (tried.count() == 0).then_some((0, only));
        }
        let number = self.chooser.choose(caller, tried, now)?;
        Some((number, self.endpoints.get(number)?))
    }
}

impl<C: Connect> Endpoint<C> {
    /// The response head has come: the endpoint is well.
    fn answered<B>(
        &self,
        response: Response<Transfers<B, C::Io>>,
        number: usize,
        in_flight: InFlight,
    ) -> Response<OriginBody<B, C::Io>> {
        self.health.answered();
        response.map(|transfer| OriginBody::new(transfer, number, in_flight))
    }
}

impl<C: Connect> fmt::Debug for Upstream<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels = self.endpoints.iter().map(|endpoint| &endpoint.label);
        f.debug_list().entries(labels).finish()
    }
}

/// What `upstream` needs to know of a request. Only [`Outbound`] has it outside tests, so that
/// nothing that was not cleaned can be sent.
trait RequestHead {
    fn method(&self) -> &Method;
    fn framing(&self) -> Framing;
    /// The protocol that the origin is asked to switch to.
    fn upgrade(&self) -> Option<&str>;
    fn write_http1_head(&self, head: &mut BytesMut);
    /// `None` if it cannot be said in HTTP/2.
    fn http2_request(&self, scheme: Scheme) -> Option<Request<()>>;
}

impl RequestHead for Outbound<'_> {
    fn method(&self) -> &Method {
        self.method()
    }

    fn framing(&self) -> Framing {
        self.framing()
    }

    fn upgrade(&self) -> Option<&str> {
        self.upgrade()
    }

    fn write_http1_head(&self, head: &mut BytesMut) {
        self.write_http1_head(head);
    }

    fn http2_request(&self, scheme: Scheme) -> Option<Request<()>> {
        self.http2_request(scheme)
    }
}

/// Endpoints that one request tries to connect to.
const ATTEMPTS_MAX: u32 = 3;
