//! Why a request's header section is refused: always the client's fault, always 400.

use thiserror::Error;

/// A reason for `400 Bad Request` found while cleaning a request's headers.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Refusal {
    /// RFC 9110 §7.6.1: options are tokens.
    #[error("a Connection header has bytes that are no token")]
    ConnectionBytes,
    /// Removing it would erase a verdict, a credential, the routing or the framing.
    #[error("a Connection header names a field that may not be removed")]
    ConnectionNamesProtected,
    /// More options than are worth reading.
    #[error("the Connection headers list too many options")]
    ConnectionTooLong,
    /// A trusted forwarder's list that is none. Without it the forwarder would seem to ask for itself.
    #[error("the X-Forwarded-Client-Cert of a forwarder can't be read")]
    ForwardedMalformed,
    /// More of it than is passed on.
    #[error("the X-Forwarded-Client-Cert of a forwarder is too long")]
    ForwardedTooLong,
}
