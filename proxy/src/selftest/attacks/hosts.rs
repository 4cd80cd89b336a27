//! One application's connection, another one's host: what a handshake verified holds for the
//! applications of the same trust and for no others.

use super::{Attempt, Expects, Name, Row, Target, Who};
use crate::snapshot::Application;
use crate::trial::Question;

pub(super) fn all(target: &Target<'_>) -> Vec<Attempt> {
    let mut all = ambiguous(target);
    if target.resumes() {
        all.push(resumed_by_its_own(target));
    }
    let applications = target.stage.snapshot.applications();
    let Some(default) = applications.first().filter(|_| applications.len() > 1) else {
        return all;
    };
    let asked = target.number();
    // The handshake is the default application's where the server name is missing, and where no
    // application has it.
    let unknown = applications
        .iter()
        .find(|application| target.stage.takes_any_host(application.number))
        .unwrap_or(default);
    all.extend(crossed(target, default, &Name::Missing));
    all.extend(crossed(target, unknown, &Name::Unknown));
    let others = applications.iter().filter(|other| other.number != asked);
    let (alike, unlike): (Vec<_>, Vec<_>) =
        others.partition(|other| target.stage.same_trust(other.number, asked));
    for other in alike
        .into_iter()
        .take(1)
        .chain(unlike.into_iter().take(OTHERS_MAX))
    {
        let (host, name) = target.stage.host(other);
        if let Name::Sent(_) = name {
            all.extend(crossed(target, other, &name));
            all.push(absolute(target, other, &host, &name));
            if target.resumes() && !target.stage.same_trust(other.number, asked) {
                all.extend(resumed(target, other, &host, &name));
            }
        }
    }
    all
}

/// A connection that was made for `of` asks for the target.
fn crossed(target: &Target<'_>, of: &Application, name: &Name) -> Vec<Attempt> {
    let row = Row {
        section: "3.8",
        what: "a connection for one application does not do for another's trust",
    };
    let mut all = Vec::new();
    for who in [Who::Nobody, Who::Good(of.number), target.good()] {
        for question in [target.get(""), target.get2(Vec::new())] {
            let attempt = target.attempt(row, who, question, expected(target, of));
            all.push(Attempt {
                name: name.clone(),
                ..attempt
            });
        }
    }
    all
}

fn expected(target: &Target<'_>, of: &Application) -> Expects {
    match target.stage.same_trust(of.number, target.number()) {
        true => Expects::Clean,
        false => Expects::Refused(&[421]),
    }
}

/// That sessions are resumed at all, without which the others would show nothing.
fn resumed_by_its_own(target: &Target<'_>) -> Attempt {
    let row = Row {
        section: "3.8",
        what: "a session that its own application resumes names the same caller",
    };
    let attempt = target.attempt(row, target.good(), target.get(""), Expects::Passes);
    Attempt {
        tickets_of: Some((target.host.clone(), target.name.clone())),
        ..attempt
    }
}

/// A session of `of` is offered to the target, by the caller it was made with and by one without a
/// certificate.
fn resumed(target: &Target<'_>, of: &Application, host: &str, name: &Name) -> Vec<Attempt> {
    let mut all = Vec::new();
    for who in [Who::Good(of.number), Who::Nobody] {
        for question in [target.get(""), target.get2(Vec::new())] {
            let attempt = target.attempt(TICKETS, who, question, Expects::Clean);
            all.push(Attempt {
                tickets_of: Some((host.to_owned(), name.clone())),
                ..attempt
            });
        }
    }
    all
}

/// The host of the request line is what counts (RFC 9112 §3.2.2), and is looked at as any other.
fn absolute(target: &Target<'_>, of: &Application, host: &str, name: &Name) -> Attempt {
    let row = Row {
        section: "3.8",
        what: "absolute form: its host counts, not the Host field",
    };
    let text = format!(
        "GET https://{}/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
        target.host
    );
    let expects = match expected(target, of) {
        Expects::Refused(_) => Expects::Refused(&[400, 421]),
        other => other,
    };
    let question = Question::Http1(text.into());
    let attempt = target.attempt(row, Who::Good(of.number), question, expects);
    Attempt {
        name: name.clone(),
        ..attempt
    }
}

/// Authorities that two might read differently.
fn ambiguous(target: &Target<'_>) -> Vec<Attempt> {
    let row = Row {
        section: "3.8",
        what: "two hosts, or none, are refused",
    };
    let host = &target.host;
    let refused = Expects::Refused(&[400, 421]);
    let heads = [
        format!("GET / HTTP/1.1\r\nHost: {host}\r\nHost: other.invalid\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {host}, other.invalid\r\n"),
        format!("GET / HTTP/1.1\r\nHost: user@{host}\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {host}/x\r\n"),
        "GET / HTTP/1.1\r\n".to_owned(),
    ];
    let attempt = |head: &String| {
        let text = format!("{head}Connection: close\r\n\r\n");
        target.attempt(row, target.good(), Question::Http1(text.into()), refused)
    };
    heads.iter().map(attempt).collect()
}

pub(super) const TICKETS: Row = Row {
    section: "3.8",
    what: "a session of one application means nothing to another",
};
/// Other applications whose connections are tried on each.
const OTHERS_MAX: usize = 2;
