//! `x-forwarded-client-cert` of a trusted forwarder: the single exception to "what comes in is never
//! sent on" (Envoy's APPEND_FORWARD). Takes the fields of a request whose own certificate verified
//! and is a forwarder's; gives the elements that Herald's own follows. What is not Envoy's grammar is
//! refused: left out, the forwarder would seem to ask for itself, with rights that its client lacks.

use http::{HeaderMap, HeaderName};

use super::Refusal;

/// The name, in lower case.
pub(super) const NAME: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

/// All elements of the request's fields, each followed by `,`; empty without any.
///
/// # Errors
/// More than is taken, or something that is no element.
pub(super) fn elements(headers: &HeaderMap) -> Result<Box<[u8]>, Refusal> {
    let mut elements = Vec::new();
    for value in headers.get_all(NAME) {
        let value = value.as_bytes().trim_ascii();
        if elements.len() + value.len() >= BYTES_MAX {
            return Err(Refusal::ForwardedTooLong);
        }
        let line = elements.len();
        elements.extend_from_slice(value);
        elements.push(b',');
        // Each line by itself: no quote is open at its end.
        if !elements.get(line..).is_some_and(is_sound) {
            return Err(Refusal::ForwardedMalformed);
        }
    }
    Ok(elements.into())
}

/// Whether these are elements, each with its `,`: pairs of a known key and a value between `;`, the
/// values bare or quoted (Envoy: docs, "x-forwarded-client-cert").
fn is_sound(mut rest: &[u8]) -> bool {
    let mut separator = b',';
    while !rest.is_empty() {
        let Some(read) = pair(rest) else {
            return false;
        };
        (separator, rest) = read;
    }
    separator == b','
}

/// Reads a pair to its separator; gives that and what follows.
fn pair(text: &[u8]) -> Option<(u8, &[u8])> {
    let equals = text.iter().position(|byte| *byte == b'=')?;
    let (key, value) = text.split_at_checked(equals)?;
    if !KEYS.iter().any(|known| known.eq_ignore_ascii_case(key)) {
        return None;
    }
    let value = value.get(1..)?;
    let end = match value.strip_prefix(b"\"") {
        Some(quoted) => 1 + end_of_quoted(quoted)?,
        None => {
            let is_bare = |byte: &&u8| byte.is_ascii_graphic() && !b",;=\"\\".contains(*byte);
            value.iter().take_while(is_bare).count()
        }
    };
    let (separator, after) = value.get(end..)?.split_first()?;
    b",;".contains(separator).then_some((*separator, after))
}

/// How long a quoted value is with its closing quote: visible bytes and spaces, `\` before any.
fn end_of_quoted(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    for (index, byte) in text.iter().enumerate() {
        match byte {
            _ if !byte.is_ascii_graphic() && *byte != b' ' => return None,
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(index + 1),
            _ => {}
        }
    }
    None
}

/// Envoy's keys.
const KEYS: [&[u8]; 8] = [
    b"By", b"Hash", b"Cert", b"Chain", b"Subject", b"URI", b"DNS", b"Issuer",
];
/// A few hops with their chains; an origin takes no larger heads anyway.
const BYTES_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn read(values: &[&str]) -> Result<String, Refusal> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(NAME, HeaderValue::from_str(value).unwrap());
        }
        let elements = elements(&headers)?;
        Ok(String::from_utf8(elements.into()).unwrap())
    }

    /// The examples of Envoy's documentation.
    #[test]
    fn what_envoy_writes_is_taken_as_it_is() {
        for value in [
            "By=http://frontend.lyft.com;Hash=468ed33be74eee6556d90c0149c1309e9ba61d6425303443c0748a02dd8de688;Subject=\"/C=US/ST=CA/L=San Francisco/OU=Lyft/CN=Test Client\";URI=http://testclient.lyft.com;DNS=lyft.com;DNS=www.lyft.com",
            "By=http://frontend.lyft.com;Hash=468ed33b;URI=http://testclient.lyft.com,By=http://backend.lyft.com;Hash=9ba61d64;URI=http://frontend.lyft.com",
            "hash=1;SUBJECT=\"CN=a\\\"\\\\,O=x;y\";uri=;dns=*.example.com",
            "Hash=1;URI=\"spiffe://x/a,b;c=d\"",
        ] {
            assert_eq!(read(&[value]), Ok(format!("{value},")));
        }
        assert_eq!(read(&[]), Ok(String::new()));
        assert_eq!(read(&["Hash=1", "Hash=2"]), Ok("Hash=1,Hash=2,".to_owned()));
    }

    #[test]
    fn anything_else_is_refused() {
        for value in [
            "",
            ",",
            "Hash=1,",
            "Hash=1;",
            "Hash",
            "=1",
            "Hash =1",
            "Hash=1; URI=x",
            "Hash=1, Hash=2",
            "Name=1",
            "Subject=\"CN=a",
            "Subject=\"CN=a\\\"",
            "Subject=\"CN=a\"b",
            "URI=a=b",
            "URI=a\"b",
            "URI=a\tb",
            "Subject=\"a\tb\"",
            "URI=a b",
        ] {
            assert_eq!(read(&[value]), Err(Refusal::ForwardedMalformed), "{value}");
        }
        // A quote that one line opens is not closed by the next.
        let split = read(&["Subject=\"CN=a", "b\""]);
        assert_eq!(split, Err(Refusal::ForwardedMalformed));
    }

    #[test]
    fn there_is_a_most_of_bytes() {
        let long = format!("Hash={}", "a".repeat(BYTES_MAX));
        assert_eq!(read(&[&long]), Err(Refusal::ForwardedTooLong));
        let many = ["Hash=1"; BYTES_MAX / 7 + 1];
        assert_eq!(read(&many), Err(Refusal::ForwardedTooLong));
    }

    /// Reads as Envoy's readers do: at `,` outside of quotes. None where a quote is open at the end.
    fn split(list: &[u8]) -> Option<Vec<Vec<u8>>> {
        let (mut elements, mut quoted, mut escaped) = (vec![Vec::new()], false, false);
        for byte in list {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b',' if !quoted => {
                    elements.push(Vec::new());
                    continue;
                }
                _ => {}
            }
            elements.last_mut()?.push(*byte);
        }
        (!quoted).then_some(elements)
    }

    proptest! {
        /// Whatever is taken, Herald's own element is the last one, whole and by itself.
        #[test]
        fn what_is_taken_can_not_swallow_what_follows(
            lines in prop::collection::vec("((By|Hash|URI|x|Subject)?=?[a=;, \"\\\\]{0,8}[;,]?){0,4}", 0..3),
        ) {
            let lines: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
            if let Ok(taken) = read(&lines) {
                let own = b"Hash=ff;Subject=\"CN=a,b\"";
                let elements = split(&[taken.as_bytes(), own].concat()).unwrap();
                prop_assert_eq!(elements.last().unwrap(), own);
                prop_assert!(elements.iter().all(|element| !element.is_empty()));
            }
        }
    }
}
