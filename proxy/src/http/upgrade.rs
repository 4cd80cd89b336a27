//! Which protocols a client may ask to switch to (RFC 9110 §7.8), and whether a request validly
//! asks for one. A tunnel carries bytes past the rules of this proxy, so the list is closed, and
//! the configuration keeps protocols off it that carry HTTP requests.

use http::header::{HeaderMap, UPGRADE};

/// The protocols that may be asked for.
#[derive(Clone, Debug, Default)]
pub struct Upgrades(Box<[Box<str>]>);

impl Upgrades {
    /// These protocols, such as `websocket`.
    pub fn new<'a>(protocols: impl IntoIterator<Item = &'a str>) -> Self {
        Self(
            protocols
                .into_iter()
                .map(|protocol| protocol.to_ascii_lowercase().into())
                .collect(),
        )
    }

    /// The listed protocol that these headers ask for. A list of several is no valid question
    /// here: which one the origin chooses would decide what the tunnel is.
    pub fn asked(&self, headers: &HeaderMap) -> Option<&str> {
        let mut lines = headers.get_all(UPGRADE).iter();
        let line = lines.next()?.as_bytes().trim_ascii();
        if lines.next().is_some() {
            return None;
        }
        let mut listed = self.0.iter().map(|protocol| &**protocol);
        listed.find(|protocol| protocol.as_bytes().eq_ignore_ascii_case(line))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn one_listed_protocol_is_a_question() {
        let upgrades = Upgrades::new(["websocket", "Custom/1.2"]);
        for (lines, expected) in [
            (&["websocket"][..], Some("websocket")),
            (&["WebSocket"], Some("websocket")),
            (&["custom/1.2"], Some("custom/1.2")),
            (&["custom"], None),
            (&["websocket/13"], None),
            (&["h2c"], None),
            (&["h2c, websocket"], None),
            (&["websocket, h2c"], None),
            (&["websocket", "h2c"], None),
            (&["websocket", "websocket"], None),
            (&[""], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(UPGRADE, HeaderValue::from_static(line));
            }
            assert_eq!(upgrades.asked(&headers), expected, "{lines:?}");
        }
    }
}
