//! Why a caller is served or refused, in words: the chain it presents, what each trust store makes of
//! it, the mode, every policy and selector, and the headers an origin would get, byte for byte.
//!
//! Takes a compiled configuration and a question, asks the same code that serves requests, and
//! returns text. Certificates are hostile; what is printed of them is visible ASCII.

use rustls::pki_types::CertificateDer;
use time::{Date, Month, OffsetDateTime};

use crate::caller::{Judge as _, Standing};
use crate::http::path;
use crate::identity::{self, Attributes, Facts, OnFailure, Variable, VariableSet};
use crate::policy;
use crate::snapshot::{Application, Snapshot};
use crate::tls::{Examined, Reason, ReasonStyle, Verdict};

/// Who asks for what, and when.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// What the client presents, leaf first; empty for no certificate.
    pub chain: &'a [CertificateDer<'static>],
    /// The host it asks for, with or without a port.
    pub host: &'a str,
    /// The method.
    pub method: &'a str,
    /// The path, without a query.
    pub path: &'a str,
    /// Unix seconds.
    pub at: u64,
}

/// The whole answer, some lines of ASCII.
pub fn explain(snapshot: &Snapshot, question: &Question<'_>) -> String {
    let mut page = Page(String::new());
    page.line(
        "Request",
        &format!("{} {}{}", question.method, question.host, question.path),
    );
    page.line("Time", &time(question.at));
    let Some(application) = snapshot.application_of(question.host.as_bytes()) else {
        page.line("Application", "none has this host");
        page.line("Decision", "421 Misdirected Request");
        return page.0;
    };
    page.line("Application", &application.name);
    let mode = format!("{:?}", application.client_auth).to_lowercase();
    page.line("Mode", &mode);
    page.certificates(question.chain, question.at);
    let standing = snapshot
        .judging(application)
        .judge(question.chain, question.at);
    page.stores(application, question);
    page.verdict(&standing);
    page.decision(application, question, &standing);
    page.0
}

struct Page(String);

impl Page {
    fn line(&mut self, name: &str, text: &str) {
        self.0.push_str(&format!("{name:<12} "));
        for character in text.chars() {
            match character {
                ' '..='~' => self.0.push(character),
                _ => self.0.extend(character.escape_default()),
            }
        }
        self.0.push('\n');
    }

    /// What is presented, one by one, with what its dates say of the moment.
    fn certificates(&mut self, chain: &[CertificateDer<'static>], at: u64) {
        if chain.is_empty() {
            self.line("Certificate", "none is presented");
        }
        for (number, der) in chain.iter().enumerate() {
            let of = Described::of(der);
            self.line(&format!("Presented {number}"), &of.subject);
            self.line("", &format!("issued by {}", of.issuer));
            self.line(
                "",
                &format!("serial {}, SHA-256 {}", of.serial, of.fingerprint),
            );
            let dates = match dates(der, at) {
                Some(true) => "valid at that time",
                Some(false) => "NOT valid at that time",
                None => "dates that can't be read",
            };
            self.line(
                "",
                &format!("{} to {}: {dates}", of.not_before, of.not_after),
            );
            let key = identity::key_type(der).unwrap_or_else(|| "of an unknown kind".into());
            let signature = identity::signature_algorithm(der);
            let signature = signature.unwrap_or_else(|| "what can't be read".into());
            self.line("", &format!("key {key}, signed with {signature}"));
        }
    }

    /// The verdict of each store, and the path where there is one.
    fn stores(&mut self, application: &Application, question: &Question<'_>) {
        let Some(trust) = application.trust().filter(|_| !question.chain.is_empty()) else {
            return;
        };
        for of in trust.examine(question.chain, question.at) {
            let text = match &of.verdict {
                Verdict::Failed(reason) => format!("FAILED: {}", words(*reason)),
                Verdict::None => "nothing to judge".to_owned(),
                Verdict::Success(_) => "leads to one of its CA certificates".to_owned(),
            };
            self.line("Store", &format!("{}: {text}", of.store));
            self.path(&of.path);
        }
    }

    /// Each certificate of a path, leaf first, with every check.
    fn path(&mut self, path: &[Examined]) {
        for (number, of) in path.iter().enumerate() {
            let what = match (number, of.is_anchor) {
                (_, true) => "trust anchor",
                (0, false) => "the client's",
                (_, false) => "intermediate",
            };
            let subject = Described::of(&of.certificate).subject;
            self.line("", &format!("{what}: {subject}"));
            for check in &of.checks {
                let answer = match check.fault {
                    None => "ok".to_owned(),
                    Some(reason) => format!("NOT ok: {}", words(reason)),
                };
                self.line("", &format!("  {}: {answer}", check.what));
            }
        }
    }

    fn verdict(&mut self, standing: &Standing) {
        let text = match &standing.verdict {
            Verdict::None => "NONE".to_owned(),
            Verdict::Success(path) => format!("SUCCESS, by store {}", path.store),
            Verdict::Failed(reason) => format!("FAILED: {}", words(*reason)),
        };
        let until = match standing.holds_until {
            u64::MAX => String::new(),
            until => format!(", asked again at {}", time(until)),
        };
        self.line("Verdict", &format!("{text}{until}"));
    }

    fn decision(
        &mut self,
        application: &Application,
        question: &Question<'_>,
        standing: &Standing,
    ) {
        let permit = match policy::authorize(application.client_auth, &standing.verdict) {
            Ok(permit) => permit,
            Err(denied) => return self.line("Decision", &format!("403, by the mode: {denied}")),
        };
        let mut asked = question.path.as_bytes().into();
        if application.has_path_rules() {
            match path::canonical(question.path.as_bytes()) {
                Ok(form) => asked = form,
                Err(error) => return self.line("Decision", &format!("400: {error}")),
            }
            self.line("Path", &String::from_utf8_lossy(&asked));
        }
        let mut decision = None;
        if let Some(rules) = &application.rules {
            let attributes = match (&standing.verdict, question.chain.first()) {
                (Verdict::Success(path), Some(leaf)) => Some(Attributes::of(leaf, path)),
                _ => None,
            };
            for trace in rules.trace(attributes.as_ref(), question.method, &asked) {
                self.policy(&trace);
            }
            let made = rules.decide(&standing.met, question.method, &asked);
            let by = made
                .policy()
                .map_or("no policy matches", |policy| &policy.name);
            self.line("Decided by", by);
            decision = Some(made);
        }
        let shadow = application.rules.as_ref().is_some_and(|rules| rules.shadow);
        match policy::narrow(permit, decision, shadow) {
            Err(denied @ policy::Denied::Abruptly) => self.line("Decision", &denied.to_string()),
            Err(denied) => self.line("Decision", &format!("403: {denied}")),
            Ok((_permit, shadowed)) => {
                match shadowed {
                    None => self.line("Decision", "passes"),
                    Some(denied) => {
                        self.line(
                            "Decision",
                            &format!("passes, policies are shadows: {denied}"),
                        );
                    }
                }
                self.headers(application, &asked, standing);
            }
        }
    }

    fn policy(&mut self, trace: &policy::Trace<'_>) {
        let policy = trace.policy;
        let text = match (trace.is_for, trace.met) {
            (false, _) => "is for other methods or paths",
            (true, true) => "matches",
            (true, false) => "does not match",
        };
        let action = format!("{:?}", policy.action).to_lowercase();
        self.line("Policy", &format!("{} ({action}): {text}", policy.name));
        for (list, selector, holds) in &trace.selectors {
            let holds = if *holds { "true" } else { "false" };
            self.line("", &format!("{list} {selector}: {holds}"));
        }
    }

    /// What the origin gets, exactly as it is written to HTTP/1.1 origins, but for CR LF.
    fn headers(&mut self, application: &Application, path: &[u8], standing: &Standing) {
        let worker = application.worker_of(path);
        if let Some(worker) = worker {
            self.line("Worker", &format!("number {}", worker + 1));
        }
        self.0.push_str("Headers\n");
        let block = &standing.block_of(worker).http1;
        // Values are visible ASCII and spaces.
        self.0
            .push_str(&String::from_utf8_lossy(block).replace("\r\n", "\n"));
    }
}

/// What is printed of one certificate.
struct Described {
    subject: String,
    issuer: String,
    serial: String,
    fingerprint: String,
    not_before: String,
    not_after: String,
}

impl Described {
    fn of(der: &[u8]) -> Self {
        let wanted = [
            Variable::SubjectDn,
            Variable::IssuerDn,
            Variable::Serial,
            Variable::FingerprintSha256,
            Variable::NotBefore,
            Variable::NotAfter,
        ];
        let values = identity::values(
            &Facts {
                leaf: Some(der),
                // Its own verdict is told elsewhere; here only what it says counts.
                verdict: &Verdict::Failed(Reason::UnableToGetIssuerLocally),
                style: ReasonStyle::Openssl3,
                on_failure: OnFailure::Send,
                now: 0,
            },
            VariableSet::from_iter(wanted),
        );
        let text = |variable| match values.get(variable) {
            Some(value) => String::from_utf8_lossy(value).into_owned(),
            None => "-".to_owned(),
        };
        Self {
            subject: text(Variable::SubjectDn),
            issuer: text(Variable::IssuerDn),
            serial: text(Variable::Serial),
            fingerprint: text(Variable::FingerprintSha256),
            not_before: text(Variable::NotBefore),
            not_after: text(Variable::NotAfter),
        }
    }
}

fn words(reason: Reason) -> &'static str {
    match reason.text(ReasonStyle::Openssl3) {
        "" => "the certificate can't be read",
        text => text,
    }
}

fn dates(der: &[u8], at: u64) -> Option<bool> {
    let (from, to) = identity::validity(der)?;
    let at = i64::try_from(at).ok()?;
    Some(from <= at && at <= to)
}

fn time(unix: u64) -> String {
    let date = i64::try_from(unix).ok();
    let date = date.and_then(|unix| OffsetDateTime::from_unix_timestamp(unix).ok());
    date.map_or_else(
        || format!("Unix {unix}"),
        |date| {
            let (year, month, day) = date.to_calendar_date();
            let (hour, minute, second) = date.to_hms();
            let month = u8::from(month);
            format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
        },
    )
}

/// Reads `2027-01-31T12:00:00Z`, or Unix seconds.
pub fn moment(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    let mut numbers = [0_u16; 6];
    let mut rest = text;
    for (number, (width, end)) in numbers.iter_mut().zip(SHAPE) {
        let (digits, after) = rest.split_at_checked(*width)?;
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *number = digits.parse().ok()?;
        rest = after.strip_prefix(*end)?;
    }
    let [year, month, day, hour, minute, second] = numbers;
    let small = |number: u16| u8::try_from(number).ok();
    let month = Month::try_from(small(month)?).ok()?;
    let date = Date::from_calendar_date(year.into(), month, small(day)?).ok()?;
    let date = date
        .with_hms(small(hour)?, small(minute)?, small(second)?)
        .ok()?;
    rest.is_empty().then_some(())?;
    u64::try_from(date.assume_utc().unix_timestamp()).ok()
}

/// Digits of each number of a time, and what follows them.
const SHAPE: &[(usize, char)] = &[(4, '-'), (2, '-'), (2, 'T'), (2, ':'), (2, ':'), (2, 'Z')];

#[cfg(test)]
mod tests;
