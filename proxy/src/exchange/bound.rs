//! What a connection is bound to, as one configuration sees it: the application that its handshake
//! was for, who is calling, and what the caller was let through for. Made at the handshake, and
//! anew by the first request after another configuration was published.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;

use crate::caller::{Caller, Standing};
use crate::clock;
use crate::headers::ClientHop;
use crate::policy;
use crate::snapshot::{Application, Serving};
use crate::tls::VerifiedPeer;

/// See the module's documentation.
#[derive(Debug)]
pub struct Bound {
    /// What is served by.
    pub serving: Rc<Serving>,
    /// The way requests come.
    pub hop: ClientHop,
    application: Arc<Application>,
    caller: Caller,
    /// Whether the client was asked for a certificate.
    was_asked: bool,
    /// Whether the configuration has nothing that the handshake would have been right for.
    is_astray: bool,
    /// Whether one that let a request through is gone.
    has_lost: bool,
    /// Those that let a request of this connection through, each once.
    passed: RefCell<Vec<Arc<Application>>>,
}

impl Bound {
    /// What a completed handshake for `application` binds to.
    pub fn new(
        serving: Rc<Serving>,
        application: Arc<Application>,
        peer: VerifiedPeer,
        client: IpAddr,
    ) -> Self {
        let judging = serving.snapshot.judging(&application);
        let caller = Caller::new(peer, &judging, clock::unix_now());
        Self {
            hop: serving.snapshot.forwarding.hop(client),
            was_asked: application.asks(),
            is_astray: false,
            has_lost: false,
            passed: RefCell::default(),
            application,
            caller,
            serving,
        }
    }

    /// The same connection under another configuration. The application of the same name takes the
    /// place of the one before, with the trust it has now: a chain whose CA was withdrawn fails.
    /// Where there is none, or one that wants the certificate that was never asked for, every
    /// request is misdirected.
    pub(super) fn renewed(&self, serving: Rc<Serving>, client: IpAddr) -> Self {
        let snapshot = &serving.snapshot;
        let successor = snapshot.named(&self.application.name);
        let right = successor.filter(|found| self.was_asked || !found.asks());
        let application = Arc::clone(right.unwrap_or_else(|| snapshot.application(0)));
        let passed = self.passed.borrow();
        let still: Vec<_> = passed
            .iter()
            .filter_map(|before| snapshot.named(&before.name))
            .filter(|found| application.agrees(found))
            .cloned()
            .collect();
        let is_astray = self.is_astray || right.is_none();
        let has_lost = self.has_lost || still.len() < passed.len();
        let judging = snapshot.judging(&application);
        Self {
            hop: snapshot.forwarding.hop(client),
            caller: self.caller.renewed_for(&judging, clock::unix_now()),
            was_asked: self.was_asked,
            is_astray,
            has_lost,
            passed: RefCell::new(still),
            application,
            serving,
        }
    }

    /// The application that the handshake was for.
    pub fn application(&self) -> &Arc<Application> {
        &self.application
    }

    /// The application that an authority means, if the connection's handshake verified what that
    /// application would have: one for another trust, or none at all, is no answer to its question.
    pub(super) fn asked_for(&self, authority: &[u8]) -> Option<&Arc<Application>> {
        let asked = self.serving.snapshot.application_of(authority);
        asked.filter(|asked| !self.is_astray && self.application.agrees(asked))
    }

    /// How the caller stands now with an application.
    pub fn standing(&self, application: &Application) -> Arc<Standing> {
        let judging = self.serving.snapshot.judging(application);
        self.caller.standing(&judging, clock::unix_now())
    }

    /// What the caller presented, leaf first.
    pub(super) fn chain(&self) -> Arc<[CertificateDer<'static>]> {
        self.caller.chain()
    }

    /// Notes that `application` let a request through.
    pub(super) fn passed(&self, application: &Arc<Application>) {
        let mut passed = self.passed.borrow_mut();
        let mut known = passed.iter();
        if !known.any(|known| Arc::ptr_eq(known, application)) && passed.len() < PASSED_MAX {
            passed.push(Arc::clone(application));
        }
    }

    /// Whether the caller would still be let through wherever it was.
    pub(super) fn still_passes(&self) -> bool {
        let passed = self.passed.borrow();
        let is_served = !self.has_lost && (!self.is_astray || passed.is_empty());
        is_served
            && passed.iter().all(|application| {
                let standing = self.standing(application);
                policy::authorize(application.client_auth, &standing.verdict).is_ok()
            })
    }
}

/// Most applications that are remembered to have let a connection through; all are of one trust, and
/// what is not remembered is looked at with its next request.
const PASSED_MAX: usize = 8;
