//! Whether an attempt was withstood, by what the origin saw and what the caller was answered.

use std::io;

use sha2::{Digest, Sha256};

use super::attempt::{Attempt, Expects, MARK};
use super::stage::{STRANGER, Stage};
use crate::caller::Judge as _;
use crate::clock;
use crate::headers::names::canonical_key;
use crate::snapshot::Application;
use crate::trial::{Answer, Seen};

/// What went wrong, if anything did.
pub(super) fn fault(
    stage: &Stage,
    attempt: &Attempt,
    answer: &io::Result<Answer>,
    seen: &[Seen],
) -> Option<String> {
    if let Some(why) = session_fault(attempt, answer) {
        return Some(why);
    }
    let reached = match seen {
        [] => None,
        [one] => Some(one),
        more => return Some(format!("the origin got {} requests", more.len())),
    };
    let Some(seen) = reached else {
        return match (attempt.expects, answer) {
            (Expects::Passes | Expects::Silence, Ok(answer)) => Some(format!(
                "{} instead of an answer of the origin",
                answer.status
            )),
            (Expects::Passes | Expects::Silence, Err(error)) => Some(format!("no answer: {error}")),
            (Expects::Refused(allowed), Ok(answer)) if !allowed.contains(&answer.status) => {
                Some(format!("{} instead of {allowed:?}", answer.status))
            }
            (Expects::Clean | Expects::Nameless, Ok(answer)) if answer.status >= 500 => {
                Some(format!("{} instead of a refusal", answer.status))
            }
            (_, Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                Some("neither an answer nor an end".to_owned())
            }
            _ => None,
        };
    };
    if let Expects::Refused(_) = attempt.expects {
        let Seen { method, target, .. } = seen;
        return Some(format!(
            "{method} {} reached the origin",
            target.escape_debug()
        ));
    }
    let of_origin = seen_fault(stage, attempt, seen);
    of_origin.or_else(|| match attempt.expects {
        Expects::Silence => told_fault(stage, answer.as_ref().ok()?),
        _ => None,
    })
}

/// A session is for the application that it was made with.
fn session_fault(attempt: &Attempt, answer: &io::Result<Answer>) -> Option<String> {
    let (_, name) = attempt.tickets_of.as_ref()?;
    let is_own = *name == attempt.name;
    match answer {
        Ok(answer) if answer.is_resumed && !is_own => {
            Some("the session of another application was resumed".to_owned())
        }
        Ok(answer) if !answer.is_resumed && is_own => {
            Some("the session was not resumed".to_owned())
        }
        // Without a ticket nothing was tried.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(error.to_string()),
        _ => None,
    }
}

/// What is wrong with what the origin saw.
fn seen_fault(stage: &Stage, attempt: &Attempt, seen: &Seen) -> Option<String> {
    let application = stage.snapshot.application(attempt.asked);
    let hygiene = &stage.snapshot.hygiene;
    let is_identity = |name: &str| hygiene.is_protected(name.as_bytes());
    for (name, value) in &seen.fields {
        let is_forged = contains(value, MARK.as_bytes());
        if is_forged && (is_identity(name) || is_claim(name)) {
            return Some(format!("the origin saw the forged {name}"));
        }
        if name == "x-injected" || (name.as_str() != "connection" && is_hop_by_hop(name)) {
            return Some(format!("the origin saw {name}"));
        }
    }
    let mut of_herald = seen.fields.to_vec();
    of_herald.retain(|(name, _)| is_identity(name));
    of_herald.sort();
    let path = seen.target.split('?').next().unwrap_or_default();
    let mut expected = expected(stage, attempt, application, path.as_bytes());
    expected.sort();
    if let Some((name, value)) = of_herald.iter().find(|field| !expected.contains(field)) {
        let value = value.escape_ascii();
        return Some(format!(
            "the origin saw {name}: {value}, which is not this caller's"
        ));
    }
    if of_herald != expected {
        return Some("the origin did not see all that Herald knows of this caller".to_owned());
    }
    if application.has_path_rules() && !is_canonical(path) {
        return Some(format!("the origin saw the path {}", path.escape_debug()));
    }
    match attempt.expects {
        Expects::Nameless => named(stage, attempt, seen),
        _ => None,
    }
}

/// What Herald says of this caller there, by the same code as `herald explain`.
fn expected(
    stage: &Stage,
    attempt: &Attempt,
    application: &Application,
    path: &[u8],
) -> Vec<(String, Vec<u8>)> {
    let own = stage.own(attempt.who).filter(|_| application.asks());
    let chain: Vec<_> = own.map(|own| own.certificate.clone()).into_iter().collect();
    let judging = stage.snapshot.judging(application);
    let standing = judging.judge(&chain, clock::unix_now());
    let block = &standing.block_of(application.worker_of(path)).http1;
    let lines = block.split(|byte| *byte == b'\n');
    let field = |line: &[u8]| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at_checked(colon)?;
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        Some((name, value.get(1..)?.trim_ascii().to_vec()))
    };
    lines.filter_map(field).collect()
}

/// Whether values of the certificate itself were sent.
fn named(stage: &Stage, attempt: &Attempt, seen: &Seen) -> Option<String> {
    let own = stage.own(attempt.who)?;
    let digest = Sha256::digest(&own.certificate);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let tells = |value: &[u8]| {
        contains(value, STRANGER.as_bytes())
            || contains(&value.to_ascii_lowercase(), hex.as_bytes())
    };
    let field = seen.fields.iter().find(|(_, value)| tells(value));
    field.map(|(name, _)| {
        format!("the origin is told {name} of a certificate that did not verify (on_failure)")
    })
}

/// What the client got to see of what the origin said of identity.
fn told_fault(stage: &Stage, answer: &Answer) -> Option<String> {
    let hygiene = &stage.snapshot.hygiene;
    let mut fields = answer.fields.iter();
    let told = fields.find(|(name, value)| {
        let is_varied =
            name.eq_ignore_ascii_case("vary") && value.to_ascii_lowercase().contains("cert");
        is_varied || hygiene.is_protected(name.to_ascii_lowercase().as_bytes())
    });
    told.map(|(name, value)| format!("the client was told {name}: {value}"))
}

/// Claims about earlier hops, by what origins fold a name to.
fn is_claim(name: &str) -> bool {
    let key = canonical_key(name.as_bytes());
    key.starts_with(b"x-forwarded-")
        || [&b"forwarded"[..], b"x-real-ip", b"x-request-id"].contains(&&*key)
}

fn is_hop_by_hop(name: &str) -> bool {
    [
        "connection",
        "keep-alive",
        "proxy",
        "proxy-connection",
        "http2-settings",
    ]
    .contains(&name)
}

/// Whether a path that an origin saw is in the form that rules are for.
fn is_canonical(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let odd = ["/..", "/./", "//", "%2f", "%5c", "%2e", "\\", "%00", ";"];
    !odd.iter().any(|part| lower.contains(part))
}

fn contains(value: &[u8], part: &[u8]) -> bool {
    value.windows(part.len()).any(|window| window == part)
}
