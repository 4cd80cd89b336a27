//! The page of a failure: plain text for people, `application/problem+json` (RFC 9457) for
//! programs that name JSON in `Accept`. Nothing in it comes from the request but its id.

use http::StatusCode;
use http::header::{ACCEPT, HeaderMap, HeaderValue};

/// How a page is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Format {
    /// `text/plain`.
    Text,
    /// `application/problem+json`.
    Problem,
    /// The operator's page.
    Html,
}

/// The operator's `page` with the request's id, which has no byte that HTML would take for markup.
pub(super) fn filled(page: &str, id: &str) -> String {
    page.replace("{request_id}", &plain(id))
}

impl Format {
    /// JSON where a request names it and likes it no less than text; text for all others, since a
    /// client that takes anything is as a rule a person's.
    pub(super) fn preferred(headers: &HeaderMap) -> Self {
        let (mut json, mut text) = (0, 0);
        for line in headers.get_all(ACCEPT) {
            // What nearly every program sends, and no mention of JSON.
            if line.as_bytes() == b"*/*" {
                continue;
            }
            for range in line.as_bytes().split(|byte| *byte == b',') {
                let mut parts = range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
                let media = parts.next().unwrap_or_default();
                let is = |name: &[u8]| media.eq_ignore_ascii_case(name);
                let liked = if is(b"application/problem+json") || is(b"application/json") {
                    &mut json
                } else if is(b"text/plain") || is(b"text/html") || is(b"text/*") || is(b"*/*") {
                    &mut text
                } else {
                    continue;
                };
                *liked = (*liked).max(parts.find_map(weight).unwrap_or(1000));
            }
        }
        if json > 0 && json >= text {
            Self::Problem
        } else {
            Self::Text
        }
    }

    pub(super) fn media_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Text => "text/plain; charset=utf-8",
            Self::Problem => "application/problem+json",
            Self::Html => "text/html; charset=utf-8",
        })
    }

    /// The page. `reason` and `id` are ours, or checked: no byte of them needs to be escaped, and
    /// one that did would be left out.
    pub(super) fn render(self, status: StatusCode, reason: &str, id: &str) -> String {
        match self {
            Self::Text | Self::Html => format!("{status}\n{reason}\nrequest {id}\n"),
            Self::Problem => {
                let code = status.as_u16();
                let title = status.canonical_reason().unwrap_or("Error");
                let [title, reason, id] = [title, reason, id].map(plain);
                format!(
                    "{{\"type\":\"about:blank\",\"title\":\"{title}\",\"status\":{code},\
                     \"detail\":\"{reason}\",\"request_id\":\"{id}\"}}\n"
                )
            }
        }
    }
}

/// `text` without what a JSON string has to escape (RFC 8259 §7).
fn plain(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() && !matches!(c, '"' | '\\'))
        .collect()
}

/// A quality value in thousandths (RFC 9110 §12.4.2); one that is malformed counts as 0.
fn weight(parameter: &[u8]) -> Option<u16> {
    let value = match parameter {
        [b'q' | b'Q', b'=', value @ ..] => value,
        _ => return None,
    };
    let (whole, fraction) = match value {
        [b'1'] | [b'1', b'.', ..] => (1000, None),
        [b'0'] => (0, None),
        [b'0', b'.', fraction @ ..] if fraction.len() <= 3 => (0, Some(fraction)),
        _ => return Some(0),
    };
    let digits = fraction.unwrap_or_default().iter();
    let parsed = digits
        .zip([100, 10, 1])
        .try_fold(whole, |sum, (digit, place)| {
            digit
                .is_ascii_digit()
                .then(|| sum + u16::from(digit - b'0') * place)
        });
    Some(parsed.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_for_those_who_name_it() {
        for (accept, expected) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Text),
            ("application/json", Format::Problem),
            (
                "application/problem+json, text/plain;q=0.5",
                Format::Problem,
            ),
            ("application/json, text/plain, */*", Format::Problem),
            ("Application/JSON; Q=0.9, */*;q=0.1", Format::Problem),
            ("text/html, application/json;q=0.9", Format::Text),
            ("application/json;q=0", Format::Text),
            ("application/json;q=0.000", Format::Text),
            ("application/json;q=x, */*;q=0.1", Format::Text),
            ("image/png", Format::Text),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(Format::preferred(&headers), expected, "{accept}");
        }
        assert_eq!(Format::preferred(&HeaderMap::new()), Format::Text);
    }

    #[test]
    fn a_page_names_status_reason_and_request() {
        assert_eq!(
            Format::Text.render(StatusCode::FORBIDDEN, "because", "ab12"),
            "403 Forbidden\nbecause\nrequest ab12\n"
        );
        assert_eq!(
            Format::Problem.render(StatusCode::BAD_GATEWAY, "a \"b\\\n", "ab12"),
            "{\"type\":\"about:blank\",\"title\":\"Bad Gateway\",\"status\":502,\
             \"detail\":\"a b\",\"request_id\":\"ab12\"}\n"
        );
    }
}
