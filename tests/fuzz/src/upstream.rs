//! Response framing: a response read in any pieces is the same response, and what follows it is
//! never part of it.

use herald::upstream::fuzz::{Decoded, decode};
use http::Method;

use crate::input::Input;

/// Method, lengths of the pieces, response.
pub(crate) fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let method = [Method::GET, Method::HEAD, Method::POST, Method::CONNECT]
        [usize::from(input.byte() % 4)]
    .clone();
    let lengths = input.piece();
    let response = input.rest();
    let whole = decode(&method, &[response]);
    let mut pieces = Vec::new();
    let mut left = response;
    for length in lengths {
        let (piece, rest) = left.split_at(usize::from(*length).min(left.len()));
        pieces.push(piece);
        left = rest;
    }
    pieces.push(left);
    let split = decode(&method, &pieces);
    assert_eq!(
        whole.as_ref().ok(),
        split.as_ref().ok(),
        "the same in pieces"
    );
    if response.len() < 512 {
        let bytes: Vec<_> = response.chunks(1).collect();
        assert_eq!(
            whole.as_ref().ok(),
            decode(&method, &bytes).as_ref().ok(),
            "byte by byte"
        );
    }
    if let Ok(decoded) = &whole {
        is_sound(decoded, response);
    }
}

fn is_sound(decoded: &Decoded, response: &[u8]) {
    assert!(decoded.body.len() + decoded.rest.len() <= response.len());
    assert!(response.ends_with(&decoded.rest));
    let Some(headers) = &decoded.headers else {
        assert!(decoded.body.is_empty());
        return;
    };
    assert!(
        !headers.contains_key("transfer-encoding"),
        "framing is undone"
    );
    assert!(headers.get_all("content-length").iter().count() <= 1);
    for value in headers
        .values()
        .chain(decoded.trailers.iter().flat_map(|map| map.values()))
    {
        assert!(
            !value
                .as_bytes()
                .iter()
                .any(|byte| matches!(byte, b'\r' | b'\n' | 0))
        );
    }
}
