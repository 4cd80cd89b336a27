//! `/metrics`: legal for Prometheus, and counting what happened.

use std::collections::{HashMap, HashSet};
use std::io::Write as _;

use herald_tests::client::{Settings, open};
use herald_tests::origin::{Next, Origin};
use herald_tests::pki::Pki;
use herald_tests::records::Folder;
use herald_tests::wait;
use herald_tests::world::{Ask, Protocol, World};

/// One sample: its name, its labels as written, its value.
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

/// Reads the page as Prometheus does, and refuses what `promtool check metrics` refuses.
fn parse(page: &str) -> Result<(HashMap<String, String>, Vec<Sample>), String> {
    let mut kinds = HashMap::new();
    let mut helped = HashSet::new();
    let mut seen = HashSet::new();
    let mut samples = Vec::new();
    let mut family = String::new();
    if !page.ends_with('\n') {
        return Err("the last line has no end".to_owned());
    }
    for line in page.lines() {
        let complain = |what: &str| Err(format!("{what}: {line}"));
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').ok_or("no help")?;
            if text.is_empty() || !helped.insert(name.to_owned()) {
                return complain("no help, or twice");
            }
            family = name.to_owned();
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').ok_or("no type")?;
            let known = matches!(kind, "counter" | "gauge" | "histogram");
            let fresh = kinds.insert(name.to_owned(), kind.to_owned()).is_none();
            if name != family || !known || !fresh {
                return complain("a type without its help, or twice");
            }
            if (kind == "counter") != name.ends_with("_total") {
                return complain("counters, and only they, end in _total");
            }
            let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            if !name.starts_with("herald_") || !name.chars().all(legal) {
                return complain("not a name of ours");
            }
            if name.contains("_ms") || name.contains("milli") || name.contains("_kb") {
                return complain("not a base unit");
            }
        } else {
            let sample = sample(line).ok_or_else(|| format!("not a sample: {line}"))?;
            let base = match kinds.get(&family).map(String::as_str) {
                Some("histogram") => ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|end| sample.name.strip_suffix(end))
                    .unwrap_or_default(),
                _ => &sample.name,
            };
            if base != family {
                return complain("a sample outside its family");
            }
            if !seen.insert((sample.name.clone(), sample.labels.clone())) {
                return complain("a series twice");
            }
            if sample.value < 0.0 || !sample.value.is_finite() {
                return complain("no count");
            }
            samples.push(sample);
        }
    }
    Ok((kinds, samples))
}

fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
        None => (series, ""),
    };
    let mut read = Vec::new();
    let mut rest = labels;
    while !rest.is_empty() {
        let (label, after) = rest.split_once("=\"")?;
        if label.is_empty() || !label.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
            return None;
        }
        // No label of ours needs escaping but an origin's name, which has no quote either.
        let (text, after) = after.split_once('"')?;
        read.push((label.to_owned(), text.to_owned()));
        rest = match after.strip_prefix(',') {
            Some("") => return None,
            Some(more) => more,
            None if after.is_empty() => "",
            None => return None,
        };
    }
    Some(Sample {
        name: name.to_owned(),
        labels: read,
        value: value.parse().ok()?,
    })
}

#[test]
fn the_page_is_what_prometheus_reads() {
    let folder = Folder::default();
    let world = World::with("optional", |launch| folder.launch(launch).workers(2));
    for protocol in Protocol::ALL {
        world.ask(protocol, None, &Ask::get("/")).unwrap();
    }
    wait::until("the origins to be published", || {
        folder
            .ask("/metrics")
            .1
            .contains("herald_upstream_")
            .then_some(())
    });
    let (status, page) = folder.ask("/metrics");
    assert_eq!(status, 200);
    let (kinds, samples) = parse(&page).unwrap_or_else(|what| panic!("{what}\n{page}"));
    for name in kinds.keys() {
        assert!(
            samples
                .iter()
                .any(|sample| sample.name.starts_with(name.as_str())),
            "{name} is empty"
        );
    }
    let buckets: Vec<_> = samples
        .iter()
        .filter(|sample| sample.name == "herald_request_duration_seconds_bucket")
        .collect();
    assert!(buckets.len() > 5);
    let bound = |sample: &Sample| match &*sample.labels[0].1 {
        "+Inf" => f64::INFINITY,
        bound => bound.parse().unwrap(),
    };
    for pair in buckets.windows(2) {
        assert!(bound(pair[0]) < bound(pair[1]) && pair[0].value <= pair[1].value);
    }
    assert_eq!(bound(buckets[buckets.len() - 1]), f64::INFINITY);
    let count = samples
        .iter()
        .find(|s| s.name == "herald_request_duration_seconds_count");
    assert_eq!(count.unwrap().value, buckets[buckets.len() - 1].value);
}

/// The judge above must be able to say no.
#[test]
fn what_prometheus_refuses_is_refused() {
    for page in [
        "herald_a 1\n",
        "# HELP herald_a_total x\n# TYPE herald_a_total counter\nherald_b_total 1\n",
        "# HELP herald_a_total x\n# TYPE herald_a_total counter\nherald_a_total 1\nherald_a_total 2\n",
        "# HELP herald_a x\n# TYPE herald_a counter\nherald_a 1\n",
        "# HELP herald_a x\n# TYPE herald_a gauge\nherald_a{x=\"1\" 1\n",
        "# HELP herald_a x\n# TYPE herald_a gauge\nherald_a one\n",
        "# HELP herald_a x\n# TYPE herald_a gauge\nherald_a 1",
    ] {
        assert!(parse(page).is_err(), "{page}");
    }
}

#[test]
fn requests_handshakes_and_verdicts_are_counted() {
    let folder = Folder::default();
    let world = World::with("optional", |launch| folder.launch(launch));
    let good = Pki::shared().good();
    let config = Protocol::H1.offered(&Settings::new(Some(&good)));
    for _ in 0..2 {
        let mut connection = Protocol::H1.connect_with(&world.herald, &config).unwrap();
        for _ in 0..3 {
            connection.ask(&Ask::post("/", b"12345")).unwrap();
        }
    }
    world.ask(Protocol::H2, None, &Ask::get("/")).unwrap();
    let expired = Pki::shared().expired();
    world
        .ask(Protocol::H2, Some(&expired), &Ask::get("/"))
        .unwrap();
    let mut plain = open(world.herald.address()).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    folder.connections(5);
    for (series, value) in [
        (
            "herald_requests_total{protocol=\"http1\",status=\"2xx\"}",
            6,
        ),
        (
            "herald_requests_total{protocol=\"http2\",status=\"2xx\"}",
            1,
        ),
        (
            "herald_requests_total{protocol=\"http2\",status=\"4xx\"}",
            1,
        ),
        ("herald_verdicts_total{verdict=\"success\"}", 6),
        ("herald_verdicts_total{verdict=\"none\"}", 1),
        ("herald_verdicts_total{verdict=\"failed\"}", 1),
        (
            "herald_requests_refused_total{reason=\"certificate_failed\"}",
            1,
        ),
        (
            "herald_requests_refused_total{reason=\"no_certificate\"}",
            0,
        ),
        ("herald_handshakes_total{kind=\"full\"}", 3),
        ("herald_handshakes_total{kind=\"resumed\"}", 1),
        ("herald_handshakes_failed_total{reason=\"protocol\"}", 1),
        ("herald_request_body_bytes_total", 30),
        ("herald_request_duration_seconds_count", 8),
        ("herald_connections_total{worker=\"0\"}", 5),
        ("herald_connections_open{worker=\"0\"}", 0),
        ("herald_log_records_dropped_total{log=\"access\"}", 0),
        ("herald_log_records_total{log=\"access\"}", 8),
        ("herald_ready", 1),
    ] {
        assert_eq!(folder.metric(series), value, "{series}");
    }
    assert!(folder.metric("herald_client_received_bytes_total") > 500);
    assert!(folder.metric("herald_client_sent_bytes_total") > 500);
    let upstream = world.origin.address();
    wait::until("the upstream's counts", || {
        let requests = format!("herald_upstream_requests_total{{upstream=\"http://{upstream}\"}}");
        let (_, page) = folder.ask("/metrics");
        page.contains(&format!("{requests} 7\n")).then_some(())
    });
}

#[test]
fn an_origin_that_fails_is_counted_by_its_fault() {
    let folder = Folder::default();
    let origin = Origin::raw("nonsense\r\n\r\n", Next::Close);
    let world = World::around(origin, "optional", |launch| folder.launch(launch));
    let answer = world.ask(Protocol::H1, None, &Ask::get("/")).unwrap();
    assert_eq!(answer.status, 502);
    folder.requests(1);
    assert_eq!(
        folder.metric("herald_upstream_errors_total{reason=\"bad_response\"}"),
        1
    );
    assert_eq!(
        folder.metric("herald_requests_total{protocol=\"http1\",status=\"5xx\"}"),
        1
    );
}
