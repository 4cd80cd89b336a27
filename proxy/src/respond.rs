//! Every way a request can fail, and what the client is told: one exhaustive table.

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use thiserror::Error;

use crate::headers::Refusal;
use crate::http::Malformed;
use crate::policy::Denied;
use crate::telemetry::reason::Reason;
use crate::upstream::{Blame, UpstreamError};

/// Why a request got no answer from the origin.
#[derive(Debug, Error)]
pub enum Failure {
    /// The request means more than one thing.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The request's headers ask for what may not be.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The caller may not pass.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The origin failed, or the client while its body was on the way.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
}

impl Failure {
    /// The status the client sees.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(Malformed::Connect) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Malformed(_) | Self::Refused(_) => StatusCode::BAD_REQUEST,
            Self::Denied(_) => StatusCode::FORBIDDEN,
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
                Malformed::TargetInvalid => Reason::TargetInvalid,
                Malformed::TransferEncoding => Reason::TransferEncoding,
            },
            Self::Refused(refusal) => match refusal {
                Refusal::ConnectionBytes => Reason::ConnectionBytes,
                Refusal::ConnectionNamesProtected => Reason::ConnectionNamesProtected,
                Refusal::ConnectionTooLong => Reason::ConnectionTooLong,
            },
            Self::Denied(Denied::NoCertificate) => Reason::NoCertificate,
            Self::Denied(Denied::CertificateFailed(_)) => Reason::CertificateFailed,
            Self::Upstream(error) => upstream_reason(error),
        }
    }

    /// Whether an HTTP/1.1 connection ends with this answer: after an ambiguous request, what
    /// follows on the connection can't be trusted to be the next request.
    fn ends_connection(&self) -> bool {
        match self {
            Self::Malformed(_) | Self::Refused(_) => true,
            Self::Denied(_) | Self::Upstream(_) => false,
        }
    }

    /// The answer. Its body is short and says nothing of the inside.
    pub fn response(&self) -> Response<Bytes> {
        let status = self.status();
        let reason = match self {
            Self::Malformed(_) | Self::Refused(_) | Self::Denied(_) => self.to_string(),
            // What went wrong behind Herald is for the log.
            Self::Upstream(_) => "the origin did not answer as it should".to_owned(),
        };
        let mut response = Response::new(Bytes::from(format!("{status}\n{reason}\n")));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
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
        UpstreamError::ConnectTimeout => Reason::ConnectTimeout,
        UpstreamError::Write(_) => Reason::OriginWrite,
        UpstreamError::Read(_) => Reason::OriginRead,
        UpstreamError::Closed => Reason::OriginClosed,
        UpstreamError::Truncated => Reason::OriginTruncated,
        UpstreamError::ResponseTimeout => Reason::ResponseTimeout,
        UpstreamError::BadResponse(_) => Reason::BadResponse,
        UpstreamError::UnexpectedUpgrade => Reason::UnexpectedUpgrade,
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
        error if error.blame() == Blame::Client => StatusCode::BAD_REQUEST,
        _ => StatusCode::BAD_GATEWAY,
    }
}
