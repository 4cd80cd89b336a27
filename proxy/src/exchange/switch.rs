//! Another protocol, after an origin's 101: what the answer leaves for the connection to do, and the
//! tunnel, which lasts for as long as the request that opened it would be let through again.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, header};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Answered, Exchange, Reply};
use crate::clock;
use crate::http::RequestHead;
use crate::net::HalfClose;
use crate::policy;
use crate::relay::{Tunnel, TunnelError};
use crate::respond::Asked;
use crate::telemetry::reason::{Ending, Reason};
use crate::telemetry::{Record, RequestId};
use crate::upstream::{OriginSide, UpstreamError};

/// What a 101 leaves for the connection to do.
#[derive(Debug)]
pub struct Switched {
    origin: OriginSide,
    record: Record,
    /// The request that opened it.
    opened: Opened,
}

/// What is asked again while a tunnel is open.
#[derive(Debug)]
pub(super) struct Opened {
    authority: Box<[u8]>,
    method: Box<str>,
    path: Box<[u8]>,
    /// Whether `path` is in the form that rules for paths are for.
    is_canonical: bool,
}

impl Opened {
    /// Only a request that asks for another protocol can open a tunnel.
    pub(super) fn of(head: &RequestHead, is_canonical: bool) -> Option<Self> {
        head.headers().contains_key(header::UPGRADE).then(|| Self {
            authority: head.authority().into(),
            method: head.method().as_str().into(),
            path: head.path().into(),
            is_canonical,
        })
    }
}

impl Exchange {
    /// Takes the origin's side of a tunnel out of its 101; the connection opens it once hyper has
    /// sent the answer.
    pub(super) fn switch(
        &self,
        answered: Answered,
        mut record: Record,
        asked: &Asked,
        id: &RequestId,
    ) -> Response<Reply> {
        let (head, body) = answered.response.into_parts();
        match (body.into_tunnel(), answered.opened) {
            (Ok(origin), Some(opened)) => {
                record.answered(head.status.as_u16());
                self.switched.replace(Some(Switched {
                    origin,
                    record,
                    opened,
                }));
                Response::from_parts(head, Reply::Nothing)
            }
            // A 101 to what did not ask for it has been refused before.
            (Ok(_), None) => {
                self.refuse(&UpstreamError::UnexpectedUpgrade.into(), record, asked, id)
            }
            (Err(error), _) => self.refuse(&error.into(), record, asked, id),
        }
    }

    /// Moves bytes through the tunnel that the last answer opened, if it opened one, until it is
    /// over. `None` gives the client's stream back.
    pub async fn tunnel<C>(&self, client: C, read: Bytes) -> Option<C>
    where
        C: AsyncRead + AsyncWrite + HalfClose + Unpin,
    {
        let Some(Switched {
            origin,
            mut record,
            opened,
        }) = self.switched.take()
        else {
            return Some(client);
        };
        let OriginSide { io, read: sent, .. } = origin;
        let tunnel = Tunnel::new((client, read.into()), (io, sent));
        let idle = self.bound().serving.snapshot.limits.tunnel_idle;
        let withdrawn = poll_fn(|cx| self.withdrawal.poll(cx));
        let may_go_on = || self.may_go_on(&opened);
        let (totals, end) = tunnel.run(idle, may_go_on, withdrawn).await;
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

    /// For how long the caller may go on without being judged anew; `None` if the request that
    /// opened the tunnel would be refused now.
    fn may_go_on(&self, opened: &Opened) -> Option<Duration> {
        let now = clock::unix_now();
        let bound = self.bound();
        let application = bound.asked_for(&opened.authority)?;
        let standing = bound.standing(application);
        let permit = policy::authorize(application.client_auth, &standing.verdict).ok()?;
        if !opened.is_canonical && application.has_path_rules() {
            return None;
        }
        let rules = application.rules.as_ref();
        let decision = rules.map(|rules| rules.decide(&standing.met, &opened.method, &opened.path));
        let is_shadow = rules.is_some_and(|rules| rules.shadow);
        policy::narrow(permit, decision, is_shadow).ok()?;
        Some(Duration::from_secs(
            standing.holds_until.saturating_sub(now),
        ))
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
