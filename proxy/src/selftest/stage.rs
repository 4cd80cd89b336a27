//! What the trial is held on: the configuration's data path between throw-away callers and an origin
//! that notes what it sees.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use http::{HeaderMap, HeaderName, HeaderValue};
use rcgen::{DnType, date_time_ymd};
use tempfile::TempDir;

use super::SelftestError;
use super::attempt::{Attempt, Door, MARK, Name, Who};
use crate::app::App;
use crate::config::{
    self, AdminAddr, Config, EbpfMode, LogTarget, Origin as Place, Scheme, UpstreamAddr,
};
use crate::files::Files;
use crate::hosts::HostPattern;
use crate::snapshot::{Application, Snapshot};
use crate::trial::{Answer, Authority, Caller, Origin, Own, Question, Seen, pki};

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Stage {
    /// Where requests go.
    origin: Origin,
    /// What the second door serves by.
    pub(super) snapshot: Snapshot,
    /// The configuration as it is.
    pub(super) config: Config,
    /// Where callers come from.
    pub(super) from: Source,
    doors: [App; 2],
    stores: Stores,
    strangers: Strangers,
    _folder: TempDir,
}

/// Where callers come from, as the configuration sees it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Source {
    /// Nobody's proxy.
    Untrusted(Ipv4Addr),
    /// All of loopback is trusted, and others are not.
    OnlyTrusted,
    /// Everybody is trusted.
    AllTrusted,
}

/// A throw-away CA in the place of those of one store, and who it certified.
#[derive(Debug)]
struct Store {
    file: PathBuf,
    good: Own,
    expired: Own,
    hostile: Own,
}

#[derive(Debug, Default)]
struct Stores(HashMap<Vec<PathBuf>, Store>);

/// Certificates of nobody's.
#[derive(Debug)]
struct Strangers {
    self_signed: Own,
    other_ca: Own,
}

impl Stage {
    /// Reads what the configuration names, and starts what is to be tried.
    pub(super) fn set(config: &Config) -> Result<Self, SelftestError> {
        let real = Snapshot::compile(config, &Files::default(), None);
        let real = real.map_err(SelftestError::Config)?;
        let folder = tempfile::Builder::new()
            .prefix("herald-selftest-")
            .tempdir()?;
        let origin = Origin::start(answers(&real))?;
        let addresses = [
            address(&format!("http://{}", origin.http1))?,
            address(&format!("h2c://{}", origin.http2))?,
        ];
        drop(real);
        let mut stores = Stores::default();
        let staged = stores.staged(config, &addresses, folder.path())?;
        let mut lifted = staged.clone();
        for application in &mut lifted.applications {
            application.shadow = true;
        }
        let snapshot = Snapshot::compile(&lifted, &Files::default(), None);
        let other = Authority::new(ORGANIZATION, "Somebody Else's CA")?;
        Ok(Self {
            origin,
            snapshot: snapshot.map_err(SelftestError::Config)?,
            doors: [App::start_as_is(&staged)?, App::start_as_is(&lifted)?],
            stores,
            strangers: Strangers {
                self_signed: Own::self_signed(&pki::client(ORGANIZATION, STRANGER))?,
                other_ca: other.issue(&pki::client(ORGANIZATION, STRANGER))?,
            },
            from: source(config),
            config: config.clone(),
            _folder: folder,
        })
    }

    /// Makes the attempt.
    pub(super) async fn ask(&self, attempt: &Attempt, number: usize) -> io::Result<Answer> {
        let caller = Caller {
            server_name: sent(&attempt.name),
            own: self.own(attempt.who),
            roots: None,
            from: match self.from {
                Source::Untrusted(address) => address,
                _ => Ipv4Addr::LOCALHOST,
            },
        };
        let [as_configured, lifted] = &self.doors;
        let door = match attempt.door {
            Door::AsConfigured => as_configured,
            Door::PoliciesLifted => lifted,
        };
        let question = numbered(&attempt.question, number);
        let address = first(door)?;
        let Some((host, name)) = &attempt.tickets_of else {
            return caller.ask(address, &question).await;
        };
        let text = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        // No attempt has this number.
        let earlier = numbered(&Question::Http1(text.into()), 0);
        caller
            .ask_with_tickets_of(sent(name), &earlier, address, &question)
            .await
    }

    /// What the origin got of the attempt of this number. Of an attempt that was answered before its
    /// request was over, the origin may hear the end later.
    pub(super) fn seen(&self, number: usize) -> Vec<Seen> {
        let mut seen = self.origin.take();
        seen.retain(|seen| match seen.target.split_once(NUMBER) {
            Some((_, other)) => *other == *number.to_string(),
            None => true,
        });
        seen
    }

    /// What somebody presents.
    pub(super) fn own(&self, who: Who) -> Option<&Own> {
        let store = |application: usize| self.stores_of(application).into_iter().next();
        match who {
            Who::Nobody => None,
            Who::Good(application) => store(application).map(|store| &store.good),
            Who::Expired(application) => store(application).map(|store| &store.expired),
            Who::Hostile(application) => store(application).map(|store| &store.hostile),
            Who::SelfSigned => Some(&self.strangers.self_signed),
            Who::OtherCa => Some(&self.strangers.other_ca),
        }
    }

    /// Whether a handshake for `of` verifies what `asked` would have: the same stores.
    pub(super) fn same_trust(&self, of: usize, asked: usize) -> bool {
        let files = |application| {
            let stores = self.stores_of(application).into_iter();
            let mut files: Vec<_> = stores.map(|store| &store.file).collect();
            files.sort_unstable();
            files
        };
        files(of) == files(asked)
    }

    fn stores_of(&self, application: usize) -> Vec<&Store> {
        let settings = self.settings(application);
        if settings.client_auth == config::ClientAuth::Off {
            return Vec::new();
        }
        let named = self.config.applications.get(application);
        let named = named.map(|application| application.trusts.as_slice());
        let find = |files: &Vec<PathBuf>| self.stores.0.get(files);
        match named {
            Some(trusts @ [_, ..]) => {
                let trusts = trusts.iter();
                let trusts = trusts.filter_map(|trust| self.config.trusts.get(*trust));
                trusts.filter_map(|trust| find(&trust.ca)).collect()
            }
            _ => find(&settings.client_ca).into_iter().collect(),
        }
    }

    /// The settings of an application.
    pub(super) fn settings(&self, application: usize) -> &Config {
        let named = self.config.applications.get(application);
        named.map_or(&self.config, |application| &application.settings)
    }

    /// Whether an application has all hosts that no other has.
    pub(super) fn takes_any_host(&self, application: usize) -> bool {
        let named = self.config.applications.get(application);
        named.is_some_and(|named| named.hosts.contains(&HostPattern::Any))
    }

    /// The host by which clients reach an application, and the server name they send.
    pub(super) fn host(&self, application: &Application) -> (String, Name) {
        let named = self.config.applications.get(application.number);
        let hosts = named.map(|application| application.hosts.as_slice());
        let mut names = hosts.unwrap_or_default().iter().map(|host| host.example());
        let is_address = |host: &String| host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        match names.clone().find(|host| !is_address(host)) {
            Some(host) => (host.clone(), Name::Sent(host)),
            None => match names.next() {
                // An address is sent as no name.
                Some(host) => (host, Name::Missing),
                None => ("localhost".to_owned(), Name::Sent("localhost".to_owned())),
            },
        }
    }
}

impl Stores {
    /// The configuration with all that is outside of it replaced: addresses, CAs, origins, logs.
    fn staged(
        &mut self,
        config: &Config,
        origins: &[UpstreamAddr; 2],
        folder: &Path,
    ) -> Result<Config, SelftestError> {
        let mut staged = self.settings(config, origins, folder)?;
        for trust in &mut staged.trusts {
            trust.ca = vec![self.file(&trust.ca, folder)?];
            trust.origins = vec![Place::Default];
            trust.crl.clear();
            trust.revoked.clear();
        }
        for application in &mut staged.applications {
            application.settings = self.settings(&application.settings, origins, folder)?;
        }
        Ok(staged)
    }

    fn settings(
        &mut self,
        config: &Config,
        [http1, http2]: &[UpstreamAddr; 2],
        folder: &Path,
    ) -> Result<Config, SelftestError> {
        let mut staged = config.clone();
        staged.listen = vec![(Ipv4Addr::LOCALHOST, 0).into()];
        (staged.workers, staged.refuse) = (1, None);
        (staged.ebpf, staged.handover) = (EbpfMode::Off, None);
        staged.observe.admin = AdminAddr::Off;
        (staged.observe.access_log, staged.observe.connection_log) =
            (LogTarget::Off, LogTarget::Off);
        let upstream = &mut staged.upstream;
        let origins = upstream.upstream.iter();
        upstream.upstream = origins
            .map(|origin| match origin.scheme() {
                Scheme::Http | Scheme::Https => http1.clone(),
                Scheme::H2c => http2.clone(),
            })
            .take(1)
            .collect();
        upstream.upstream_ca.clear();
        (upstream.upstream_cert, upstream.upstream_key) = (None, None);
        upstream.upstream_health_path = None;
        if !staged.client_ca.is_empty() {
            staged.client_ca = vec![self.file(&config.client_ca, folder)?];
        }
        staged.revocation.client_crl.clear();
        staged.revocation.client_revoked.clear();
        Ok(staged)
    }

    /// The CA in the place of these, the same for the same.
    fn file(&mut self, files: &[PathBuf], folder: &Path) -> Result<PathBuf, SelftestError> {
        if let Some(store) = self.0.get(files) {
            return Ok(store.file.clone());
        }
        let number = self.0.len();
        let authority = Authority::new(ORGANIZATION, &format!("Selftest CA {number}"))?;
        let file = folder.join(format!("ca-{number}.pem"));
        fs::write(&file, &authority.pem)?;
        let mut expired = pki::client(ORGANIZATION, STRANGER);
        (expired.not_before, expired.not_after) =
            (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        let mut hostile = pki::client("\",;=\\ \u{e9}\u{0}/CN=root", "x\r\nX-Injected: 1\r\n");
        let unit = DnType::OrganizationalUnitName;
        hostile.distinguished_name.push(unit, "x,CN=admin");
        let store = Store {
            file: file.clone(),
            good: authority.issue(&pki::client(ORGANIZATION, "selftest"))?,
            expired: authority.issue(&expired)?,
            hostile: authority.issue(&hostile)?,
        };
        self.0.insert(files.to_vec(), store);
        Ok(file)
    }
}

/// What of a name is sent.
fn sent(name: &Name) -> Option<&str> {
    match name {
        Name::Sent(name) => Some(name),
        Name::Unknown => Some("nobody-knows.invalid"),
        Name::Missing => None,
    }
}

/// The question with a number behind its path, by which the origin's notes tell it from others.
fn numbered(question: &Question, number: usize) -> Question {
    match question {
        Question::Http1(bytes) => {
            let mut windows = bytes.windows(VERSION.len());
            let end = windows.position(|window| window == VERSION);
            let (target, rest) = bytes.split_at(end.unwrap_or_default());
            if target.is_empty() || target.starts_with(b"CONNECT ") {
                return question.clone();
            }
            let number = format!("{NUMBER}{number}");
            Question::Http1([target, number.as_bytes(), rest].concat())
        }
        Question::Http2 {
            target,
            fields,
            trailers,
        } => Question::Http2 {
            target: format!("{target}{NUMBER}{number}"),
            fields: fields.clone(),
            trailers: trailers.clone(),
        },
    }
}

/// What the origin claims in its answers, which no client may get to see.
fn answers(snapshot: &Snapshot) -> HeaderMap {
    let mut answers = HeaderMap::new();
    let applications = snapshot.applications().iter().take(ANSWER_NAMES_MAX);
    let own = applications.flat_map(|application| application.names().take(ANSWER_NAMES_MAX));
    for name in own.chain(["X-CERT-VERIFY", "Client-Cert"]) {
        if let Ok(name) = HeaderName::try_from(name)
            && answers.len() < ANSWER_NAMES_MAX
        {
            answers.insert(name, HeaderValue::from_static(MARK));
        }
    }
    let vary = HeaderValue::from_static("X-CERT-VERIFY, Accept");
    answers.insert(http::header::VARY, vary);
    answers
}

/// An address that no configuration but a careless one trusts.
fn source(config: &Config) -> Source {
    let is_trusted = |address: IpAddr| {
        let mut networks = config.client.trusted_proxy.iter();
        networks.any(|network| network.contains(address))
    };
    let loopback = [[127, 0, 0, 1], [127, 83, 27, 1], [127, 201, 9, 77]].map(Ipv4Addr::from);
    // RFC 5737: documentation's, so nobody's proxies.
    let elsewhere = [[192, 0, 2, 1], [198, 51, 100, 1], [203, 0, 113, 1]].map(Ipv4Addr::from);
    let mut free = loopback.into_iter();
    match free.find(|address| !is_trusted((*address).into())) {
        Some(address) => Source::Untrusted(address),
        None if elsewhere
            .iter()
            .all(|address| is_trusted((*address).into())) =>
        {
            Source::AllTrusted
        }
        None => Source::OnlyTrusted,
    }
}

fn address(text: &str) -> io::Result<UpstreamAddr> {
    text.parse().map_err(io::Error::other)
}

fn first(app: &App) -> io::Result<SocketAddr> {
    app.bound()
        .first()
        .copied()
        .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

const ORGANIZATION: &str = "Herald Selftest";
const VERSION: &[u8] = b" HTTP/1.";
const NUMBER: &str = "?attempt=";
/// The name in certificates that do not verify; where it is seen, their values are.
pub(super) const STRANGER: &str = "selftest-stranger-c0ffee";
const ANSWER_NAMES_MAX: usize = 32;
