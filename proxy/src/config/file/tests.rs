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
                handshake_timeout = '10'\nworkers = true\nheader = ['X-A']\nupstream = 'ftp://o'\n";
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
         allowed: a string or a number\n\
         7:11: header: `X-A` is not a name and a value\n\
         allowed: NAME=VALUE, such as X-Device={certSubjectCN}\n\
         8:12: upstream: `ftp://o` is not allowed\n\
         allowed: http://HOST:PORT, https://HOST:PORT, h2c://HOST:PORT, unix:/PATH or h2c+unix:/PATH, and no other scheme\n\
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
        "workers: `5000`",
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
    let large = vec![b'#'; 16 * 1024 * 1024 + 1];
    assert!(
        parse_with(&large, &[])
            .unwrap_err()
            .to_string()
            .contains("larger than 16 MiB")
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

/// A quoted key once came out as another header with another value.
#[test]
fn a_header_name_in_a_table_stays_what_it_is() {
    let report = report(&format!(
        "{COMPLETE}[header]\n\"X-Dev=ice\" = 'v'\nX-A = 'b'\n"
    ));
    assert!(
        report.contains("7:1: header: a header name can't hold `=`"),
        "{report}"
    );
}

#[test]
fn headers_of_a_table_keep_the_order_of_the_file() {
    let config = parse(&format!("{COMPLETE}[header]\nX-B = '1'\nX-A = '2'\n")).unwrap();
    let names: Vec<_> = config
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["X-B", "X-A"]);
}

/// `head_fields_max` of 2^60 made hyper's first head a panic, which ends a release build.
#[test]
fn numbers_that_would_break_a_stage_are_out_of_bounds() {
    for (key, wrong, right) in [
        ("max_connections", "10000001", "10000000"),
        ("max_connections", "18446744073709551615", "1"),
        ("handshake_max", "'4095'", "'4KiB'"),
        ("handshake_max", "'1GiB'", "'16MiB'"),
        ("head_max", "'1B'", "'4KiB'"),
        ("head_max", "'2MiB'", "'1MiB'"),
        ("head_fields_max", "1152921504606846976", "4096"),
        ("http2_streams_max", "0", "1"),
        ("http2_streams_max", "10001", "10000"),
        ("http2_stream_window", "'65534'", "'65535'"),
        ("http2_connection_window", "'65534'", "'1GiB'"),
        ("upstream_idle_max", "65537", "0"),
        ("callers_max", "10000001", "1"),
        ("workers", "1025", "1024"),
        ("drain_timeout", "'25h'", "'24h'"),
    ] {
        let report = report(&format!("{COMPLETE}{key} = {wrong}\n"));
        assert!(
            report.contains(&format!("6:{}: {key}: ", key.len() + 4)),
            "{report}"
        );
        assert!(report.starts_with("1 mistake "), "{report}");
        assert!(report.contains("allowed: "), "{report}");
        parse(&format!("{COMPLETE}{key} = {right}\n")).unwrap();
    }
}

#[test]
fn workers_are_auto_or_a_number() {
    for text in ["'auto'", "0", "'0'"] {
        let config = parse(&format!("{COMPLETE}workers = {text}\n")).unwrap();
        assert!((1..=1024).contains(&config.workers));
    }
    assert_eq!(
        parse(&format!("{COMPLETE}workers = 0x10\n"))
            .unwrap()
            .workers,
        16
    );
    for text in ["'many'", "-1", "1.5", "''", "'1KiB'"] {
        assert!(
            parse(&format!("{COMPLETE}workers = {text}\n")).is_err(),
            "{text}"
        );
    }
}

#[test]
fn a_switch_of_the_file_can_be_turned_off() {
    let text = format!("{COMPLETE}reject_at_tls = true\n");
    let with = |flags: &[&str]| parse_with(text.as_bytes(), flags).unwrap().reject_at_tls;
    assert!(with(&[]));
    assert!(with(&["--reject-at-tls"]));
    assert!(!with(&["--reject-at-tls=false"]));
    assert!(parse(&format!("{COMPLETE}reject_at_tls = 'true'\n")).is_err());
}

#[test]
fn a_number_is_no_path_and_no_text() {
    for line in [
        "cert = 5",
        "client_ca = [1.5]",
        "preset = 7",
        "allow_header_name = [8]",
    ] {
        let key = line.split(' ').next().unwrap();
        let text = COMPLETE
            .replace("cert = 'c'\n", "")
            .replace("client_ca = 'a'\n", "");
        let report = report(&format!("{text}{line}\n"));
        assert!(
            report.contains(&format!("{key}: has a value of the wrong kind")),
            "{report}"
        );
        assert!(
            !report.contains(&format!("--{}: is missing", key.replace('_', "-"))),
            "{report}"
        );
    }
}

/// Messages end in logs.
#[test]
fn no_mistake_shows_a_secret() {
    let key = "-----BEGIN PRIVATE KEY-----\\nMIIhush";
    for line in [
        "upstream = 'http://user:hush@o:1'".to_owned(),
        "upstream = 'user:hush@o:1'".to_owned(),
        "header = ['X Token: hush']".to_owned(),
        "header = ['X-Token:hush']".to_owned(),
        format!("key = \"{key}\""),
        format!("tls_min = \"{key}\""),
    ] {
        let name = line.split(' ').next().unwrap();
        let kept = COMPLETE
            .lines()
            .filter(|kept| !kept.starts_with(&format!("{name} ")));
        let text: String = kept.flat_map(|line| [line, "\n"]).collect();
        let report = report(&format!("{text}{line}\n"));
        assert!(report.contains(&format!("{name}: ")), "{report}");
        assert!(!report.contains("hush"), "{report}");
    }
}

#[test]
fn the_plan_shows_no_fixed_header_text() {
    let text = format!("{COMPLETE}header = ['X-Token=hush', 'X-Device={{certSubjectCN}}']\n");
    let plan = parse(&text).unwrap().plan();
    assert!(plan.contains("X-Token=(fixed text, 4 bytes)"), "{plan}");
    assert!(plan.contains("X-Device={certSubjectCN}"), "{plan}");
    assert!(!plan.contains("hush"), "{plan}");
}

#[test]
fn mistakes_of_flags_file_and_syntax_come_together() {
    let text = "bogus = 1\nworkers = \ntls_min = '9'\n";
    let flags = ["--client-auth", "maybe", "--handshake-timeout=5"];
    let mistakes = parse_with(text.as_bytes(), &flags).unwrap_err().to_string();
    for part in [
        "herald.toml:1:1: bogus: is not a known key",
        "herald.toml:2:",
        "--client-auth: `maybe` is not allowed",
        "--handshake-timeout: `5` is not allowed",
    ] {
        assert!(mistakes.contains(part), "{part} in {mistakes}");
    }
    // Behind the syntax error all is guesswork, and what is missing may stand there.
    assert!(!mistakes.contains("herald.toml:3:"), "{mistakes}");
    assert!(!mistakes.contains("is missing"), "{mistakes}");
}

/// Found by fuzzing: an unknown key was told as it stood, escape sequences and all, to a terminal
/// and to a log that keeps a line a record.
#[test]
fn a_key_cannot_steer_a_terminal() {
    let long = "k".repeat(500);
    let told = report(&format!("\"a\\u001b[2J\\nb\" = 1\n{long} = 1\n"));
    assert!(
        told.contains("1:1: a\\u{1b}[2J\\nb: is not a known key"),
        "{told}"
    );
    assert!(!told.contains(&long), "{told}");
}

#[test]
fn a_misspelled_key_is_not_missing_as_well() {
    let report = report(&COMPLETE.replace("upstream", "upstraem"));
    assert!(report.starts_with("1 mistake "), "{report}");
    assert!(report.contains("did you mean `upstream`?"), "{report}");
}

#[test]
fn a_byte_that_is_not_utf8_has_its_place() {
    let mistakes = parse_with(b"listen = '127.0.0.1:0'\nkey = '\xc3\xa9\xff'\n", &[]);
    let mistakes = mistakes.unwrap_err().to_string();
    assert!(
        mistakes.contains("herald.toml:2:9: a byte is not UTF-8"),
        "{mistakes}"
    );
}

/// Opening a FIFO waits for its writer, for ever.
#[test]
fn a_fifo_is_refused_without_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("herald.toml");
    let made = std::process::Command::new("mkfifo")
        .arg(&path)
        .status()
        .unwrap();
    assert!(made.success());
    let flags = ["--config".to_owned(), path.display().to_string()];
    let mistakes = Config::from_flags(flags).unwrap_err().to_string();
    assert!(mistakes.contains("is not a regular file"), "{mistakes}");
}

/// Counting lines anew for each mistake took minutes for a file of the largest size.
#[test]
fn a_file_full_of_mistakes_is_read_in_seconds_and_told_in_a_screenful() {
    let unknown: String = (0..70_000)
        .map(|number| format!("k{number} = 1\n"))
        .collect();
    let began = std::time::Instant::now();
    let mistakes = parse(&unknown).unwrap_err();
    assert!(mistakes.0.len() > 70_000);
    assert!(mistakes.to_string().lines().count() < 200);
    let listens = "'127.0.0.1:0',".repeat(70_000);
    let report = report(&format!("listen = [{listens}]\n"));
    assert!(report.contains("listen: has 70000 values"), "{report}");
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
}

#[test]
fn an_address_is_listened_on_once() {
    let listen = "listen = ['127.0.0.1:5', '127.0.0.1:0', '127.0.0.1:0', '127.0.0.1:5']\n";
    let report = report(&COMPLETE.replace("listen = '127.0.0.1:0'\n", listen));
    assert!(report.starts_with("1 mistake "), "{report}");
    assert!(
        report.contains("1:56: listen: 127.0.0.1:5 is listed twice"),
        "{report}"
    );
}
