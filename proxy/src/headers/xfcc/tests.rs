use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn read(values: &[&str]) -> Result<String, Refusal> {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(NAME, HeaderValue::from_str(value).unwrap());
    }
    let Some(forwarded) = Forwarded::read(&headers)? else {
        return Ok(String::new());
    };
    let begins = forwarded.before.starts_with(b"[");
    assert_eq!(forwarded.format == Format::Json, begins);
    Ok(String::from_utf8(forwarded.before.into()).unwrap())
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

/// As Envoy 1.40 writes it, and other spellings of the same.
#[test]
fn envoys_json_is_taken_as_it_is() {
    for value in [
        r#"[{"by":["spiffe://x/a","urn:b"],"hash":"468ed33b","subject":"CN=a\\\"b,O=x","uri":["spiffe://x/b"],"dns":["b.example.com"],"issuer":"CN=ca"}]"#,
        r#"[{"hash":"1a","cert":"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n","chain":["a\n","b"]}]"#,
        r#"[{"hash":"1"},{"uri":[]}]"#,
        r#"[ {"hash" : "\u00e9\ud83d\ude00\/"} , {"dns": [ "x", "y" ]} ]"#,
        r#"[{"subject":"]},{[:,"}]"#,
    ] {
        let open = value.strip_suffix(']').unwrap();
        assert_eq!(read(&[value]), Ok(format!("{open},")));
    }
}

/// Readers of JSON differ over what is there twice, over halves of characters, and over NUL.
#[test]
fn any_other_json_is_refused() {
    for value in [
        "[",
        "[]",
        "[ ]",
        "[{}]",
        "[,{\"hash\":\"1\"}]",
        "[{\"hash\":\"1\"},]",
        "[{\"hash\":\"1\"}",
        "[{\"hash\":\"1\"}]]",
        "[{\"hash\":\"1\"}],[{\"hash\":\"2\"}]",
        "[{\"hash\":\"1\"}] Hash=2",
        "[[{\"hash\":\"1\"}]]",
        "[\"hash\"]",
        "[null]",
        "[{\"hash\":null}]",
        "[{\"hash\":1}]",
        "[{\"hash\":[\"1\"]}]",
        "[{\"uri\":\"x\"}]",
        "[{\"uri\":[{}]}]",
        "[{\"name\":\"x\"}]",
        "[{\"Hash\":\"1\"}]",
        "[{\"hash\":\"1\",\"hash\":\"2\"}]",
        "[{\"hash\":\"1\",\"\\u0068ash\":\"2\"}]",
        "[{\"hash\":\"1\",}]",
        "[{hash:\"1\"}]",
        "[{\"hash\":'1'}]",
        "[{\"hash\":\"\\x\"}]",
        "[{\"hash\":\"\\u0000\"}]",
        "[{\"hash\":\"\\ud83d\"}]",
        "[{\"hash\":\"a\tb\"}]",
        "[{\"hash\":\t\"a\"}]",
        "[{\"hash\":\"\u{e9}\"}]",
        "[/**/{\"hash\":\"1\"}]",
    ] {
        assert_eq!(read(&[value]), Err(Refusal::ForwardedMalformed), "{value}");
    }
    let array = "[{\"hash\":\"1\"}]";
    for lines in [[array, array], [array, "Hash=1"], ["Hash=1", array]] {
        assert_eq!(read(&lines), Err(Refusal::ForwardedMalformed), "{lines:?}");
    }
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
    let long = format!("[{{\"hash\":\"{}\"}}]", "a".repeat(BYTES_MAX));
    assert_eq!(read(&[&long]), Err(Refusal::ForwardedTooLong));
    let deep = "[".repeat(BYTES_MAX - 1);
    assert_eq!(read(&[&deep]), Err(Refusal::ForwardedMalformed));
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
    /// Whatever is taken, it is a list with Herald's own object behind it, each with known keys alone.
    #[test]
    fn what_is_taken_of_json_is_a_list(
        pieces in prop::collection::vec(
            "[\\[\\]{}:, ]|\"(hash|uri|x)\"|\"(by|dns)\":|\\[\\{\"hash\":\"1\"\\}|\"\\\\?[a-z\"\\\\]{0,3}\"?",
            0..12,
        ),
    ) {
        if let Ok(taken) = read(&[&format!("[{}", pieces.concat())]) {
            let whole: serde_json::Value =
                serde_json::from_str(&format!("{taken}{{\"own\":true}}]")).unwrap();
            let elements = whole.as_array().unwrap();
            let (own, others) = elements.split_last().unwrap();
            prop_assert_eq!(own, &serde_json::json!({"own": true}));
            prop_assert!(!others.is_empty());
            for element in others {
                let keys = element.as_object().unwrap().keys();
                prop_assert!(keys.into_iter().all(|key| key != "own"));
            }
        }
    }

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
