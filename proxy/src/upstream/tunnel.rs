//! The origin's side of a tunnel: which 101 opens one, and what it leaves in hand. A 101 that was
//! not asked for, or that switches to something else, is an error like any malformed response.

use bytes::BytesMut;
use http::StatusCode;
use http::header::{CONNECTION, HeaderMap};

use super::answer::{OriginBody, Transfers};
use super::body::Decoder;
use super::error::UpstreamError;
use super::head::FinalHead;
use super::health::InFlight;
use super::io::OriginIo;
use crate::http::Upgrades;

/// A connection to an origin that is no longer HTTP.
#[derive(Debug)]
pub struct OriginSide<S = OriginIo> {
    /// The connection.
    pub io: S,
    /// What the origin sent behind its 101 already.
    pub read: BytesMut,
    /// The endpoint counts the tunnel as a request in flight.
    pub(super) _in_flight: InFlight,
}

/// The head of a 101 that answers the question `asked`: it names that protocol alone, and says
/// that the change is for this connection (RFC 9110 §7.8).
pub(super) fn switched(
    headers: HeaderMap,
    asked: Option<&str>,
) -> Result<FinalHead, UpstreamError> {
    let is_answer = asked.is_some_and(|asked| {
        Upgrades::new([asked]).asked(&headers).is_some() && names_upgrade(&headers)
    });
    if !is_answer {
        return Err(UpstreamError::UnexpectedUpgrade);
    }
    Ok(FinalHead {
        status: StatusCode::SWITCHING_PROTOCOLS,
        headers,
        // The lease is kept: what follows is the tunnel's.
        body: Decoder::until_close(),
        keep_alive: false,
    })
}

fn names_upgrade(headers: &HeaderMap) -> bool {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

impl<B, S> OriginBody<B, S> {
    /// The connection, after a 101 that was asked for.
    ///
    /// # Errors
    /// The origin switched before it had the whole request.
    pub fn into_tunnel(self) -> Result<OriginSide<S>, UpstreamError> {
        let (transfer, in_flight) = self.into_parts();
        let switched = match transfer {
            Transfers::Http1(transfer) => transfer.into_switched(),
            // Over HTTP/2 it was not asked for, and 101 means nothing (RFC 9113 §8.6).
            Transfers::Http2(_) => None,
        };
        let (io, read) = switched.ok_or(UpstreamError::UnexpectedUpgrade)?;
        Ok(OriginSide {
            io,
            read,
            _in_flight: in_flight,
        })
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::{HeaderName, UPGRADE};

    use super::*;

    #[test]
    fn only_the_protocol_asked_for_opens_a_tunnel() {
        let sound = &[(UPGRADE, "websocket"), (CONNECTION, "Upgrade")][..];
        for (fields, asked, expected) in [
            (sound, Some("websocket"), true),
            (
                &[(UPGRADE, "WebSocket"), (CONNECTION, "x, upgrade")],
                Some("websocket"),
                true,
            ),
            (sound, None, false),
            (sound, Some("other"), false),
            (&[(UPGRADE, "websocket")], Some("websocket"), false),
            (&[(CONNECTION, "upgrade")], Some("websocket"), false),
            (
                &[(UPGRADE, "h2c"), (CONNECTION, "upgrade")],
                Some("websocket"),
                false,
            ),
            (
                &[(UPGRADE, "websocket, h2c"), (CONNECTION, "upgrade")],
                Some("websocket"),
                false,
            ),
            (
                &[
                    (UPGRADE, "websocket"),
                    (UPGRADE, "h2c"),
                    (CONNECTION, "upgrade"),
                ],
                Some("websocket"),
                false,
            ),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                let name: &HeaderName = name;
                headers.append(name, HeaderValue::from_static(value));
            }
            assert_eq!(
                switched(headers, asked).is_ok(),
                expected,
                "{fields:?} {asked:?}"
            );
        }
    }
}
