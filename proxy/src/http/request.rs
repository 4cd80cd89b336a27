//! `RequestHead`: a request whose framing, authority and target mean one thing only.
//!
//! hyper has parsed the bytes (no second head parser stands before it, that would be a desync);
//! what it lets through and another HTTP implementation might read differently is refused here
//! (RFC 9112 §3.2, §6.1, RFC 9113 §8.3.1).

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::uri::{PathAndQuery, Scheme};
use http::{Method, Uri, Version};
use http_body::Body;
use thiserror::Error;

use super::path::{self, AmbiguousPath};

/// How the body of an outbound request is framed (RFC 9112 §6). Herald always frames anew.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    /// No body and no framing header.
    None,
    /// `Content-Length` with this many bytes.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// Why a request is refused before anything else is asked.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Malformed {
    /// `Host`, `:authority` and an absolute target must agree (RFC 9112 §3.2.2, RFC 9113 §8.3.1).
    #[error("the request names two different authorities")]
    AuthorityConflict,
    /// Not `host[:port]`.
    #[error("the authority is not a host with an optional port")]
    AuthorityInvalid,
    /// RFC 9112 §3.2: an HTTP/1.1 request has exactly one `Host`.
    #[error("the request names no authority")]
    AuthorityMissing,
    /// A tunnel would carry requests past every rule.
    #[error("CONNECT is not served")]
    Connect,
    /// RFC 9112 §3.2: more than one `Host` line.
    #[error("the request has several Host headers")]
    HostRepeated,
    /// Rules for paths need a path that means one thing.
    #[error(transparent)]
    PathAmbiguous(#[from] AmbiguousPath),
    /// Neither origin-form, absolute-form of http(s), nor `OPTIONS *`.
    #[error("the request target is not a path")]
    TargetInvalid,
    /// RFC 9112 §6.1: any coding but one `chunked`.
    #[error("the Transfer-Encoding is not exactly chunked")]
    TransferEncoding,
}

/// A request head that passed every check of this module.
#[derive(Debug)]
pub struct RequestHead {
    method: Method,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
    framing: Framing,
}

impl RequestHead {
    /// Checks `parts`; `body` tells the framing hyper found. `authority` stands in for the `Host`
    /// that an HTTP/1.0 client may leave out.
    pub fn check<B: Body>(
        parts: Parts,
        body: &B,
        authority: &HeaderValue,
    ) -> Result<Self, Malformed> {
        let Parts {
            method,
            uri,
            version,
            mut headers,
            ..
        } = parts;
        if method == Method::CONNECT {
            return Err(Malformed::Connect);
        }
        check_transfer_encoding(&headers)?;
        check_target(&method, &uri)?;
        if version < Version::HTTP_11 && !headers.contains_key(header::HOST) {
            headers.insert(header::HOST, authority.clone());
        }
        check_authority(&uri, &headers)?;
        let framing = framing(&method, &headers, body);
        Ok(Self {
            method,
            uri,
            version,
            headers,
            framing,
        })
    }

    /// The request's method, never CONNECT.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Brings the path into its canonical form, which is then forwarded: what rules are matched
    /// against and what the origin gets are the same bytes.
    pub fn canonicalize(&mut self) -> Result<(), Malformed> {
        let form = match path::canonical(self.uri.path().as_bytes())? {
            Cow::Borrowed(_) => return Ok(()),
            Cow::Owned(mut form) => {
                if let Some(query) = self.uri.query() {
                    form.push(b'?');
                    form.extend_from_slice(query.as_bytes());
                }
                form
            }
        };
        let mut parts = self.uri.clone().into_parts();
        let form = PathAndQuery::from_maybe_shared(Bytes::from(form));
        parts.path_and_query = Some(form.map_err(|_invalid| AmbiguousPath)?);
        self.uri = Uri::from_parts(parts).map_err(|_invalid| AmbiguousPath)?;
        Ok(())
    }

    /// The path, as sent or canonical.
    pub fn path(&self) -> &[u8] {
        self.uri.path().as_bytes()
    }

    /// The version the client speaks.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The client's headers, as sent.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// How the body is framed towards the origin.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// The origin-form target (path and query, as sent) or `*`.
    pub fn target(&self) -> &[u8] {
        match self.uri.path_and_query().map(|target| target.as_str()) {
            Some("") | None => b"/",
            Some(target) => target.as_bytes(),
        }
    }

    /// The target as a URI.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The one authority the request is for.
    pub fn authority(&self) -> &[u8] {
        match (self.uri.authority(), self.headers.get(header::HOST)) {
            (Some(authority), _) => authority.as_str().as_bytes(),
            (None, Some(host)) => host.as_bytes(),
            (None, None) => b"",
        }
    }
}

/// hyper accepts any coding list that ends in `chunked`; origins disagree about the rest.
fn check_transfer_encoding(headers: &HeaderMap) -> Result<(), Malformed> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(Malformed::TransferEncoding),
    }
}

fn check_target(method: &Method, uri: &Uri) -> Result<(), Malformed> {
    match uri.scheme() {
        Some(scheme) if *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS => {
            return Err(Malformed::TargetInvalid);
        }
        // authority-form belongs to CONNECT (RFC 9112 §3.2.3).
        None if uri.authority().is_some() => return Err(Malformed::TargetInvalid),
        _ => {}
    }
    match uri.path().as_bytes().first() {
        Some(b'/') => Ok(()),
        Some(b'*') if uri.path() == "*" && method == Method::OPTIONS && uri.query().is_none() => {
            Ok(())
        }
        None if uri.authority().is_some() => Ok(()),
        _ => Err(Malformed::TargetInvalid),
    }
}

fn check_authority(uri: &Uri, headers: &HeaderMap) -> Result<(), Malformed> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().map(HeaderValue::as_bytes);
    if hosts.next().is_some() {
        return Err(Malformed::HostRepeated);
    }
    let target = uri
        .authority()
        .map(|authority| authority.as_str().as_bytes());
    match (target, host) {
        (None, None) => Err(Malformed::AuthorityMissing),
        (Some(target), Some(host)) if !target.eq_ignore_ascii_case(host) => {
            Err(Malformed::AuthorityConflict)
        }
        (Some(authority), _) | (None, Some(authority)) if is_authority(authority) => Ok(()),
        _ => Err(Malformed::AuthorityInvalid),
    }
}

/// `host[:port]` of RFC 3986 §3.2 without user information.
fn is_authority(bytes: &[u8]) -> bool {
    let (host, port) = match bytes {
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().position(|byte| *byte == b']') else {
                return false;
            };
            let (address, port) = rest.split_at(end);
            let literal = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
            if !address.iter().all(literal) {
                return false;
            }
            (address, port.strip_prefix(b"]").unwrap_or(port))
        }
        _ => {
            let end = bytes
                .iter()
                .position(|byte| *byte == b':')
                .unwrap_or(bytes.len());
            let (host, port) = bytes.split_at(end);
            if !host.iter().all(|byte| is_host_byte(*byte)) {
                return false;
            }
            (host, port)
        }
    };
    !host.is_empty() && is_port(port)
}

/// Empty, or `:` and at most five digits.
fn is_port(bytes: &[u8]) -> bool {
    match bytes {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// reg-name: unreserved, percent-encoded and sub-delims (RFC 3986 §3.2.2).
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte)
}

fn framing<B: Body>(method: &Method, headers: &HeaderMap, body: &B) -> Framing {
    match body.size_hint().exact() {
        Some(0) if body.is_end_stream() => {
            // RFC 9110 §8.6: these say "no content" aloud, so that no origin waits for some.
            let explicit = headers.contains_key(header::CONTENT_LENGTH)
                || matches!(*method, Method::POST | Method::PUT | Method::PATCH);
            if explicit {
                Framing::Length(0)
            } else {
                Framing::None
            }
        }
        // Only the chunked coding can carry the trailers that an HTTP/2 client announces beside a
        // length; unannounced ones are dropped (RFC 9110 §6.5.1).
        Some(_) if headers.contains_key(header::TRAILER) => Framing::Chunked,
        Some(length) => Framing::Length(length),
        None => Framing::Chunked,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;
    use http_body_util::{Empty, Full};

    use super::*;

    fn check(request: http::request::Builder) -> Result<RequestHead, Malformed> {
        let (parts, body) = request.body(Empty::<Bytes>::new()).unwrap().into_parts();
        RequestHead::check(parts, &body, &HeaderValue::from_static("fallback.test"))
    }

    fn get(uri: &str) -> http::request::Builder {
        Request::get(uri)
    }

    #[test]
    fn one_authority_is_required_and_forwarded() {
        let head = check(get("/a?b").header("host", "A.test:8443")).unwrap();
        assert_eq!(
            (head.authority(), head.target()),
            (&b"A.test:8443"[..], &b"/a?b"[..])
        );
        let head = check(get("https://a.test").header("host", "a.TEST")).unwrap();
        assert_eq!(
            (head.authority(), head.target()),
            (&b"a.test"[..], &b"/"[..])
        );
        assert_eq!(check(get("/")).unwrap_err(), Malformed::AuthorityMissing);
        let twice = get("/").header("host", "a").header("host", "a");
        assert_eq!(check(twice).unwrap_err(), Malformed::HostRepeated);
        let conflict = get("https://a.test/").header("host", "b.test");
        assert_eq!(check(conflict).unwrap_err(), Malformed::AuthorityConflict);
    }

    #[test]
    fn http_1_0_may_leave_the_host_out() {
        let head = check(get("/").version(Version::HTTP_10)).unwrap();
        assert_eq!(head.authority(), b"fallback.test");
    }

    #[test]
    fn odd_authorities_are_refused() {
        for host in [
            "", "a b", "u@a", "a:b", "a:123456", "[::1", "[x]", "a/b", "a,b@c", "é", ":80",
            "[::1]x",
        ] {
            let request =
                get("/").header("host", HeaderValue::from_bytes(host.as_bytes()).unwrap());
            assert_eq!(
                check(request).unwrap_err(),
                Malformed::AuthorityInvalid,
                "{host}"
            );
        }
        for host in ["a", "a.b:1", "[::1]", "[::1]:8443", "127.0.0.1:", "a_b"] {
            assert!(check(get("/").header("host", host)).is_ok(), "{host}");
        }
    }

    #[test]
    fn odd_targets_are_refused() {
        assert_eq!(
            check(get("ftp://a.test/").header("host", "a.test")).unwrap_err(),
            Malformed::TargetInvalid
        );
        assert_eq!(
            check(get("a.test:80").header("host", "a.test:80")).unwrap_err(),
            Malformed::TargetInvalid
        );
        assert_eq!(
            check(get("*").header("host", "a")).unwrap_err(),
            Malformed::TargetInvalid
        );
        assert!(check(Request::options("*").header("host", "a")).is_ok());
        assert_eq!(
            check(Request::connect("a.test:80").header("host", "a.test:80")).unwrap_err(),
            Malformed::Connect
        );
    }

    #[test]
    fn any_transfer_encoding_but_one_chunked_is_refused() {
        for lines in [
            &["gzip, chunked"][..],
            &["chunked", "chunked"],
            &["gzip"],
            &["chunked,"],
            &["identity"],
        ] {
            let mut request = get("/").header("host", "a");
            for line in lines {
                request = request.header("transfer-encoding", *line);
            }
            assert_eq!(
                check(request).unwrap_err(),
                Malformed::TransferEncoding,
                "{lines:?}"
            );
        }
        assert!(
            check(
                get("/")
                    .header("host", "a")
                    .header("transfer-encoding", "Chunked")
            )
            .is_ok()
        );
    }

    #[test]
    fn framing_follows_the_body_hyper_found() {
        let framing =
            |request: http::request::Builder| check(request.header("host", "a")).unwrap().framing();
        assert_eq!(framing(get("/")), Framing::None);
        assert_eq!(framing(Request::post("/")), Framing::Length(0));
        assert_eq!(
            framing(get("/").header("content-length", "0")),
            Framing::Length(0)
        );
        let (parts, body) = Request::put("/")
            .header("host", "a")
            .body(Full::new(Bytes::from_static(b"abc")))
            .unwrap()
            .into_parts();
        let head = RequestHead::check(parts, &body, &HeaderValue::from_static("x")).unwrap();
        assert_eq!(head.framing(), Framing::Length(3));
    }
}
