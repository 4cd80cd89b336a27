//! A run as text: figures, targets, and what is to be known about them.

use std::fmt::Write;

use super::record::{Record, Row};

/// The whole report (Markdown, so that it can stand in documents as it is).
pub(super) fn render(record: &Record) -> String {
    let mut text = String::new();
    figures(&mut text, record);
    peaks(&mut text, record);
    targets(&mut text, record);
    notes(&mut text, record);
    text
}

/// A figure, as exact as it is.
pub(super) fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$}")
}

fn figures(text: &mut String, record: &Record) {
    let names: Vec<&str> = record.peers.iter().map(|peer| peer.name.as_str()).collect();
    line(text, &["scenario", "unit"], &names);
    rule(text, names.len() + 2);
    for first in record.scenarios() {
        let cells: Vec<String> = names
            .iter()
            .map(|name| record.row(&first.scenario, name).map_or_else(absent, cell))
            .collect();
        let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
        line(text, &[&first.title, &first.unit], &cells);
    }
}

/// Median with least and most; a star if others disturbed a window.
fn cell(row: &Row) -> String {
    let star = if row.disturbed() { "*" } else { "" };
    if row.samples.len() == 1 {
        return format!("{}{star}", number(row.median()));
    }
    let (least, most) = (number(row.least()), number(row.most()));
    format!("{} ({least}-{most}){star}", number(row.median()))
}

fn absent() -> String {
    "-".to_owned()
}

fn peaks(text: &mut String, record: &Record) {
    let list = |peaks: &[(String, u64)]| {
        let peaks = peaks
            .iter()
            .map(|(name, kib)| format!("{name} {}", kib / 1024));
        peaks.collect::<Vec<_>>().join(", ")
    };
    let all = list(&record.peaks);
    add(text, &format!("\nPeak RSS after all loads, MiB: {all}."));
    if !record.peaks_idle.is_empty() {
        let all = list(&record.peaks_idle);
        add(
            text,
            &format!("Peak RSS with the idle connections, MiB: {all}."),
        );
    }
    if let Some(rate) = record.rate {
        add(text, &format!("Latency is at {rate:.0} requests a second."));
    }
}

fn targets(text: &mut String, record: &Record) {
    add(text, "");
    line(
        text,
        &["target", "against"],
        &["is", "must", "aim", "holds"],
    );
    rule(text, 6);
    for target in &record.targets {
        let sign = if target.at_least { "≥" } else { "≤" };
        let is = target.is.map_or_else(absent, number);
        let must = format!("{sign} {}", number(target.must));
        let aim = format!("{sign} {}", number(target.aim));
        line(
            text,
            &[&target.title, &target.against],
            &[&is, &must, &aim, target.verdict()],
        );
    }
}

fn notes(text: &mut String, record: &Record) {
    add(
        text,
        &format!(
            "\n{}; {}, Linux {}, {} cores, {} worker(s).",
            record.started, record.processor, record.kernel, record.cores, record.workers
        ),
    );
    for peer in &record.peers {
        let note = peer
            .note
            .as_ref()
            .map(|note| format!("; {note}"))
            .unwrap_or_default();
        add(text, &format!("- {}: {}{note}", peer.name, peer.version));
        if !peer.missing.is_empty() {
            add(text, &format!("  can't send: {}", peer.missing.join("; ")));
        }
    }
    for skipped in &record.skipped {
        add(
            text,
            &format!("- {}: SKIPPED: {}", skipped.name, skipped.reason),
        );
    }
    if record.rows.iter().any(Row::disturbed) {
        add(
            text,
            "* in all three tries of a window others used more than 5 % of a core, or the machine was more than a tenth slower \
             than at its best.",
        );
    }
    for remark in &record.remarks {
        add(text, &format!("! {remark}"));
    }
}

fn line(text: &mut String, first: &[&str], rest: &[&str]) {
    let cells: Vec<&str> = first.iter().chain(rest).copied().collect();
    add(text, &format!("| {} |", cells.join(" | ")));
}

fn rule(text: &mut String, columns: usize) {
    add(text, &format!("|{}", "---|".repeat(columns)));
}

fn add(text: &mut String, line: &str) {
    // Writing to a string can't fail.
    let _infallible = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_as_exact_as_they_are() {
        assert_eq!(number(0.523), "0.52");
        assert_eq!(number(31.94), "31.9");
        assert_eq!(number(761.2), "761");
    }
}
