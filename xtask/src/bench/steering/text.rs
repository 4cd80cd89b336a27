//! A run as text: figures, what they must be, and what is to be known about them.

use super::super::table::number;
use super::Report;
use super::flood::{self, Outcome};
use super::light::{self, Comparison, Latency};
use super::refusal::{self, Cost, Costs};

/// The whole report (Markdown, so that it can stand in documents as it is).
pub(super) fn render(report: &Report) -> String {
    let mut lines = Vec::new();
    let rows = [
        ("6 % hold a worker for 30 ms", &report.stall),
        ("bursts of handshakes with new certificates", &report.bursts),
    ];
    if rows.iter().any(|(_, measured)| measured.is_some()) {
        lines.push("| light requests beside | chosen by | p50 ms | p90 ms | p99 ms |".to_owned());
        lines.push("|---|---|---|---|---|".to_owned());
    }
    for (title, measured) in rows {
        if let Some(comparison) = measured {
            latencies(&mut lines, title, comparison);
        }
    }
    if let Some(comparison) = &report.stall {
        let gain = comparison.gain();
        let is = format!("p90 beside stalls is {} times lower", number(gain));
        lines.push(verdict(&is, "5", gain >= 5.0));
    }
    if let Some(costs) = &report.refusal {
        refusals(&mut lines, costs);
    }
    if let Some(outcome) = &report.flood {
        floods(&mut lines, outcome);
    }
    lines.push(format!(
        "\n{}; {}, Linux {}, {} cores; medians of {} runs by turns, least and most in brackets.",
        report.started, report.processor, report.kernel, report.cores, report.runs
    ));
    for (part, averages) in &report.load_averages {
        lines.push(format!("- {part}: load average before it {averages}"));
    }
    lines.join("\n")
}

fn latencies(lines: &mut Vec<String>, title: &str, comparison: &Comparison) {
    for (name, runs) in [
        ("hash", &comparison.hash),
        ("steering", &comparison.steered),
    ] {
        let cell = |of: fn(&Latency) -> f64| {
            let all: Vec<f64> = runs.iter().map(of).collect();
            range(light::middle(runs, of), &all)
        };
        lines.push(format!(
            "| {title} | {name} | {} | {} | {} |",
            cell(|latency| latency.p50),
            cell(|latency| latency.p90),
            cell(|latency| latency.p99)
        ));
    }
}

fn refusals(lines: &mut Vec<String>, costs: &Costs) {
    lines.push(String::new());
    lines.push("| a connection that is | CPU µs, whole machine | generator and answerer |".into());
    lines.push("|---|---|---|".to_owned());
    for (title, runs) in [
        ("refused in sk_lookup", &costs.refused),
        ("accepted and closed", &costs.accepted),
        ("served a handshake", &costs.completed),
        ("(to a closed port, taken off the others)", &costs.closed),
    ] {
        let cell = |of: fn(&Cost) -> f64| {
            let all: Vec<f64> = runs.iter().map(of).collect();
            range(refusal::middle(runs, of), &all)
        };
        lines.push(format!(
            "| {title} | {} | {} |",
            cell(|cost| cost.machine),
            cell(|cost| cost.own)
        ));
    }
    // On a machine that others use, its busy time is theirs.
    let of: fn(&Cost) -> f64 = match costs.is_disturbed() {
        true => {
            lines.push("others used more than 5 % of a core: judged by the second column".into());
            |cost| cost.own
        }
        false => |cost| cost.machine,
    };
    let refused = refusal::middle(&costs.refused, of);
    for (title, runs, least) in [
        ("accept and close", &costs.accepted, 3.0),
        ("a handshake", &costs.completed, 30.0),
    ] {
        let other = refusal::middle(runs, of);
        let is = format!(
            "refused {} µs beside {} µs of {title}",
            number(refused),
            number(other)
        );
        lines.push(verdict(&is, &number(least), refused * least <= other));
    }
}

fn floods(lines: &mut Vec<String>, outcome: &Outcome) {
    lines.push(String::new());
    lines.push(format!(
        "| 2,000 handshakes/s of one source beside {}/s of another (capacity {:.0}/s) | kept | the \
         flood completes |",
        outcome.offered, outcome.capacity
    ));
    lines.push("|---|---|---|".to_owned());
    let on = format!("`refuse_rate = {}`", outcome.refuse_rate);
    for (title, runs) in [
        (&*on, &outcome.refusing),
        ("without refusal", &outcome.without),
    ] {
        let all: Vec<f64> = runs.iter().map(|share| share.kept).collect();
        lines.push(format!(
            "| {title} | {} % | {:.0}/s |",
            range(flood::kept(runs), &all),
            flood::completed(runs)
        ));
    }
    let kept = flood::kept(&outcome.refusing);
    let is = format!("{} % kept with refusal on", number(kept));
    lines.push(verdict(&is, "90", kept >= 90.0));
}

fn range(median: f64, all: &[f64]) -> String {
    let least = all.iter().copied().fold(f64::INFINITY, f64::min);
    let most = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{} ({} to {})", number(median), number(least), number(most))
}

fn verdict(is: &str, at_least: &str, holds: bool) -> String {
    let word = if holds { "HOLDS" } else { "MISSES" };
    format!("{word}: {is}; at least {at_least}")
}
