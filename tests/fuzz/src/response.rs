//! The origin's fields on their way back: nothing protected, nothing hop-by-hop, nothing listed.

use std::sync::LazyLock;

use herald::headers::{Hygiene, clean_response, clean_trailers};

use crate::fields::{connection_options, folded, map};
use crate::input::Input;

pub(crate) fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let is_trailers = input.byte() & 1 != 0;
    let mut headers = map(input.rest());
    let options = connection_options(&headers);
    let given = headers.clone();
    if is_trailers {
        clean_trailers(&mut headers, &HYGIENE);
    } else {
        clean_response(&mut headers, &HYGIENE);
    }
    for (name, value) in &headers {
        let key = folded(name.as_str().as_bytes());
        assert!(!HYGIENE.is_protected(&key), "{name}");
        assert!(!matches!(
            &*key,
            b"connection" | b"keep-alive" | b"transfer-encoding" | b"upgrade"
        ));
        if is_trailers {
            assert!(!matches!(
                &*key,
                b"host" | b"content-length" | b"set-cookie" | b"trailer"
            ));
        } else if !matches!(name.as_str(), "content-length" | "date" | "set-cookie") {
            let listed = options
                .iter()
                .take(32)
                .any(|option| option == name.as_str().as_bytes());
            assert!(!listed, "listed in Connection: {name}");
        }
        let rewritten = matches!(name.as_str(), "vary" | "trailer");
        assert!(
            rewritten || given.get_all(name).iter().any(|given| given == value),
            "{name}"
        );
    }
    let once = headers.clone();
    clean_trailers(&mut headers, &HYGIENE);
    clean_trailers(&mut headers, &HYGIENE);
    assert!(headers.len() <= once.len());
}

static HYGIENE: LazyLock<Hygiene> = LazyLock::new(|| Hygiene::new(["X-Device"], ["x_plain"]));
