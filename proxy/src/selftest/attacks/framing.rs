//! Malformed heads, hop-by-hop fields, framing that two might read differently, other protocols.

use super::{Attempt, Expects, MARK, Row, Target, Who};
use crate::trial::Question;

pub(super) fn all(target: &Target<'_>) -> Vec<Attempt> {
    let mut all = malformed(target);
    all.extend(hop_by_hop(target));
    all.extend(framing(target));
    all.extend(channels(target));
    all
}

fn malformed(target: &Target<'_>) -> Vec<Attempt> {
    let row = Row {
        section: "3.3",
        what: "malformed header lines",
    };
    let name = target.own_names().into_iter().next().unwrap_or_default();
    let lines = [
        format!("{name} : {MARK}\r\n"),
        format!("X-A: 1\r\n {name}: {MARK}\r\n"),
        format!(" {name}: {MARK}\r\n"),
        format!("{name}\t: {MARK}\r\n"),
        format!("{name}\u{b}: {MARK}\r\n"),
        format!("{name}\0: {MARK}\r\n"),
        format!("X-A: 1\r{name}: {MARK}\r\n"),
        format!("X-A: 1\0\r\n{name}: {MARK}\r\n"),
        format!(": {MARK}\r\n"),
        format!("{name}\r\n"),
    ];
    let refused = Expects::Refused(&[400]);
    let attempt = |line: &String| target.attempt(row, Who::Nobody, target.get(line), refused);
    let mut all: Vec<_> = lines.iter().map(attempt).collect();
    // Lines that end in LF alone are one thing to all that read them (RFC 9112 §2.2).
    let bare = format!("X-A: 1\n{name}: {MARK}\r\n");
    all.push(target.attempt(row, target.good(), target.get(&bare), Expects::Clean));
    all
}

/// An identity header named in `Connection`, for the next hop to remove.
fn hop_by_hop(target: &Target<'_>) -> Vec<Attempt> {
    let row = Row {
        section: "3.4",
        what: "Connection lists an identity header",
    };
    let refused = Expects::Refused(&[400]);
    let mut all = Vec::new();
    for name in target.own_names() {
        for line in [
            format!("Connection: {name}\r\n"),
            format!("Connection: keep-alive, {}\r\n", name.to_ascii_lowercase()),
            format!("Connection: keep-alive\r\nConnection: {name}\r\n"),
            format!("Connection: {}\r\n", name.replace('-', "_")),
        ] {
            // A folded name that no field has may be ignored; it removes nothing.
            let expects = match line.contains('_') {
                true => Expects::Clean,
                false => refused,
            };
            all.push(target.attempt(row, target.good(), target.get(&line), expects));
        }
    }
    let other = Row {
        section: "3.4",
        what: "hop-by-hop fields stay behind",
    };
    for line in [
        "Proxy-Connection: x-a\r\nKeep-Alive: timeout=5\r\n",
        "TE: gzip\r\nProxy: http://forged.invalid\r\n",
    ] {
        all.push(target.attempt(other, target.good(), target.get(line), Expects::Clean));
    }
    all
}

fn framing(target: &Target<'_>) -> Vec<Attempt> {
    let row = Row {
        section: "3.7",
        what: "ambiguous framing smuggles no request",
    };
    let host = &target.host;
    let smuggled =
        format!("GET /smuggled HTTP/1.1\r\nHost: {host}\r\nX-CERT-VERIFY: {MARK}\r\n\r\n");
    let attempt = |(lines, body, is_refused): &(&str, &str, bool)| {
        let lines = lines
            .replace("LENGTH+5", &(smuggled.len() + 5).to_string())
            .replace("LENGTH", &smuggled.len().to_string());
        let text = format!(
            "POST / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{lines}\r\n{body}{smuggled}"
        );
        let expects = match is_refused {
            true => Expects::Refused(&[400, 501]),
            false => Expects::Clean,
        };
        target.attempt(row, target.good(), Question::Http1(text.into()), expects)
    };
    let mut all: Vec<_> = AMBIGUOUS.iter().map(attempt).collect();
    let old = format!(
        "POST / HTTP/1.0\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
    );
    all.push(target.attempt(
        row,
        target.good(),
        Question::Http1(old.into()),
        Expects::Clean,
    ));
    all
}

/// Header lines, what comes before the request that is to be smuggled, and whether nothing may reach
/// the origin. `LENGTH` is that of the smuggled request.
const AMBIGUOUS: &[(&str, &str, bool)] = &[
    (
        "Content-Length: LENGTH+5\r\nTransfer-Encoding: chunked\r\n",
        "0\r\n\r\n",
        false,
    ),
    (
        "Transfer-Encoding: chunked\r\nContent-Length: LENGTH+5\r\n",
        "0\r\n\r\n",
        false,
    ),
    ("Content-Length: 0\r\nContent-Length: LENGTH\r\n", "", true),
    ("Content-Length: LENGTH, 0\r\n", "", true),
    ("Content-Length: +0\r\n", "", true),
    ("Content-Length: 0x0\r\n", "", true),
    ("Transfer-Encoding: xchunked\r\n", "", true),
    ("Transfer-Encoding: chunked, identity\r\n", "", true),
    ("Transfer-Encoding : chunked\r\n", "0\r\n\r\n", true),
    ("Transfer-Encoding: chunked\r\n", "zz\r\n", false),
    (
        "Transfer-Encoding: chunked\r\n",
        "2\r\nhi!!0\r\n\r\n",
        false,
    ),
    (
        "Transfer-Encoding: chunked\r\n",
        "fffffffffffffffff1\r\nhi\r\n0\r\n\r\n",
        false,
    ),
];

/// Other ways in: tunnels and changes of protocol.
fn channels(target: &Target<'_>) -> Vec<Attempt> {
    let row = Row {
        section: "3.13",
        what: "no CONNECT, no h2c, no absolute form of another scheme",
    };
    let host = &target.host;
    let connect = format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n");
    let h2c = "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nConnection: upgrade, http2-settings\r\n";
    let refused = Expects::Refused(&[400, 405, 501]);
    vec![
        target.attempt(row, target.good(), Question::Http1(connect.into()), refused),
        target.attempt(row, target.good(), target.get(h2c), Expects::Clean),
        target.attempt(
            row,
            target.good(),
            target.get_path(&format!("ftp://{host}/"), ""),
            Expects::Clean,
        ),
    ]
}
