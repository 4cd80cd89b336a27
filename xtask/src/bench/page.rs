//! A run as one self-contained page: no script, no other file, plots as inline SVG.

use super::peers::Kind;
use super::record::Record;
use super::table;

mod svg;

/// The page of a run, with what earlier runs had.
pub(super) fn render(record: &Record, earlier: &[Record]) -> String {
    let mut body = String::new();
    body.push_str(&format!(
        "<h1>Herald and its peers</h1><p>{} &middot; {} &middot; Linux {} &middot; {} worker(s)</p>",
        svg::escape(&record.started),
        svg::escape(&record.processor),
        svg::escape(&record.kernel),
        record.workers
    ));
    body.push_str(
        "<h2>Each scenario</h2><p>Bars are medians, the lines in them least and most of \
                   the rounds. Unless said, shorter is better.</p><div class=grid>",
    );
    for first in record.scenarios() {
        let bars: Vec<svg::Bar<'_>> = record
            .rows
            .iter()
            .filter(|row| row.scenario == first.scenario)
            .map(|row| svg::Bar {
                name: &row.peer,
                value: row.median(),
                least: row.least(),
                most: row.most(),
            })
            .collect();
        let better = if first.more_is_better {
            ", more is better"
        } else {
            ""
        };
        let title = format!("{} ({}{better})", first.title, first.unit);
        body.push_str(&svg::bars(&title, &bars));
    }
    body.push_str("</div>");
    body.push_str(&latency(record));
    body.push_str(&history(record, earlier));
    body.push_str("<h2>All figures</h2><pre>");
    body.push_str(&svg::escape(&table::render(record)));
    body.push_str("</pre>");
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Herald bench</title>\
         <style>{STYLE}</style>{body}</html>\n"
    )
}

/// Percentiles of each peer; the median over rounds of each.
fn latency(record: &Record) -> String {
    let rows = record.rows.iter().filter(|row| row.scenario == "latency");
    let curves: Vec<svg::Curve> = rows
        .map(|row| {
            let percents = row
                .samples
                .first()
                .map_or(&[][..], |sample| &sample.latency);
            let point = |(index, (percent, _)): (usize, &(f64, f64))| {
                let rounds = row.samples.iter();
                let micros = rounds.filter_map(|sample| sample.latency.get(index));
                (
                    *percent,
                    super::record::median(micros.map(|(_, micros)| *micros)),
                )
            };
            svg::Curve {
                name: row.peer.clone(),
                points: percents.iter().enumerate().map(point).collect(),
            }
        })
        .collect();
    let Some(rate) = record.rate.filter(|_| !curves.is_empty()) else {
        return String::new();
    };
    format!(
        "<h2>Latency at {rate:.0} requests a second</h2><p>Open loop: from when a request was due. \
         Both axes logarithmic.</p>{}",
        svg::curves(&curves)
    )
}

/// Herald's share of the best peer's figure over all runs of this machine.
fn history(record: &Record, earlier: &[Record]) -> String {
    let runs: Vec<&Record> = earlier
        .iter()
        .filter(|run| run.processor == record.processor && run.quick == record.quick)
        .chain([record])
        .collect();
    if runs.len() < 2 {
        return String::new();
    }
    let mut plots = String::new();
    for first in record.scenarios() {
        let names = record.peers.iter().map(|peer| peer.name.as_str());
        let lines: Vec<(&str, Vec<Option<f64>>)> = names
            .map(|name| {
                let figures = runs.iter().map(|run| {
                    let row = run.row(&first.scenario, name);
                    row.map(super::record::Row::median)
                        .filter(|figure| figure.is_finite())
                });
                (name, figures.collect())
            })
            .filter(|(_, figures): &(&str, Vec<Option<f64>>)| figures.iter().any(Option::is_some))
            .collect();
        plots.push_str(&svg::lines(
            &format!("{} ({})", first.title, first.unit),
            &lines,
        ));
    }
    format!(
        "<h2>History, {} runs of this machine</h2><div class=grid>{plots}</div>",
        runs.len()
    )
}

/// One colour a peer, on all plots.
fn colour(peer: &str) -> &'static str {
    match peer {
        name if name == Kind::Herald.name() => "#c2410c",
        name if name == Kind::Nginx.name() => "#15803d",
        name if name == Kind::Haproxy.name() => "#1d4ed8",
        name if name == Kind::Envoy.name() => "#a21caf",
        name if name == Kind::Pingora.name() => "#b45309",
        _ => "#6b7280",
    }
}

const STYLE: &str = "body{font:15px/1.4 system-ui,sans-serif;max-width:1100px;margin:2em auto;\
                     padding:0 1em;color:#1f2937}.grid{display:grid;gap:1em;\
                     grid-template-columns:repeat(auto-fill,minmax(420px,1fr))}\
                     svg{width:100%;height:auto}pre{overflow-x:auto;font-size:12px}";
