//! One request, from head to answer: the order of the stages, and nothing else.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};

use crate::caller::Standing;
use crate::clock;
use crate::headers::{self, Hygiene, Outbound, Way};
use crate::http::{ClientBody, RequestBody, RequestHead, Withdrawal};
use crate::policy::{self, Denied, Permit};
use crate::relay::{IdleLimit, RelayBody};
use crate::respond::{Asked, Failure, Misdirected, Turned};
use crate::snapshot::{Application, Current};
use crate::telemetry::reason::Reason;
use crate::telemetry::refusals::Refusal;
use crate::telemetry::{Record, RequestId, RequestIds, Scope, Telemetry};
use crate::tls::kernel::Lane;
use crate::upstream::{Fingerprint, OriginBody, Upstream, UpstreamError};

mod bound;
mod reply;
#[cfg(bench_stall)]
mod stall;
mod switch;

pub use bound::Bound;
pub use reply::Reply;
use reply::{Page, Recorded};
use switch::Opened;
pub use switch::Switched;

/// What all requests of one connection share.
#[derive(Debug)]
pub struct Exchange {
    /// What the worker serves by now.
    pub current: Rc<Current>,
    /// Who is calling, for which application, by the configuration last looked at.
    pub bound: RefCell<Rc<Bound>>,
    /// Where the connection is told that its caller may no longer pass.
    pub withdrawal: Rc<Withdrawal>,
    /// Where requests get their ids.
    pub request_ids: Rc<RequestIds>,
    /// Where bodies can go past userspace, if they can.
    pub lane: Option<Rc<Lane>>,
    /// The connection, as records see it.
    pub scope: Rc<Scope>,
    /// Where the client comes from.
    pub client: IpAddr,
    /// The limit on lines about requests.
    pub telemetry: Arc<Telemetry>,
    /// The tunnel that the last answer opened.
    pub switched: RefCell<Option<Switched>>,
}

/// A request as its origin gets it.
struct Prepared<'a> {
    outbound: Outbound<'a>,
    body: RequestBody,
    to: Destination<'a>,
}

/// Where a request goes, and for whom.
struct Destination<'a> {
    application: &'a Application,
    upstream: &'a Upstream,
    caller: Option<&'a Fingerprint>,
    opening: Option<Opened>,
}

/// What an origin answered, and to what, if that may open a tunnel.
struct Answered {
    response: Response<OriginBody<RequestBody>>,
    opened: Option<Opened>,
}

impl Destination<'_> {
    /// Cleans what came back.
    fn answered(
        self,
        sent: Result<Response<OriginBody<RequestBody>>, UpstreamError>,
        outbound: &Outbound<'_>,
        hygiene: &Hygiene,
        record: &mut Record,
    ) -> Result<Answered, Failure> {
        let endpoint = sent.as_ref().ok().map(|answer| answer.body().endpoint());
        record.upstream(self.application.origin_label(endpoint));
        let (mut parts, body) = sent?.into_parts();
        headers::clean_response(&mut parts.headers, hygiene);
        if let (StatusCode::SWITCHING_PROTOCOLS, Some(protocol)) =
            (parts.status, outbound.upgrade())
        {
            headers::announce_switch(&mut parts.headers, protocol);
        }
        Ok(Answered {
            response: Response::from_parts(parts, body),
            opened: self.opening,
        })
    }
}

impl Exchange {
    /// Answers one request: from the origin, or with the reason why not.
    ///
    /// What needs no waiting is done in functions of their own: a future keeps room for all that
    /// its body ever held, and is moved with it.
    pub fn answer(
        self: Rc<Self>,
        request: Request<ClientBody>,
    ) -> impl Future<Output = Response<Reply>> {
        #[cfg(bench_stall)]
        stall::hold(request.headers());
        let asked = Asked::of(&request);
        let is_http2 = request.version() == Version::HTTP_2;
        let bound = self.bound();
        let id = bound.hop.request_id(request.headers(), &self.request_ids);
        let mut standing = bound.standing(bound.application());
        let mut record = Record::begin(&self.scope, &standing.identity, &request);
        record.request_id(id.as_bytes());
        async move {
            let prepared = self.prepare(request, (&bound, &mut standing), &id, &mut record);
            let answered = match prepared {
                Ok(Prepared { outbound, body, to }) => {
                    record.forwarding();
                    let sent = to.upstream.send(&outbound, body, to.caller).await;
                    to.answered(sent, &outbound, &bound.serving.hygiene, &mut record)
                }
                Err(Failure::Denied(turned)) if turned.denied == Denied::Abruptly => {
                    return self.abort(&turned, record, &id).await;
                }
                Err(failure) => Err(failure),
            };
            self.reply(answered, (record, &bound), (&asked, is_http2), &id)
        }
    }

    fn reply(
        &self,
        answered: Result<Answered, Failure>,
        (mut record, bound): (Record, &Bound),
        (asked, is_http2): (&Asked, bool),
        id: &RequestId,
    ) -> Response<Reply> {
        let mut response = match answered {
            Ok(answered) if answered.response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                self.switch(answered, record, asked, id)
            }
            Ok(Answered { response, .. }) => {
                record.answered(response.status().as_u16());
                self.relay(response, record, bound)
            }
            Err(failure) => self.refuse(&failure, record, asked, id),
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
        let own = match failure {
            Failure::Denied(turned) => {
                self.review();
                self.remember(turned, id)
            }
            _ => None,
        };
        let mut response = failure.response(asked, id, own.as_deref());
        if self.withdrawal.is_set() {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        response.map(|page| Reply::Page(Page::new(page, record, is_head)))
    }

    /// Ends the connection without an answer. Never comes back: the connection's end takes it along.
    fn abort(
        &self,
        turned: &Turned,
        mut record: Record,
        id: &RequestId,
    ) -> impl Future<Output = Response<Reply>> + use<> {
        record.failed(Reason::DeniedByPolicy);
        self.remember(turned, id);
        self.withdrawal.abort();
        std::future::pending()
    }

    fn relay(
        &self,
        response: Response<OriginBody<RequestBody>>,
        record: Record,
        bound: &Bound,
    ) -> Response<Reply> {
        let (mut parts, body) = response.into_parts();
        let idle = IdleLimit::new(bound.serving.snapshot.limits.exchange_idle);
        let withdrawal = Rc::clone(&self.withdrawal);
        let watch = Recorded {
            record,
            idle,
            withdrawal,
        };
        let mut body = RelayBody::watched(body, watch);
        if let Some(lane) = &self.lane {
            body.take_lane(lane);
            if lane.is_retired() {
                let close = HeaderValue::from_static("close");
                parts.headers.insert(header::CONNECTION, close);
            }
        }
        Response::from_parts(parts, Reply::Relay(body))
    }

    /// Makes of a request what the origin gets, if its caller may pass.
    fn prepare<'a>(
        &'a self,
        request: Request<ClientBody>,
        (bound, standing): (&'a Bound, &'a mut Arc<Standing>),
        id: &'a RequestId,
        record: &mut Record,
    ) -> Result<Prepared<'a>, Failure> {
        let (parts, body) = request.into_parts();
        // First the request must mean one thing only ...
        let snapshot = &bound.serving.snapshot;
        let mut head = RequestHead::check(parts, &body, &snapshot.fallback_authority)?;
        // ... and be for an application that this connection's handshake would have done for ...
        let application = bound.asked_for(head.authority()).ok_or(Misdirected)?;
        record.application(&application.name);
        if application.number != bound.application().number {
            *standing = bound.standing(application);
        }
        let standing: &'a Standing = standing;
        // ... then the caller may pass or not, as it stands now, not as of the handshake ...
        let permit = self.admit((application, standing), &mut head, id, record)?;
        bound.passed(application);
        let block = standing.block_of(application.worker_of(head.path()));
        let body = RequestBody::new(body, snapshot.limits.body_max)?;
        // ... then what the client said of itself goes and what Herald knows comes in.
        let way = Way {
            hop: &bound.hop,
            id,
        };
        let opening = Opened::of(&head, application.has_path_rules());
        let mut outbound = Outbound::new(head, permit, &bound.serving.hygiene, block, way)?;
        outbound.ask_upgrade(&snapshot.upgrades);
        if standing.forwards {
            outbound.append_to_forwarded()?;
        }
        let upstreams = &bound.serving.upstreams;
        let to = Destination {
            application,
            upstream: upstreams.get(application.number).ok_or(Misdirected)?,
            caller: standing.fingerprint.as_ref(),
            opening,
        };
        Ok(Prepared { outbound, body, to })
    }

    /// Lets the caller pass, or not: by the application's mode first, then by its policies, for which
    /// the path is brought into the form that rules for paths are for.
    fn admit(
        &self,
        (application, standing): (&Application, &Standing),
        head: &mut RequestHead,
        id: &RequestId,
        record: &mut Record,
    ) -> Result<Permit, Failure> {
        let permit = policy::authorize(application.client_auth, &standing.verdict)
            .map_err(|denied| turned(denied, application, head))?;
        if application.has_path_rules() {
            head.canonicalize()?;
        }
        let rules = application.rules.as_ref();
        let decision =
            rules.map(|rules| rules.decide(&standing.met, head.method().as_str(), head.path()));
        if let Some(decision) = &decision {
            record.rule(decision.policy().map(|policy| policy.name.as_str()));
        }
        let is_shadow = rules.is_some_and(|rules| rules.shadow);
        let (permit, shadow) = policy::narrow(permit, decision, is_shadow)
            .map_err(|denied| turned(denied, application, head))?;
        if let Some(denied) = shadow {
            record.shadowed();
            self.tell_shadow(&application.name, &denied, id);
        }
        Ok(permit)
    }

    /// Who is calling for what, by the configuration as it is now.
    fn bound(&self) -> Rc<Bound> {
        let held = self.bound.borrow();
        if self.current.is(&held.serving) {
            return Rc::clone(&held);
        }
        let renewed = Rc::new(held.renewed(self.current.get(), self.client));
        drop(held);
        self.bound.replace(Rc::clone(&renewed));
        renewed
    }

    /// Looks whether what the caller was let through for still holds, and withdraws it if not.
    pub fn review(&self) {
        if !self.withdrawal.is_set() && !self.bound().still_passes() {
            self.withdrawal.set();
        }
    }

    /// Keeps a refusal for whoever asks why, and gives the application's page for it.
    fn remember(&self, turned: &Turned, id: &RequestId) -> Option<Arc<str>> {
        let bound = self.bound();
        let application = bound.serving.snapshot.application(turned.application);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.telemetry.refusals.push(Refusal {
            id: id.as_str().to_owned(),
            time: clock::unix_now(),
            application: application.name.clone(),
            method: turned.method.to_string(),
            host: text(&turned.host),
            path: text(&turned.path),
            why: turned.denied.to_string(),
            chain: bound.chain(),
        });
        application.denied_page.clone()
    }

    /// A line about what a policy in shadow mode would have denied.
    fn tell_shadow(&self, application: &str, denied: &Denied, id: &RequestId) {
        if let Some(held) = self
            .telemetry
            .requests
            .permit(self.client, clock::unix_now())
        {
            let (client, suppressed, elsewhere) = (self.client, held.source, held.others);
            tracing::info!(%client, application, %denied, %id, suppressed, elsewhere, "shadow policy would deny");
        }
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

fn turned(denied: Denied, application: &Application, head: &RequestHead) -> Box<Turned> {
    Box::new(Turned {
        denied,
        application: application.number,
        method: head.method().clone(),
        host: head.authority().into(),
        path: head.path().into(),
    })
}
