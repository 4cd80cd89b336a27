//! The callers of the demonstration, and what must come of each.

use std::io;

use super::answer::Answer;
use super::pki::Presents;
use crate::trial::Question;

/// One caller.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) who: &'static str,
    pub(super) presents: Presents,
    pub(super) says: Says,
    /// Whether it calls the Herald that requires a good certificate.
    pub(super) required: bool,
    pub(super) expects: Expects,
}

/// What it sends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Says {
    /// Raw bytes.
    Http1(&'static str),
    /// Fields of a GET.
    Http2(&'static [(&'static str, &'static str)]),
}

impl Says {
    /// As a caller asks it.
    pub(super) fn question(self) -> Question {
        match self {
            Self::Http1(lines) => Question::Http1(lines.as_bytes().to_vec()),
            Self::Http2(fields) => {
                let fields = fields.iter();
                let fields = fields.map(|(name, value)| ((*name).into(), (*value).into()));
                Question::Http2 {
                    target: "https://localhost/".into(),
                    fields: fields.collect(),
                    trailers: None,
                }
            }
        }
    }

    pub(super) fn version(self) -> &'static str {
        match self {
            Self::Http1(_) => "1.1",
            Self::Http2(_) => "2",
        }
    }
}

/// What must come of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expects {
    /// The origin sees exactly these, and no other identity header.
    Seen {
        presented: &'static str,
        verify: &'static str,
        subject: Option<&'static str>,
    },
    /// Herald answers this status and the origin sees nothing.
    Refused(u16),
}

/// A row, what happened, and whether it was right.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) row: Row,
    pub(super) answer: io::Result<Answer>,
    pub(super) wrong: Option<String>,
}

impl Outcome {
    pub(super) fn of(row: Row, answer: io::Result<Answer>) -> Self {
        let wrong = match &answer {
            Ok(answer) => row.expects.find_fault(answer),
            Err(error) => Some(format!("no answer: {error}")),
        };
        Self { row, answer, wrong }
    }

    pub(super) fn is_right(&self) -> bool {
        self.wrong.is_none()
    }
}

impl Expects {
    fn find_fault(self, answer: &Answer) -> Option<String> {
        match self {
            Self::Refused(status) if answer.status == status && answer.seen.is_none() => None,
            Self::Refused(status) => Some(format!("{} instead of {status}", answer.status)),
            Self::Seen { .. } if answer.status != 200 => {
                Some(format!("{} instead of 200", answer.status))
            }
            Self::Seen {
                presented,
                verify,
                subject,
            } => {
                let expected = [
                    ("X-CERT-PRESENTED", Some(presented)),
                    ("X-CERT-VERIFY", Some(verify)),
                    ("X-CERT-SUBJECT-DN", subject),
                    ("Client-Cert", None),
                    ("X-Forwarded-Client-Cert", None),
                ];
                expected.into_iter().find_map(|(name, value)| {
                    let seen: Vec<_> = answer.values(name).collect();
                    (seen != value.as_slice())
                        .then(|| format!("{name}: {seen:?} instead of {value:?}"))
                })
            }
        }
    }
}

const GOOD: &str = "CN=device-42,O=Herald Demo";
const PLAIN: Says = Says::Http1("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
const NOBODY: Expects = Expects::Seen {
    presented: "0",
    verify: "NONE",
    subject: None,
};

/// All rows, in the order of the table.
pub(super) fn all() -> Vec<Row> {
    let mut rows = callers();
    rows.extend(liars());
    rows.extend(tricksters());
    rows.extend(at_the_strict_door());
    rows
}

fn caller(who: &'static str, presents: Presents, says: Says, expects: Expects) -> Row {
    Row {
        who,
        presents,
        says,
        required: false,
        expects,
    }
}

fn callers() -> Vec<Row> {
    let failed = |verify| Expects::Seen {
        presented: "1",
        verify,
        subject: None,
    };
    let good = Expects::Seen {
        presented: "1",
        verify: "SUCCESS",
        subject: Some(GOOD),
    };
    vec![
        caller("no certificate", Presents::Nothing, PLAIN, NOBODY),
        caller("good certificate", Presents::Good, PLAIN, good),
        caller("good certificate", Presents::Good, Says::Http2(&[]), good),
        caller(
            "expired",
            Presents::Expired,
            PLAIN,
            failed("FAILED:certificate has expired"),
        ),
        caller(
            "not yet valid",
            Presents::NotYetValid,
            PLAIN,
            failed("FAILED:certificate is not yet valid"),
        ),
        caller(
            "self-signed",
            Presents::SelfSigned,
            PLAIN,
            failed("FAILED:self signed certificate"),
        ),
        caller(
            "wrong CA",
            Presents::WrongCa,
            PLAIN,
            failed("FAILED:unable to verify the first certificate"),
        ),
    ]
}

/// An HTTP/1.1 request with these lines, of a caller without a certificate.
macro_rules! lie {
    ($who:literal, $lines:literal, $expects:expr) => {
        caller(
            $who,
            Presents::Nothing,
            Says::Http1(concat!(
                "GET / HTTP/1.1\r\nHost: localhost\r\n",
                $lines,
                "Connection: close\r\n\r\n"
            )),
            $expects,
        )
    };
}

/// Callers without a certificate who claim to have one, in the spellings that get past others.
fn liars() -> Vec<Row> {
    vec![
        lie!("forged X-CERT-VERIFY", "X-CERT-VERIFY: SUCCESS\r\n", NOBODY),
        lie!("forged x-cert-verify", "x-cert-verify: SUCCESS\r\n", NOBODY),
        lie!("forged X_CERT_VERIFY", "X_CERT_VERIFY: SUCCESS\r\n", NOBODY),
        lie!("forged X.Cert.Verify", "X.Cert.Verify: SUCCESS\r\n", NOBODY),
        lie!(
            "forged, twice",
            "X-CERT_VERIFY: SUCCESS\r\nX-CERT_VERIFY: SUCCESS\r\n",
            NOBODY
        ),
        lie!(
            "forged subject",
            "X-CERT-SUBJECT-DN: CN=admin\r\nX-CERT-PRESENTED: 1\r\n",
            NOBODY
        ),
        lie!("forged Client-Cert", "Client-Cert: :AAAA:\r\n", NOBODY),
        lie!(
            "forged Envoy XFCC",
            "X-Forwarded-Client-Cert: Subject=\"CN=admin\"\r\n",
            NOBODY
        ),
        caller(
            "forged over HTTP/2",
            Presents::Nothing,
            Says::Http2(&[
                ("x-cert-verify", "SUCCESS"),
                ("x_cert_verify", "SUCCESS"),
                ("client-cert", ":AAAA:"),
            ]),
            NOBODY,
        ),
        caller(
            "forged beside a good one",
            Presents::Good,
            Says::Http2(&[
                ("x-cert-subject-dn", "CN=admin"),
                ("x_cert_subject_dn", "CN=admin"),
            ]),
            Expects::Seen {
                presented: "1",
                verify: "SUCCESS",
                subject: Some(GOOD),
            },
        ),
    ]
}

/// Callers without a certificate who play with the framing of the message.
fn tricksters() -> Vec<Row> {
    let refused = Expects::Refused(400);
    vec![
        lie!(
            "Connection: x-cert-verify",
            "Connection: x-cert-verify\r\n",
            refused
        ),
        lie!(
            "space before the colon",
            "X-CERT-VERIFY : SUCCESS\r\n",
            refused
        ),
        lie!(
            "folded line",
            "X-A: 1\r\n X-CERT-VERIFY: SUCCESS\r\n",
            refused
        ),
        caller(
            "forged in a trailer",
            Presents::Nothing,
            Says::Http1(
                "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                 Transfer-Encoding: chunked\r\nTrailer: X-CERT-VERIFY\r\n\r\n\
                 2\r\nhi\r\n0\r\nX-CERT-VERIFY: SUCCESS\r\n\r\n",
            ),
            NOBODY,
        ),
        caller(
            "two lengths (smuggling)",
            Presents::Nothing,
            Says::Http1(
                "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                 Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
            ),
            refused,
        ),
    ]
}

/// The same at the Herald that requires a good certificate.
fn at_the_strict_door() -> Vec<Row> {
    let strict = |who, presents, expects| Row {
        who,
        presents,
        says: PLAIN,
        required: true,
        expects,
    };
    vec![
        strict(
            "good certificate",
            Presents::Good,
            Expects::Seen {
                presented: "1",
                verify: "SUCCESS",
                subject: Some(GOOD),
            },
        ),
        strict("no certificate", Presents::Nothing, Expects::Refused(403)),
        strict("expired", Presents::Expired, Expects::Refused(403)),
        strict("wrong CA", Presents::WrongCa, Expects::Refused(403)),
    ]
}
