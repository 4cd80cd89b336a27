//! Every way a request can fail, and what the client is told: one exhaustive table, and a short
//! page that names the request's id and nothing of the inside.

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use thiserror::Error;

use crate::headers::Refusal;
use crate::headers::forwarded::REQUEST_ID;
use crate::http::{BodyFailure, BodyTooLarge, Malformed};
use crate::policy::Denied;
use crate::telemetry::RequestId;
use crate::telemetry::reason::Reason;
use crate::upstream::{Blame, BodyError, UpstreamError};

mod page;

/// The request is not for this connection (RFC 9110 §15.5.20): its host is unknown, or its
/// application trusts other CAs than the connection's handshake was made with.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("this connection can't be used for the host of the request")]
pub struct Misdirected;

/// A caller that may not pass, and what it asked for.
#[derive(Debug, Error)]
#[error("{denied}")]
pub struct Turned {
    /// Why.
    pub denied: Denied,
    /// The number of the application that does not let it pass.
    pub application: usize,
    /// The method.
    pub method: Method,
    /// The authority of the request.
    pub host: Box<[u8]>,
    /// The path, in the form that was judged.
    pub path: Box<[u8]>,
}

/// Why a request got no answer from the origin.
#[derive(Debug, Error)]
pub enum Failure {
    /// The request means more than one thing.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The request came on a connection of another application.
    #[error(transparent)]
    Misdirected(#[from] Misdirected),
    /// The request's headers ask for what may not be.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The caller may not pass.
    #[error(transparent)]
    Denied(#[from] Box<Turned>),
    /// The request's body is too large.
    #[error(transparent)]
    BodyTooLarge(#[from] BodyTooLarge),
    /// The origin failed, or the client while its body was on the way.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
}

/// What of a request its page depends on.
#[derive(Debug)]
pub struct Asked {
    method: Method,
    format: page::Format,
}

impl Asked {
    /// Looks at a request before it goes its way.
    pub fn of<B>(request: &Request<B>) -> Self {
        Self {
            method: request.method().clone(),
            format: page::Format::preferred(request.headers()),
        }
    }

    /// The request's method.
    pub fn method(&self) -> &Method {
        &self.method
    }
}

impl Failure {
    /// The status the client sees.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(Malformed::Connect) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Malformed(_) | Self::Refused(_) => StatusCode::BAD_REQUEST,
            Self::Misdirected(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::Denied(_) => StatusCode::FORBIDDEN,
            Self::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Upstream(error) => upstream_status(error),
        }
    }

    /// The word for it in records and metrics.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Malformed(malformed) => match malformed {
                Malformed::AuthorityConflict => Reason::AuthorityConflict,
                Malformed::AuthorityInvalid => Reason::AuthorityInvalid,
                Malformed::AuthorityMissing => Reason::AuthorityMissing,
                Malformed::Connect => Reason::Connect,
                Malformed::HostRepeated => Reason::HostRepeated,
                Malformed::PathAmbiguous(_) => Reason::PathAmbiguous,
                Malformed::TargetInvalid => Reason::TargetInvalid,
                Malformed::TransferEncoding => Reason::TransferEncoding,
            },
            Self::Misdirected(Misdirected) => Reason::Misdirected,
            Self::Refused(refusal) => match refusal {
                Refusal::ConnectionBytes => Reason::ConnectionBytes,
                Refusal::ConnectionNamesProtected => Reason::ConnectionNamesProtected,
                Refusal::ConnectionTooLong => Reason::ConnectionTooLong,
                Refusal::ForwardedMalformed | Refusal::ForwardedTooLong => {
                    Reason::ForwardedIdentity
                }
            },
            Self::Denied(turned) => match turned.denied {
                Denied::ByPolicy | Denied::Abruptly => Reason::DeniedByPolicy,
                Denied::NoCertificate => Reason::NoCertificate,
                Denied::CertificateFailed(_) => Reason::CertificateFailed,
            },
            Self::BodyTooLarge(_) => Reason::BodyTooLarge,
            Self::Upstream(error) => upstream_reason(error),
        }
    }

    /// Whether an HTTP/1.1 connection ends with this answer: after an ambiguous request, what
    /// follows on the connection can't be trusted to be the next request; after half a body, the
    /// other half follows (RFC 9110 §15.5.9, §15.5.14).
    fn ends_connection(&self) -> bool {
        match self {
            Self::Malformed(_)
            | Self::Misdirected(_)
            | Self::Refused(_)
            | Self::BodyTooLarge(_) => true,
            Self::Upstream(error) => error.blame() == Blame::Client,
            Self::Denied(_) => false,
        }
    }

    /// What the client is told of the reason. What went wrong behind Herald is for the log.
    fn explanation(&self) -> String {
        match self {
            Self::Upstream(error) if error.blame() == Blame::Client => match self.status() {
                StatusCode::PAYLOAD_TOO_LARGE => BodyTooLarge.to_string(),
                StatusCode::REQUEST_TIMEOUT => "the request body came too slowly".to_owned(),
                _ => "the request body did not come as declared".to_owned(),
            },
            Self::Upstream(_) => "the origin did not answer as it should".to_owned(),
            _ => self.to_string(),
        }
    }

    /// The answer to a request that `asked` for it and is known as `id`. People whom an application
    /// does not let pass are shown its own page, if it has one.
    pub fn response(&self, asked: &Asked, id: &RequestId, own: Option<&str>) -> Response<Bytes> {
        let status = self.status();
        let format = match own {
            Some(_) if asked.format == page::Format::Text => page::Format::Html,
            _ => asked.format,
        };
        let page = match (format, own) {
            (page::Format::Html, Some(own)) => page::filled(own, id.as_str()),
            _ => format.render(status, &self.explanation(), id.as_str()),
        };
        let length = page.len();
        // hyper would send a body after HEAD on HTTP/2.
        let is_head = asked.method == Method::HEAD;
        let mut response = Response::new(Bytes::from(if is_head { String::new() } else { page }));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, format.media_type());
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // The page chosen depends on it, and so would a cache's, if it kept one.
        headers.insert(header::VARY, HeaderValue::from_static("accept"));
        if let Some(id) = id.to_value() {
            headers.insert(HeaderName::from_static(REQUEST_ID), id);
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            // RFC 9110 §15.5.6 wants the field; what the origin allows is the origin's to say.
            headers.insert(
                header::ALLOW,
                HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
            );
        }
        if self.ends_connection() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// The word for what went wrong between Herald and an origin.
pub fn upstream_reason(error: &UpstreamError) -> Reason {
    match error {
        UpstreamError::Resolve(_) => Reason::Resolve,
        UpstreamError::Connect { .. } => Reason::ConnectFailed,
        UpstreamError::ConnectUnix { .. } => Reason::ConnectFailed,
        UpstreamError::Tls(_) => Reason::OriginTls,
        UpstreamError::ConnectTimeout => Reason::ConnectTimeout,
        UpstreamError::Write(_) => Reason::OriginWrite,
        UpstreamError::Read(_) | UpstreamError::Http2(_) => Reason::OriginRead,
        UpstreamError::NotHttp2 => Reason::AuthorityInvalid,
        UpstreamError::Closed => Reason::OriginClosed,
        UpstreamError::Truncated => Reason::OriginTruncated,
        UpstreamError::ResponseTimeout => Reason::ResponseTimeout,
        UpstreamError::BadResponse(_) => Reason::BadResponse,
        UpstreamError::UnexpectedUpgrade => Reason::UnexpectedUpgrade,
        UpstreamError::ClientBody(source) if is_too_large(source) => Reason::BodyTooLarge,
        UpstreamError::ClientBody(_) => Reason::ClientBody,
        UpstreamError::ClientBodyShort { .. } => Reason::ClientBodyShort,
        UpstreamError::ClientBodyLong => Reason::ClientBodyLong,
        UpstreamError::ClientStalled => Reason::ClientStalled,
    }
}

fn upstream_status(error: &UpstreamError) -> StatusCode {
    match error {
        UpstreamError::ConnectTimeout | UpstreamError::ResponseTimeout => {
            StatusCode::GATEWAY_TIMEOUT
        }
        UpstreamError::ClientStalled => StatusCode::REQUEST_TIMEOUT,
        UpstreamError::ClientBody(source) if is_too_large(source) => StatusCode::PAYLOAD_TOO_LARGE,
        error if error.blame() == Blame::Client => StatusCode::BAD_REQUEST,
        _ => StatusCode::BAD_GATEWAY,
    }
}

fn is_too_large(error: &BodyError) -> bool {
    matches!(
        error.downcast_ref(),
        Some(BodyFailure::<hyper::Error>::TooLarge(_))
    )
}
