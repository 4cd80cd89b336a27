//! The attacks, application by application: who asks what, and what may come of it. Sections are
//! those of docs/selftest.md.

use std::collections::BTreeSet;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::attempt::{Attempt, Door, Expects, MARK, Name, Row, Who};
use super::stage::{Source, Stage};
use crate::config::ClientAuth;
use crate::headers::family_names;
use crate::snapshot::Application;
use crate::trial::Question;

mod framing;
mod hosts;

/// An application under attack.
#[derive(Debug)]
pub(super) struct Target<'a> {
    stage: &'a Stage,
    application: &'a Application,
    host: String,
    name: Name,
}

impl<'a> Target<'a> {
    pub(super) fn of(stage: &'a Stage, application: &'a Application) -> Self {
        let (host, name) = stage.host(application);
        Self {
            stage,
            application,
            host,
            name,
        }
    }

    fn number(&self) -> usize {
        self.application.number
    }

    fn good(&self) -> Who {
        Who::Good(self.number())
    }

    /// At the lifted door, with the application's own name.
    fn attempt(&self, row: Row, who: Who, question: Question, expects: Expects) -> Attempt {
        Attempt {
            row,
            door: Door::PoliciesLifted,
            who,
            name: self.name.clone(),
            tickets_of: None,
            asked: self.number(),
            question,
            expects,
        }
    }

    /// A GET over HTTP/1.1 with more header lines.
    fn get(&self, lines: &str) -> Question {
        self.get_path("/", lines)
    }

    fn get_path(&self, path: &str, lines: &str) -> Question {
        let host = &self.host;
        let text =
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{lines}Connection: close\r\n\r\n");
        Question::Http1(text.into_bytes())
    }

    /// The same over HTTP/2.
    fn get2(&self, fields: Vec<(String, String)>) -> Question {
        Question::Http2 {
            target: format!("https://{}/", self.host),
            fields,
            trailers: None,
        }
    }

    /// Whether sessions can be resumed.
    fn resumes(&self) -> bool {
        self.stage.config.resumption.resumption
    }

    /// The names that Herald sets here.
    fn own_names(&self) -> BTreeSet<String> {
        self.application.names().map(str::to_owned).collect()
    }

    /// Nobody and somebody, as far as the mode lets either pass.
    fn callers(&self) -> [Who; 2] {
        [Who::Nobody, self.good()]
    }
}

/// Every attempt on an application.
pub(super) fn all(target: &Target<'_>) -> Vec<Attempt> {
    let mut all = callers(target);
    all.extend(forged(target));
    all.extend(claims(target));
    all.extend(content(target));
    all.extend(framing::all(target));
    all.extend(hosts::all(target));
    all.extend(paths(target));
    // And after all that it still serves.
    let row = Row {
        section: "-",
        what: "a good caller is served afterwards",
    };
    all.push(target.attempt(row, target.good(), target.get(""), Expects::Passes));
    all
}

/// What can't be tried here, and why.
pub(super) fn not_tried(target: &Target<'_>) -> Vec<(Row, &'static str)> {
    let mut rows = Vec::new();
    if target.stage.from == Source::OnlyTrusted {
        rows.push((
            CLAIMS,
            "trusted_proxy covers all of loopback, where this is tried from",
        ));
    }
    if !target.resumes() {
        rows.push((hosts::TICKETS, "sessions are not resumed here"));
    }
    rows
}

/// Who may pass by the mode, and what is said of whom.
fn callers(target: &Target<'_>) -> Vec<Attempt> {
    let mode = target.application.client_auth;
    let number = target.number();
    let row = |what| Row { section: "-", what };
    let refused = Expects::Refused(&[403]);
    let nobody = match mode {
        ClientAuth::Required => refused,
        ClientAuth::Optional | ClientAuth::ForwardFailed | ClientAuth::Off => Expects::Passes,
    };
    let failed = match mode {
        ClientAuth::Required | ClientAuth::Optional => refused,
        ClientAuth::ForwardFailed => Expects::Nameless,
        // Nobody is asked for a certificate.
        ClientAuth::Off => Expects::Passes,
    };
    let nobody = match target.stage.settings(number).reject_at_tls {
        true => Expects::Refused(&[]),
        false => nobody,
    };
    let good = row("a good caller is served and named");
    let unverified = Row {
        section: "3.1b",
        what: "a certificate that does not verify gives no identity",
    };
    let question = || target.get("");
    let mut all = vec![
        target.attempt(good, target.good(), question(), Expects::Passes),
        target.attempt(
            good,
            target.good(),
            target.get2(Vec::new()),
            Expects::Passes,
        ),
        target.attempt(
            row("nobody is refused or named NONE"),
            Who::Nobody,
            question(),
            nobody,
        ),
        target.attempt(
            Row {
                section: "3.12",
                what: "identity in an answer does not reach clients",
            },
            target.good(),
            question(),
            Expects::Silence,
        ),
    ];
    for who in [Who::Expired(number), Who::SelfSigned, Who::OtherCa] {
        all.push(target.attempt(unverified, who, question(), failed));
    }
    // Policies have the last word, where they are not shadows.
    let by_policy = Row {
        section: "-",
        what: "policies refuse whom they do not allow",
    };
    if let Some(denied) = denied_by_policy(target) {
        for who in denied {
            all.push(Attempt {
                door: Door::AsConfigured,
                ..target.attempt(by_policy, who, question(), refused)
            });
        }
    }
    all
}

/// Those that no policy lets through without a certificate that verifies.
fn denied_by_policy(target: &Target<'_>) -> Option<Vec<Who>> {
    let rules = target.application.rules.as_ref()?;
    let decision = rules.decide(&rules.standing(None), "GET", b"/");
    let is_denied = matches!(decision, crate::policy::Decision::Deny(_));
    is_denied.then(|| vec![Who::Nobody, Who::SelfSigned, Who::Expired(target.number())])
}

/// Every name of every product and of the mapping, in every spelling that origins fold.
fn forged(target: &Target<'_>) -> Vec<Attempt> {
    let mut names: BTreeSet<String> = family_names().map(str::to_ascii_lowercase).collect();
    names.extend(
        target
            .own_names()
            .iter()
            .map(|name| name.to_ascii_lowercase()),
    );
    let spellings: [Spelling; 5] = [
        (
            "3.1",
            "forged: every identity header",
            str::to_ascii_uppercase,
        ),
        ("3.1", "forged: mixed case", mixed_case),
        ("3.2", "forged: _ for -", |name| name.replace('-', "_")),
        ("3.2", "forged: . for -", |name| name.replace('-', ".")),
        ("3.2", "forged: other bytes for -", |name| {
            name.replacen('-', "~", 1).replacen('-', "!", 1)
        }),
    ];
    let most = target.stage.config.head_fields_max.saturating_sub(12);
    let names: Vec<String> = names.into_iter().collect();
    let mut all = Vec::new();
    for (section, what, spell) in spellings {
        let row = Row { section, what };
        for some in names.chunks(most.clamp(1, AT_A_TIME)) {
            let lines = |times: usize| -> String {
                let line = |name: &String| format!("{}: {MARK}\r\n", spell(name)).repeat(times);
                some.iter().map(line).collect()
            };
            let fields = some.iter();
            let fields: Vec<_> = fields
                .map(|name| (spell(name).to_ascii_lowercase(), MARK.to_owned()))
                .collect();
            for who in target.callers() {
                all.push(target.attempt(row, who, target.get(&lines(1)), Expects::Clean));
                all.push(target.attempt(row, who, target.get2(fields.clone()), Expects::Clean));
            }
        }
    }
    let twice = Row {
        section: "3.5",
        what: "forged: twice, beside a good certificate",
    };
    for name in target.own_names() {
        let line = format!("{name}: {MARK}\r\n").repeat(2);
        all.push(target.attempt(twice, target.good(), target.get(&line), Expects::Clean));
    }
    all.push(trailers(target));
    all
}

/// A section, what is told of it, and how a name is spelled.
type Spelling = (&'static str, &'static str, fn(&str) -> String);

fn trailers(target: &Target<'_>) -> Attempt {
    let row = Row {
        section: "3.5",
        what: "forged: in trailers",
    };
    let mut trailers = HeaderMap::new();
    for name in target.own_names() {
        if let Ok(name) = HeaderName::try_from(name.to_ascii_lowercase()) {
            trailers.insert(name, HeaderValue::from_static(MARK));
        }
    }
    let question = Question::Http2 {
        target: format!("https://{}/", target.host),
        fields: Vec::new(),
        trailers: Some(trailers),
    };
    target.attempt(row, target.good(), question, Expects::Clean)
}

/// Claims about earlier hops, of somebody who is no proxy.
fn claims(target: &Target<'_>) -> Vec<Attempt> {
    if target.stage.from == Source::OnlyTrusted {
        return Vec::new();
    }
    let names = [
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "X-Forwarded-Anything",
        "Forwarded",
        "X-Real-IP",
        "X-Request-Id",
        "X_Forwarded_For",
    ];
    let attempt = |name: &str| {
        let value = match name {
            "Forwarded" => format!("for={MARK}"),
            _ => MARK.to_owned(),
        };
        let question = target.get(&format!("{name}: {value}\r\n"));
        target.attempt(CLAIMS, target.good(), question, Expects::Clean)
    };
    names.into_iter().map(attempt).collect()
}

/// What a certificate's own text could do to a header.
fn content(target: &Target<'_>) -> Vec<Attempt> {
    let row = Row {
        section: "3.6",
        what: "a name with CR, LF, NUL and quotes stays inside its header",
    };
    let who = Who::Hostile(target.number());
    vec![
        target.attempt(row, who, target.get(""), Expects::Clean),
        target.attempt(row, who, target.get2(Vec::new()), Expects::Clean),
    ]
}

/// Paths that rules and origins might read differently.
fn paths(target: &Target<'_>) -> Vec<Attempt> {
    if !target.application.has_path_rules() {
        return Vec::new();
    }
    let row = Row {
        section: "3.8",
        what: "a path has one spelling, or none",
    };
    let spellings = [
        "/a/../b",
        "/a/%2e%2e/b",
        "/a//b",
        "/a/.%2e/b",
        "/a%2fb",
        "/a%2Fb",
        "/a%5cb",
        "/a\\b",
        "/a/..;/b",
        "/%2e",
        "/../b",
        "/a%00b",
        "/a%zzb",
        "/%61%62",
    ];
    let attempt = |path: &str| {
        let question = target.get_path(path, "");
        target.attempt(row, target.good(), question, Expects::Clean)
    };
    spellings.into_iter().map(attempt).collect()
}

fn mixed_case(name: &str) -> String {
    let swap = |(index, byte): (usize, char)| match index % 2 {
        0 => byte.to_ascii_uppercase(),
        _ => byte.to_ascii_lowercase(),
    };
    name.chars().enumerate().map(swap).collect()
}

const CLAIMS: Row = Row {
    section: "3.1",
    what: "claims about earlier hops are not believed",
};
/// Fields of one question.
const AT_A_TIME: usize = 24;
