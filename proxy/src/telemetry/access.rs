//! One record a request. Begun with its head, finished exactly once: when its answer is over or,
//! as a net, when it is dropped. With the log off it is a handful of counters and two coarse clock
//! calls; with it on, what will not last is kept as it comes, and handed over at its end.

use std::rc::Rc;
use std::sync::Arc;

use http::{Request, header};

use super::account::Account;
use super::connection::Scope;
use super::draft::{Draft, Kind};
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
    verdict: VerdictKind,
    account: Account,
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
        record.account.status = status.unwrap_or(0);
        record.account.reason = Some(reason);
        record.finish(match status {
            Some(_) => Ending::Complete,
            None => Ending::Failed,
        });
    }

    fn new(scope: &Rc<Scope>, identity: &Identity) -> Self {
        scope.begin_request();
        let pen = scope.ledger().access.as_ref();
        let draft = pen.map(|pen| Draft::new(Arc::clone(&identity.fields), pen.buffer()));
        let begun = match &draft {
            Some(_) => clock::monotonic(),
            None => clock::monotonic_coarse(),
        };
        Self {
            scope: Rc::clone(scope),
            draft,
            verdict: identity.verdict,
            account: Account::begin(begun),
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
            self.account.is_forwarded = true;
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
        self.account.status = status;
        if self.draft.is_some() {
            self.account.answered = clock::monotonic();
        }
    }

    /// Why the request is not served, or not to its end. The first reason counts.
    pub fn failed(&mut self, reason: Reason) {
        self.account.reason.get_or_insert(reason);
    }

    /// Bytes of the bodies so far: of the request's handed to the origin, of the answer's given to
    /// the client.
    pub fn bodies(&mut self, bytes_in: u64, bytes_out: u64) {
        (self.account.bytes_in, self.account.bytes_out) = (bytes_in, bytes_out);
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
        self.account.ending = ending;
        self.account.ended = match self.draft {
            Some(_) => clock::monotonic(),
            None => clock::monotonic_coarse(),
        };
        self.count();
        if let (Some(draft), Some(pen)) = (self.draft.take(), &self.scope.ledger().access) {
            let shared = [&self.scope.rendered, &draft.caller];
            let places = &self.scope.places;
            pen.add(|batch| {
                places.set(batch.request(places.get(), shared, draft.texts(), self.account));
            });
            pen.give_back(draft.into_buffer());
        }
    }

    fn count(&self) {
        let board = &self.scope.ledger().board;
        let class = usize::from(self.account.status / 100);
        if let Some(classes) = board.requests.get(self.scope.protocol().index()) {
            bump(classes, class);
        }
        bump(&board.verdicts, self.verdict.index());
        if let Some(reason) = self.account.reason {
            bump(&board.reasons, reason.index());
        }
        board.request_body_bytes.add(self.account.bytes_in);
        board.response_body_bytes.add(self.account.bytes_out);
        board.duration.observe(self.account.took());
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.finish(Ending::ClientGone);
    }
}
