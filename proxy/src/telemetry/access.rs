//! One record a request. Begun with its head, finished exactly once: when its answer is over or,
//! as a net, when it is dropped. With the log off it is a handful of counters and two coarse clock
//! calls; with it on, what will not last is kept as it comes, and the line is rendered at its end.

use std::rc::Rc;
use std::sync::Arc;

use http::{Request, header};

use super::connection::Scope;
use super::draft::{Draft, Kind};
use super::fields::{Fields, name};
use super::identity::Identity;
use super::metrics::bump;
use super::reason::{Ending, Reason, VerdictKind};
use crate::clock;

/// One request, from its head to the end of its answer.
#[derive(Debug)]
pub struct Record {
    scope: Rc<Scope>,
    /// `None` where no record is written.
    draft: Option<Draft>,
    /// Monotonic nanoseconds; coarse where no record is written.
    begun: u64,
    answered: u64,
    is_forwarded: bool,
    status: u16,
    verdict: VerdictKind,
    reason: Option<Reason>,
    bytes_in: u64,
    bytes_out: u64,
    finished: bool,
}

impl Record {
    /// Begins the record of `request`, which `identity` sent.
    pub fn begin<B>(scope: &Rc<Scope>, identity: &Identity, request: &Request<B>) -> Self {
        let mut record = Self::new(scope, identity);
        if let Some(draft) = &mut record.draft {
            let host = request.uri().authority().map_or_else(
                || {
                    request
                        .headers()
                        .get(header::HOST)
                        .map(|host| host.as_bytes())
                },
                |authority| Some(authority.as_str().as_bytes()),
            );
            let target = request.uri().path_and_query();
            let target = target.map_or("", |target| target.as_str());
            draft.say(Kind::protocol(request.version()));
            draft.keep(Kind::Method, request.method().as_str().as_bytes());
            draft.keep(Kind::Host, host.unwrap_or_default());
            draft.keep(Kind::Target, target.as_bytes());
        }
        record
    }

    /// Begins and ends the record of a head that hyper refused, or that never ended. `status` is
    /// what hyper answered, if it did.
    pub fn refused(scope: &Rc<Scope>, identity: &Identity, reason: Reason, status: Option<u16>) {
        let mut record = Self::new(scope, identity);
        record.status = status.unwrap_or(0);
        record.reason = Some(reason);
        record.finish(match status {
            Some(_) => Ending::Complete,
            None => Ending::Failed,
        });
    }

    fn new(scope: &Rc<Scope>, identity: &Identity) -> Self {
        scope.begin_request();
        let pen = scope.ledger().access.as_ref();
        let draft = pen.map(|pen| Draft::new(Arc::clone(&identity.fields), pen.buffer()));
        Self {
            scope: Rc::clone(scope),
            begun: match &draft {
                Some(_) => clock::monotonic(),
                None => clock::monotonic_coarse(),
            },
            draft,
            answered: 0,
            is_forwarded: false,
            status: 0,
            verdict: identity.verdict,
            reason: None,
            bytes_in: 0,
            bytes_out: 0,
            finished: false,
        }
    }

    /// The id by which the client, the origin and the log know this request.
    pub fn request_id(&mut self, id: &[u8]) {
        if let Some(draft) = &mut self.draft {
            draft.keep(Kind::RequestId, id);
        }
    }

    /// The application that the request is for.
    pub fn application(&mut self, name: &str) {
        if let Some(draft) = &mut self.draft {
            draft.keep(Kind::Application, name.as_bytes());
        }
    }

    /// The policy that decided, or that none did.
    pub fn rule(&mut self, name: Option<&str>) {
        if let Some(draft) = &mut self.draft {
            match name {
                Some(name) => draft.keep(Kind::Rule, name.as_bytes()),
                None => draft.say(Kind::NoRule),
            }
        }
    }

    /// A shadow would have denied the request.
    pub fn shadowed(&mut self) {
        self.scope.ledger().board.shadow_denials.add(1);
        if let Some(draft) = &mut self.draft {
            draft.say(Kind::ShadowDeny);
        }
    }

    /// The request passed the policy and goes to an origin now.
    pub fn forwarding(&mut self) {
        if let Some(draft) = &mut self.draft {
            draft.say(Kind::PolicyAllow);
            self.is_forwarded = true;
        }
    }

    /// Which origin it was, where that is known.
    pub fn upstream(&mut self, origin: Option<&str>) {
        if let (Some(origin), Some(draft)) = (origin, &mut self.draft) {
            draft.keep(Kind::Upstream, origin.as_bytes());
        }
    }

    /// The answer's status is known: the origin's, or Herald's own.
    pub fn answered(&mut self, status: u16) {
        self.status = status;
        if self.draft.is_some() {
            self.answered = clock::monotonic();
        }
    }

    /// Why the request is not served, or not to its end. The first reason counts.
    pub fn failed(&mut self, reason: Reason) {
        self.reason.get_or_insert(reason);
    }

    /// Bytes of the bodies so far: of the request's handed to the origin, of the answer's given to
    /// the client.
    pub fn bodies(&mut self, bytes_in: u64, bytes_out: u64) {
        (self.bytes_in, self.bytes_out) = (bytes_in, bytes_out);
    }

    /// Ends the record; only the first call counts.
    pub fn finish(&mut self, ending: Ending) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        if ending == Ending::ClientGone {
            self.failed(Reason::ClientGone);
        }
        self.scope.end_request();
        let now = match self.draft {
            Some(_) => clock::monotonic(),
            None => clock::monotonic_coarse(),
        };
        self.count(now.saturating_sub(self.begun));
        if let (Some(draft), Some(pen)) = (self.draft.take(), &self.scope.ledger().access) {
            pen.append(|fields| {
                fields.begin(&pen.stamp(self.begun, now));
                fields.rendered(self.scope.rendered());
                draft.render(fields);
                self.end(fields, ending, now);
            });
            pen.give_back(draft.into_buffer());
        }
    }

    fn count(&self, took: u64) {
        let board = &self.scope.ledger().board;
        let class = usize::from(self.status / 100);
        if let Some(classes) = board.requests.get(self.scope.protocol().index()) {
            bump(classes, class);
        }
        bump(&board.verdicts, self.verdict.index());
        if let Some(reason) = self.reason {
            bump(&board.reasons, reason.index());
        }
        board.request_body_bytes.add(self.bytes_in);
        board.response_body_bytes.add(self.bytes_out);
        board.duration.observe(took);
    }

    fn end(&self, fields: &mut Fields<'_>, ending: Ending, now: u64) {
        let denied = [
            Reason::NoCertificate,
            Reason::CertificateFailed,
            Reason::DeniedByPolicy,
        ];
        if self.reason.is_some_and(|reason| denied.contains(&reason)) {
            fields.word(name!("policy"), "deny");
        }
        if self.status > 0 {
            fields.number(name!("status"), self.status.into());
        }
        if let Some(reason) = self.reason {
            fields.word(name!("reason"), reason.label());
        }
        fields.number(name!("bytes_in"), self.bytes_in);
        fields.number(name!("bytes_out"), self.bytes_out);
        if self.is_forwarded && self.answered > 0 {
            let waited = self.answered.saturating_sub(self.begun);
            fields.seconds(name!("upstream_seconds"), waited);
        }
        fields.seconds(name!("seconds"), now.saturating_sub(self.begun));
        fields.word(name!("end"), ending.label());
        fields.end();
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.finish(Ending::ClientGone);
    }
}
