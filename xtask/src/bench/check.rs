//! Each peer is checked for the whole job before it is measured.

use std::fmt;
use std::process::{Command, Output};

use super::peers::Peer;
use super::programs::Programs;
use crate::command::Failure;

/// What a check found.
#[derive(Debug)]
pub(super) struct Checked {
    /// Header names the peer can't send a value of its own for.
    pub(super) missing: Vec<String>,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.missing.is_empty() {
            f.write_str("does the whole job")
        } else {
            write!(f, "whole job but {}", self.missing.join(", "))
        }
    }
}

/// Forged headers are gone, the nine are there once each, and without a certificate nothing reaches
/// the origin. One that sets fewer by design must refuse, and no more.
pub(super) fn whole_job(peer: &Peer, programs: &Programs) -> Result<Checked, Failure> {
    let anonymous = probe(peer, programs, &["--anonymous"])?;
    let said = String::from_utf8_lossy(&anonymous.stdout).into_owned();
    if anonymous.status.success() && said.starts_with("HTTP/1.1 200") {
        return Err(Failure::new("serves a caller without a certificate"));
    }
    let forged: Vec<String> = NINE
        .iter()
        .flat_map(|name| ["--header".to_owned(), format!("{name}: {FORGED}")])
        .collect();
    let forged: Vec<&str> = forged.iter().map(String::as_str).collect();
    let genuine = probe(peer, programs, &forged)?;
    let said = String::from_utf8_lossy(&genuine.stdout).into_owned();
    let Some((answer, seen)) = said.split_once("\r\n\r\n") else {
        let reason = String::from_utf8_lossy(&genuine.stderr).into_owned();
        return Err(Failure::new(format!("gives no answer: {}", reason.trim())));
    };
    if !answer.starts_with("HTTP/1.1 200") {
        let status = answer.lines().next().unwrap_or_default();
        return Err(Failure::new(format!("refuses a good caller: {status}")));
    }
    if peer.kind.sets_fewer() {
        return Ok(Checked {
            missing: Vec::new(),
        });
    }
    nine(seen)?;
    Ok(Checked {
        missing: peer
            .kind
            .cannot_send()
            .iter()
            .map(|name| (*name).to_owned())
            .collect(),
    })
}

/// The nine headers in the head that the origin saw.
fn nine(seen: &str) -> Result<(), Failure> {
    for name in NINE {
        let values: Vec<&str> = seen
            .lines()
            .filter_map(|line| line.split_once(':'))
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect();
        match values[..] {
            [value] if value.contains(FORGED) => {
                return Err(Failure::new(format!("lets a forged {name} pass")));
            }
            [""] | [] => return Err(Failure::new(format!("sends no {name}"))),
            [_] => {}
            _ => return Err(Failure::new(format!("sends {name} more than once"))),
        }
    }
    Ok(())
}

fn probe(peer: &Peer, programs: &Programs, arguments: &[&str]) -> Result<Output, Failure> {
    Command::new(&programs.probe)
        .args(["--to", &peer.address.to_string()])
        .arg("--pki")
        .arg(&programs.pki)
        .args(arguments)
        .output()
        .map_err(|error| Failure::new(format!("{}: {error}", programs.probe.display())))
}

/// The headers that every peer sets: Cloudflare's Worker example.
pub(super) const NINE: [&str; 9] = [
    "X-CERT-ISSUER-DN",
    "X-CERT-SUBJECT-DN",
    "X-CERT-ISSUER-DN-L",
    "X-CERT-SUBJECT-DN-L",
    "X-CERT-SERIAL",
    "X-CERT-FINGER",
    "X-CERT-VERIFY",
    "X-CERT-NOTBE",
    "X-CERT-NOTAF",
];

const FORGED: &str = "forged-by-the-caller";

#[cfg(test)]
mod tests {
    use super::*;

    fn head(change: impl Fn(&str) -> String) -> String {
        NINE.iter().map(|name| change(name)).collect()
    }

    #[test]
    fn nine_genuine_headers_pass_in_any_case() {
        assert!(nine(&head(|name| format!("{}: v\r\n", name.to_lowercase()))).is_ok());
    }

    #[test]
    fn a_forged_a_doubled_and_an_absent_header_are_told() {
        let forged = head(|name| format!("{name}: {FORGED}\r\n"));
        let doubled = head(|name| format!("{name}: v\r\n{name}: v\r\n"));
        for (seen, words) in [
            (forged, "forged"),
            (doubled, "more than once"),
            (String::new(), "no"),
        ] {
            let problem = nine(&seen).unwrap_err().to_string();
            assert!(problem.contains(words), "{problem}");
        }
    }
}
