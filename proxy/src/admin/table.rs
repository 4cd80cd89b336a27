//! A status as a person reads it: aligned, numbers grouped, nothing shown that is always zero.

use super::status::{Counts, Status};
use crate::telemetry::{KernelSources, KtlsCounts};

/// Draws `status`; with `styled`, headings and states in colours of a terminal.
pub fn draw(status: &Status, styled: bool) -> String {
    let mut page = Page {
        text: String::new(),
        styled,
    };
    let state = page.state(&status.state, status.state == "ready");
    page.line(&format!(
        "Herald {}   {state}   up {}   process {}",
        status.version,
        span(status.uptime_seconds),
        status.pid
    ));
    page.configuration(status);
    let listeners: Vec<_> = status
        .listeners
        .iter()
        .map(|address| vec![address.clone()])
        .collect();
    page.section("Listening", &listeners, 1);
    page.workers(status);
    page.section("Handshakes", &handshakes(status), 1);
    page.requests(status);
    page.section("Certificates", &counts(&status.verdicts), 1);
    page.section("Not served", &counts(&status.reasons), 1);
    page.upstreams(status);
    page.features(status);
    page.section("Decisions", &counts(&status.kernel), 1);
    page.section("Sources", &sources(status.kernel_sources.as_ref()), 1);
    page.section("Kernel TLS", &ktls(&status.ktls), 1);
    page.logs(status);
    page.text
}

struct Page {
    text: String,
    styled: bool,
}

type Rows = Vec<Vec<String>>;

impl Page {
    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// A heading and its rows, in columns: the first `texts` to the left, the others, numbers, to
    /// the right. Nothing without rows.
    fn section(&mut self, heading: &str, rows: &Rows, texts: usize) {
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        if columns == 0 {
            return;
        }
        self.text.push('\n');
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = rows.iter().filter_map(|row| row.get(column));
                cells.map(|cell| shown_width(cell)).max().unwrap_or(0)
            })
            .collect();
        for (index, row) in rows.iter().enumerate() {
            let heading = if index == 0 { heading } else { "" };
            let mut line = self.bold(&format!("{heading:HEADING_WIDTH$}"));
            for ((column, cell), width) in row.iter().enumerate().zip(&widths) {
                let room = " ".repeat(width - shown_width(cell));
                let (before, after) = match column < texts {
                    true => (String::new(), room),
                    false => (room, String::new()),
                };
                line.push_str(&format!("{before}{cell}{after}   "));
            }
            self.line(&line);
        }
    }

    fn workers(&mut self, status: &Status) {
        let mut rows = vec![head(&["", "", "open", "accepted", "requests"])];
        for (index, worker) in status.workers.iter().enumerate() {
            let word = if worker.alive { "alive" } else { "stuck" };
            rows.push(vec![
                format!("worker {index}"),
                self.state(word, worker.alive),
                grouped(worker.connections_open),
                grouped(worker.connections_total),
                grouped(worker.requests_total),
            ]);
        }
        self.section("Workers", &rows, 2);
    }

    fn requests(&mut self, status: &Status) {
        let classes = ["2xx", "3xx", "4xx", "5xx", "unanswered"];
        let mut rows = vec![head(&["", "2xx", "3xx", "4xx", "5xx", "unanswered"])];
        for (protocol, counts) in &status.requests {
            let name = match &**protocol {
                "http1" => "HTTP/1.1",
                "http2" => "HTTP/2",
                other => other,
            };
            let count = |class: &str| grouped(counts.get(class).copied().unwrap_or(0));
            let mut row = vec![name.to_owned()];
            row.extend(classes.iter().map(|class| count(class)));
            rows.push(row);
        }
        self.section("Requests", &rows, 1);
    }

    fn upstreams(&mut self, status: &Status) {
        let titles = ["", "", "idle", "connections", "requests", "retries"];
        let mut rows = vec![head(&titles)];
        for upstream in &status.upstreams {
            let health = match upstream.healthy {
                Some(true) => self.state("healthy", true),
                Some(false) => self.state("left out", false),
                None => "not judged".to_owned(),
            };
            rows.push(vec![
                plain(&upstream.name),
                health,
                grouped(upstream.connections_idle),
                grouped(upstream.connections_total),
                grouped(upstream.requests_total),
                grouped(upstream.retries_total),
            ]);
        }
        if rows.len() > 1 {
            self.section("Upstream", &rows, 2);
        }
    }

    fn features(&mut self, status: &Status) {
        let mut rows = Rows::new();
        for feature in &status.features {
            let word = if feature.active { "on" } else { "off" };
            rows.push(vec![
                plain(&feature.name),
                word.to_owned(),
                plain(&feature.reason),
            ]);
        }
        self.section("Kernel", &rows, 3);
    }

    fn logs(&mut self, status: &Status) {
        let mut rows = Rows::new();
        for log in &status.logs {
            let (written, dropped) = (grouped(log.written), grouped(log.dropped));
            let dropped = self.state(&format!("{dropped} lost"), log.dropped == 0);
            rows.push(vec![
                plain(&log.name),
                plain(&log.target),
                format!("{written} written"),
                dropped,
            ]);
        }
        self.section("Logs", &rows, 2);
    }

    fn bold(&self, text: &str) -> String {
        match self.styled {
            true => format!("\x1b[1m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }

    /// Only what is not as after any start.
    fn configuration(&mut self, status: &Status) {
        let Some(reloads) = &status.configuration else {
            return;
        };
        if reloads.generation > 1 {
            self.line(&format!("Configuration {} is in force", reloads.generation));
        }
        if let Some(error) = &reloads.error {
            let refused = self.state("refused", false);
            self.line(&format!("The last configuration was {refused}: {error}"));
        }
    }

    fn state(&self, text: &str, is_good: bool) -> String {
        match (self.styled, is_good) {
            (false, _) => text.to_owned(),
            (true, true) => format!("\x1b[32m{text}\x1b[0m"),
            (true, false) => format!("\x1b[31m{text}\x1b[0m"),
        }
    }
}

fn handshakes(status: &Status) -> Rows {
    let handshakes = &status.handshakes;
    let mut rows = vec![
        vec!["full".to_owned(), grouped(handshakes.full)],
        vec!["resumed".to_owned(), grouped(handshakes.resumed)],
    ];
    for (class, count) in &handshakes.failed {
        rows.push(vec![format!("failed: {}", words(class)), grouped(*count)]);
    }
    rows
}

fn counts(counts: &Counts) -> Rows {
    counts
        .iter()
        .map(|(label, count)| vec![words(label), grouped(*count)])
        .collect()
}

/// Nothing while nobody is connected.
fn sources(sources: Option<&KernelSources>) -> Rows {
    let Some(sources) = sources.filter(|it| it.prefixes > 0) else {
        return Rows::new();
    };
    let mut rows = vec![head(&["", "open"])];
    for source in &sources.busiest {
        rows.push(vec![plain(&source.prefix), grouped(source.connections)]);
    }
    let more = sources
        .prefixes
        .saturating_sub(sources.busiest.len() as u64);
    if more > 0 {
        rows.push(vec![format!("and {} more", grouped(more)), String::new()]);
    }
    rows
}

/// Nothing while nothing has happened.
fn ktls(counts: &KtlsCounts) -> Rows {
    let known = [
        ("taken over", counts.offloads),
        ("new keys", counts.rekeys),
        ("bytes spliced", counts.spliced_bytes),
        ("splicing given up", counts.unspliced),
    ];
    let known = known.map(|(label, count)| (label.to_owned(), count));
    let refused = counts.refusals.iter();
    let refused = refused.map(|(reason, count)| (format!("refused: {}", words(reason)), *count));
    known
        .into_iter()
        .chain(refused)
        .filter(|(_, count)| *count > 0)
        .map(|(label, count)| vec![label, grouped(count)])
        .collect()
}

fn head(titles: &[&str]) -> Vec<String> {
    titles.iter().map(|title| (*title).to_owned()).collect()
}

fn words(label: &str) -> String {
    plain(label).replace('_', " ")
}

/// What came over a socket, without anything that moves a terminal's cursor.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

/// Characters without those of a style.
fn shown_width(cell: &str) -> usize {
    let mut width = 0;
    let mut in_style = false;
    for c in cell.chars() {
        match c {
            '\x1b' => in_style = true,
            'm' if in_style => in_style = false,
            _ if in_style => {}
            _ => width += 1,
        }
    }
    width
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Seconds in the two units that matter.
fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min {} s", seconds % 60),
        3600..86_400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

const HEADING_WIDTH: usize = 14;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::status::{Handshakes, LogStatus, UpstreamStatus, WorkerStatus};
    use super::*;
    use crate::telemetry::{Feature, SourceConnections};

    fn connected() -> KernelSources {
        let source = |prefix: &str, connections| SourceConnections {
            prefix: prefix.into(),
            connections,
        };
        KernelSources {
            prefixes: 1002,
            busiest: vec![source("192.0.2.7/32", 12), source("2001:db8:1:2::/64", 3)],
        }
    }

    fn status() -> Status {
        let counts = |pairs: &[(&str, u64)]| -> Counts {
            let owned = pairs
                .iter()
                .map(|(label, count)| ((*label).to_owned(), *count));
            owned.collect()
        };
        let worker = WorkerStatus {
            alive: true,
            connections_open: 12,
            connections_total: 3456,
            requests_total: 1_234_567,
        };
        Status {
            version: "0.1.0".into(),
            pid: 4711,
            uptime_seconds: 90_000,
            state: "ready".into(),
            configuration: None,
            listeners: vec!["0.0.0.0:443".into(), "[::]:443".into()],
            workers: vec![
                worker.clone(),
                WorkerStatus {
                    alive: false,
                    ..worker
                },
            ],
            handshakes: Handshakes {
                full: 3000,
                resumed: 450,
                failed: counts(&[("client_alert", 6)]),
            },
            requests: BTreeMap::from([
                ("http1".into(), counts(&[("2xx", 1_000_000), ("4xx", 7)])),
                ("http2".into(), counts(&[("2xx", 234_560)])),
            ]),
            verdicts: counts(&[("success", 1_234_000), ("failed", 500), ("none", 67)]),
            reasons: counts(&[("no_certificate", 7)]),
            upstreams: vec![UpstreamStatus {
                name: "10.0.0.1:8080".into(),
                healthy: Some(true),
                connections_idle: 4,
                connections_total: 90,
                requests_total: 1_234_560,
                retries_total: 1,
            }],
            features: vec![Feature::new("kernel TLS", false, "not asked for")],
            kernel: counts(&[("chosen", 9)]),
            kernel_sources: Some(connected()),
            ktls: KtlsCounts {
                offloads: 3,
                spliced_bytes: 1_048_576,
                refusals: BTreeMap::from([("keys_changed".into(), 1)]),
                ..KtlsCounts::default()
            },
            logs: vec![LogStatus {
                name: "access".into(),
                target: "/var/log/herald/access.log".into(),
                written: 1_234_567,
                dropped: 0,
            }],
        }
    }

    #[test]
    fn a_person_reads_it_at_a_glance() {
        let expected = "\
Herald 0.1.0   ready   up 1 d 1 h   process 4711

Listening     0.0.0.0:443
              [::]:443

Workers                          open   accepted    requests
              worker 0   alive     12      3,456   1,234,567
              worker 1   stuck     12      3,456   1,234,567

Handshakes    full                   3,000
              resumed                  450
              failed: client alert       6

Requests                       2xx   3xx   4xx   5xx   unanswered
              HTTP/1.1   1,000,000     0     7     0            0
              HTTP/2       234,560     0     0     0            0

Certificates  failed          500
              none             67
              success   1,234,000

Not served    no certificate   7

Upstream                                idle   connections    requests   retries
              10.0.0.1:8080   healthy      4            90   1,234,560         1

Kernel        kernel TLS   off   not asked for

Decisions     chosen   9

Sources                           open
              192.0.2.7/32          12
              2001:db8:1:2::/64      3
              and 1,000 more

Kernel TLS    taken over                      3
              bytes spliced           1,048,576
              refused: keys changed           1

Logs          access   /var/log/herald/access.log   1,234,567 written   0 lost
";
        assert_eq!(draw(&status(), false), expected);
    }

    #[test]
    fn a_style_moves_no_column_and_hostile_text_moves_no_cursor() {
        let mut status = status();
        status.upstreams[0].name = "a\x1b[2Jb".into();
        let plain = draw(&status, false);
        assert!(plain.contains("a?[2Jb"));
        let mut styled = draw(&status, true);
        for style in ["\x1b[1m", "\x1b[0m", "\x1b[31m", "\x1b[32m"] {
            styled = styled.replace(style, "");
        }
        let trimmed: Vec<_> = styled.lines().map(str::trim_end).collect();
        assert_eq!(trimmed, plain.lines().collect::<Vec<_>>());
    }
}
