use super::*;
use crate::config::ClientAuth;

const COMPLETE: &str =
    "listen = '127.0.0.1:0'\ncert = 'c'\nkey = 'k'\nclient_ca = 'a'\nupstream = 'http://o:1'\n";

/// Parses a file of this text.
pub(in crate::config) fn parse(text: &str) -> Result<Config, Mistakes> {
    parse_with(text.as_bytes(), &[])
}

fn parse_with(text: &[u8], flags: &[&str]) -> Result<Config, Mistakes> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("herald.toml");
    std::fs::write(&path, text).unwrap();
    let config = ["--config".to_owned(), path.display().to_string()];
    Config::from_flags(
        config
            .into_iter()
            .chain(flags.iter().map(ToString::to_string)),
    )
}

fn report(text: &str) -> String {
    let mistakes = parse(text).unwrap_err().to_string();
    // The folder's name is chance.
    let lines = mistakes.lines().map(|line| {
        line.split_once("/herald.toml:")
            .map_or(line, |(_, rest)| rest)
            .trim()
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn all_mistakes_of_a_file_are_reported_at_once() {
    let text = "listen = '127.0.0.1:0'\ncert = 'c'\nclient_uath = 'off'\nclient_auth = 'maybe'\n\
                handshake_timeout = '10'\nworkers = true\nheader = ['X-A']\nupstream = 'https://o'\n";
    assert_eq!(
        report(text),
        "8 mistakes in the configuration:\n\
         3:1: client_uath: is not a known key\n\
         allowed: did you mean `client_auth`?\n\
         4:15: client_auth: `maybe` is not allowed\n\
         allowed: required, optional, forward-failed, off\n\
         5:21: handshake_timeout: `10` is not allowed\n\
         allowed: a duration is a number and one of ms, s, m, h: for example 10s\n\
         6:11: workers: has a value of the wrong kind (boolean)\n\
         allowed: a string or a decimal number\n\
         7:11: header: `X-A` is not a name and a value\n\
         allowed: NAME=VALUE, such as X-Device={certSubjectCN}\n\
         8:12: upstream: `https://o` is not allowed\n\
         allowed: `https` origins can't be reached yet: http://HOST:PORT\n\
         --client-ca: is missing (or `client_ca` in the file)\n\
         allowed: at least one PEM file of CA certificates (or client_auth off); Herald never falls back to other roots\n\
         --key: is missing (or `key` in the file)\n\
         allowed: a PEM file"
    );
}

#[test]
fn a_syntax_error_names_its_line() {
    let report = report("listen = '127.0.0.1:0'\ncert = \n");
    assert!(report.contains("\n2:"), "{report}");
}

#[test]
fn flags_override_the_file_and_lists_are_replaced() {
    let text = format!("{COMPLETE}client_auth = 'optional'\npreset = ['a', 'b']\nworkers = 3\n");
    let config = parse_with(
        text.as_bytes(),
        &["--client-auth", "forward-failed", "--preset", "c"],
    )
    .unwrap();
    assert_eq!(config.client_auth, ClientAuth::ForwardFailed);
    assert_eq!(config.presets, ["c"]);
    assert_eq!(config.workers, 3);
    assert_eq!(
        config.origin("client_auth", 0),
        Origin::Flag("--client-auth".into())
    );
    assert!(matches!(
        config.origin("workers", 0),
        Origin::File {
            line: 8,
            column: 11,
            ..
        }
    ));
    assert_eq!(config.origin("tls_min", 0), Origin::Default);
}

#[test]
fn a_value_that_a_flag_overrides_is_checked_all_the_same() {
    let text = format!("{COMPLETE}client_auth = 'nonsense'\n");
    assert!(parse_with(text.as_bytes(), &["--client-auth", "required"]).is_err());
}

#[test]
fn every_flag_has_its_key_and_every_key_its_flag() {
    for argument in definition().get_arguments() {
        let key = argument.get_id().as_str();
        assert_eq!(
            argument.get_long().map(str::to_owned),
            Some(key.replace('_', "-")),
            "{key}"
        );
        if key == "config" {
            continue;
        }
        // A table can be no value of any key but `header`: known keys say so, unknown ones say that.
        let mistakes = parse(&format!("[{key}]\nx = [[]]\n"))
            .unwrap_err()
            .to_string();
        assert!(
            !mistakes.contains("is not a known key"),
            "{key}: {mistakes}"
        );
    }
    assert!(report("config = 'x'\n").contains("config: is not a known key"));
}

#[test]
fn headers_may_be_a_list_or_a_table() {
    let list = format!("{COMPLETE}header = ['X-A={{certSerial}}', 'X-B=b=c']\n");
    let table = format!("{COMPLETE}[header]\nX-A = '{{certSerial}}'\nX-B = 'b=c'\n");
    let expected = [
        ("X-A".to_owned(), "{certSerial}".to_owned()),
        ("X-B".to_owned(), "b=c".to_owned()),
    ];
    assert_eq!(parse(&list).unwrap().headers, expected);
    assert_eq!(parse(&table).unwrap().headers, expected);
}

#[test]
fn settings_that_contradict_each_other_are_mistakes() {
    let report = report(&format!(
        "{COMPLETE}client_auth = 'off'\nreject_at_tls = true\nhttp2_stream_window = '1KiB'\nworkers = 5000\n"
    ));
    for part in [
        "client_ca: client CAs are given",
        "reject_at_tls: reject_at_tls refuses",
        "http2_stream_window: a window",
        "5000 workers",
    ] {
        assert!(report.contains(part), "{report}");
    }
}

#[test]
fn what_is_no_file_is_refused() {
    for path in ["/nonexistent/herald.toml", "/dev/zero", "/"] {
        let mistakes = Config::from_flags(["--config".to_owned(), path.to_owned()]).unwrap_err();
        assert_eq!(mistakes.0.len(), 1, "{mistakes}");
        assert!(mistakes.to_string().contains(path), "{mistakes}");
    }
    let large = vec![b'#'; 1024 * 1024 + 1];
    assert!(
        parse_with(&large, &[])
            .unwrap_err()
            .to_string()
            .contains("larger than 1 MiB")
    );
    assert!(parse_with(b"a = '\xff'", &[]).is_err());
}

proptest::proptest! {
    #[test]
    fn no_file_makes_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        drop(parse_with(&bytes, &[]));
    }

    #[test]
    fn no_toml_makes_it_panic(text in "([a-z_]{1,12} ?= ?(true|[0-9]{1,4}|'[ -~]{0,9}'|\\[('a',?){0,3}\\]|\\{x ?= ?1\\})\n){0,6}") {
        drop(parse(&text));
    }
}
