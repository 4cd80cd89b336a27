//! Plots: bars, percentile curves, lines over runs.

use std::fmt::Write;

use super::super::table::number;
use super::colour;

pub(super) struct Bar<'a> {
    pub(super) name: &'a str,
    pub(super) value: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

pub(super) struct Curve {
    pub(super) name: String,
    /// Percentile and microseconds.
    pub(super) points: Vec<(f64, f64)>,
}

/// Horizontal bars with their range.
pub(super) fn bars(title: &str, bars: &[Bar<'_>]) -> String {
    let most = bars
        .iter()
        .map(|bar| bar.most)
        .fold(f64::MIN_POSITIVE, f64::max);
    let width = |value: f64| value / most * BAR;
    let mut y = 26.0;
    let mut plot = heading(title);
    for bar in bars {
        let (middle, name, fill) = (y + 9.0, escape(bar.name), colour(bar.name));
        put(
            &mut plot,
            format_args!(
                "<text x=94 y={} text-anchor=end>{name}</text>\
             <rect x=100 y={y} width={:.1} height=18 fill='{fill}' opacity=.75 />\
             <path d='M{:.1} {middle}H{:.1}' stroke='#111' />\
             <text x={:.1} y={}>{}</text>",
                y + 13.0,
                width(bar.value),
                100.0 + width(bar.least),
                100.0 + width(bar.most),
                106.0 + width(bar.most),
                y + 13.0,
                number(bar.value),
            ),
        );
        y += 24.0;
    }
    frame(&plot, 484.0, y + 4.0)
}

/// Latency over percentiles: the x axis is the share of requests that took longer, logarithmic.
pub(super) fn curves(curves: &[Curve]) -> String {
    let all = || {
        curves
            .iter()
            .flat_map(|curve| &curve.points)
            .map(|(_, micros)| micros.max(1.0))
    };
    // Without a point the axis begins at 1 µs; an infinite one would never end.
    let least = all().reduce(f64::min).unwrap_or(1.0).log10().floor();
    let most = all().fold(1.0, f64::max).log10().ceil().max(least + 1.0);
    let x = |percent: f64| 60.0 + -((100.0 - percent).max(TAIL) / 100.0).log10() / 5.0 * 620.0;
    let y = |micros: f64| 20.0 + (most - micros.max(1.0).log10()) / (most - least) * 300.0;
    let mut plot = String::new();
    let mut power = least;
    while power <= most {
        let (at, micros) = (y(10_f64.powf(power)), 10_f64.powf(power));
        put(
            &mut plot,
            format_args!(
                "<path d='M60 {at:.1}H680' stroke='#ddd' />\
             <text x=55 y={:.1} text-anchor=end>{micros:.0} µs</text>",
                at + 4.0
            ),
        );
        power += 1.0;
    }
    for (percent, label) in TICKS {
        let at = x(percent);
        put(
            &mut plot,
            format_args!(
                "<path d='M{at:.1} 20V320' stroke='#eee' />\
             <text x={at:.1} y=336 text-anchor=middle>{label}</text>"
            ),
        );
    }
    for (row, curve) in (0_u8..).zip(curves) {
        let stroke = colour(&curve.name);
        let points: Vec<String> = curve
            .points
            .iter()
            .map(|(percent, micros)| format!("{:.1},{:.1}", x(*percent), y(*micros)))
            .collect();
        put(
            &mut plot,
            format_args!(
                "<polyline points='{}' fill=none stroke='{stroke}' stroke-width=2 />\
             <text x=75 y={} fill='{stroke}'>{}</text>",
                points.join(" "),
                34.0 + f64::from(row) * 16.0,
                escape(&curve.name)
            ),
        );
    }
    frame(&plot, 720.0, 345.0)
}

/// One line a peer over runs; a run without it is a gap.
pub(super) fn lines(title: &str, lines: &[(&str, Vec<Option<f64>>)]) -> String {
    let figures = || {
        lines
            .iter()
            .flat_map(|(_, figures)| figures.iter().flatten())
    };
    let most = figures().copied().fold(f64::MIN_POSITIVE, f64::max);
    let runs = lines
        .iter()
        .map(|(_, figures)| figures.len())
        .max()
        .unwrap_or(1)
        .max(2);
    let step = 390.0 / f64::from(u32::try_from(runs - 1).unwrap_or(u32::MAX));
    let mut plot = heading(title);
    put(
        &mut plot,
        format_args!(
            "<path d='M50 30V150H450' fill=none stroke='#999' />\
         <text x=46 y=38 text-anchor=end>{}</text><text x=46 y=154 text-anchor=end>0</text>",
            number(most)
        ),
    );
    for (name, figures) in lines {
        let stroke = colour(name);
        for (run, figure) in (0_u32..).zip(figures) {
            let Some(figure) = figure else { continue };
            let at = 55.0 + f64::from(run) * step;
            let y = 150.0 - figure / most * 118.0;
            put(
                &mut plot,
                format_args!(
                    "<circle cx={at:.1} cy={y:.1} r=3 fill='{stroke}'><title>{}: {}</title></circle>",
                    escape(name),
                    number(*figure)
                ),
            );
        }
        for (run, pair) in (0_u32..).zip(figures.windows(2)) {
            if let [Some(from), Some(to)] = pair {
                put(
                    &mut plot,
                    format_args!(
                        "<path d='M{:.1} {:.1}L{:.1} {:.1}' stroke='{stroke}' />",
                        55.0 + f64::from(run) * step,
                        150.0 - from / most * 118.0,
                        55.0 + f64::from(run + 1) * step,
                        150.0 - to / most * 118.0,
                    ),
                );
            }
        }
    }
    frame(&plot, 460.0, 160.0)
}

/// Text that is no markup.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('\'', "&#39;")
}

fn heading(title: &str) -> String {
    format!("<text x=4 y=15 font-weight=600>{}</text>", escape(title))
}

fn frame(plot: &str, width: f64, height: f64) -> String {
    format!("<svg viewBox='0 0 {width} {height}' font-size=12 role=img>{plot}</svg>")
}

fn put(plot: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string can't fail.
    let _infallible = plot.write_fmt(text);
}

/// Percentiles end here: the rest of the axis has no samples.
const TAIL: f64 = 0.001;
const BAR: f64 = 310.0;
const TICKS: [(f64, &str); 6] = [
    (0.0, "0"),
    (50.0, "50"),
    (90.0, "90"),
    (99.0, "99"),
    (99.9, "99.9"),
    (99.99, "99.99"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_titles_are_never_markup() {
        let bar = Bar {
            name: "<b>",
            value: 1.0,
            least: 1.0,
            most: 1.0,
        };
        let plot = bars("a<script>", &[bar]);
        assert!(
            !plot.contains("<script>") && !plot.contains("<b>"),
            "{plot}"
        );
    }

    #[test]
    fn plots_of_nothing_have_no_bad_numbers() {
        for plot in [bars("t", &[]), curves(&[]), lines("t", &[])] {
            assert!(!plot.contains("NaN") && !plot.contains("inf"), "{plot}");
        }
    }
}
