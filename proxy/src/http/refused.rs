//! What hyper's HTTP/1.1 server refuses by itself, before any exchange: told from its error, so
//! that it is recorded like any other request.

/// A request head that hyper did not pass on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RefusedHead {
    /// Answered 400.
    Malformed,
    /// Answered 414.
    TargetTooLong,
    /// Answered 431.
    TooLarge,
    /// The head did not end in time: closed without an answer.
    Timeout,
}

/// The head that ended a connection with `error`, if one did.
pub fn refused_head(error: &hyper::Error) -> Option<RefusedHead> {
    if error.is_timeout() {
        return Some(RefusedHead::Timeout);
    }
    if !error.is_parse() || error.is_parse_version_h2() {
        return None;
    }
    // hyper tells 414 from 431 in its text alone; the black-box tests hold it to that.
    Some(match error.is_parse_too_large() {
        true if error.to_string().starts_with("URI") => RefusedHead::TargetTooLong,
        true => RefusedHead::TooLarge,
        false => RefusedHead::Malformed,
    })
}
