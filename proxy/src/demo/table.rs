//! The demonstration's result, as a table for a person.

use std::io::{self, IsTerminal, Write};

use super::rows::Outcome;

const COLUMNS: [&str; 7] =
    ["", "CALLER", "HTTP", "STATUS", "X-CERT-PRESENTED", "X-CERT-VERIFY", "X-CERT-SUBJECT-DN"];

/// Writes the table, a section a Herald, and what was wrong if anything was.
pub(super) fn write(out: &mut impl Write, outcomes: &[Outcome]) -> io::Result<()> {
    let rows: Vec<_> = outcomes.iter().map(cells).collect();
    let widths: Vec<usize> = (0..COLUMNS.len())
        .map(|column| {
            let longest = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
            longest.unwrap_or(0).max(COLUMNS.get(column).map_or(0, |title| title.len()))
        })
        .collect();
    let paint = Paint { on: io::stdout().is_terminal() };
    let mut section = None;
    for (outcome, row) in outcomes.iter().zip(&rows) {
        if section.replace(outcome.row.required) != Some(outcome.row.required) {
            let title = if outcome.row.required {
                "What the origin saw behind `--client-auth required`"
            } else {
                "What the origin saw behind `--client-auth forward-failed`"
            };
            writeln!(out, "{}", paint.bold(title))?;
            write_line(out, &COLUMNS.map(str::to_owned), &widths, |line| paint.dim(line))?;
        }
        write_line(out, row, &widths, |line| if outcome.is_right() { line.to_owned() } else { paint.red(line) })?;
        if outcome.wrong.is_none() && next_differs(outcomes, outcome) {
            writeln!(out)?;
        }
    }
    let wrong: Vec<_> = outcomes.iter().filter(|outcome| !outcome.is_right()).collect();
    for outcome in &wrong {
        let fault = outcome.wrong.as_deref().unwrap_or_default();
        writeln!(out, "{}", paint.red(&format!("WRONG  {}: {fault}", outcome.row.who)))?;
    }
    let right = outcomes.len() - wrong.len();
    writeln!(out, "{}", paint.bold(&format!("{right} of {} rows are right.", outcomes.len())))
}

fn next_differs(outcomes: &[Outcome], outcome: &Outcome) -> bool {
    let mut after = outcomes.iter().skip_while(|other| !std::ptr::eq(*other, outcome)).skip(1);
    after.next().is_none_or(|next| next.row.required != outcome.row.required)
}

fn cells(outcome: &Outcome) -> [String; 7] {
    let mark = if outcome.is_right() { "✓" } else { "✗" };
    let (status, value): (String, Box<dyn Fn(&str) -> String>) = match &outcome.answer {
        Err(_) => ("-".into(), Box::new(|_| "-".into())),
        Ok(answer) if answer.seen.is_none() => (answer.status.to_string(), Box::new(|_| "(not reached)".into())),
        Ok(answer) => (
            answer.status.to_string(),
            Box::new(|name| {
                let values: Vec<_> = answer.values(name).collect();
                if values.is_empty() { "(absent)".into() } else { values.join(" | ") }
            }),
        ),
    };
    [
        mark.into(),
        outcome.row.who.into(),
        outcome.row.says.version().into(),
        status,
        value("X-CERT-PRESENTED"),
        value("X-CERT-VERIFY"),
        value("X-CERT-SUBJECT-DN"),
    ]
}

fn write_line(
    out: &mut impl Write,
    cells: &[String],
    widths: &[usize],
    paint: impl Fn(&str) -> String,
) -> io::Result<()> {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        line.push_str(&format!("{cell:width$}  "));
    }
    writeln!(out, "  {}", paint(line.trim_end()))
}

/// ANSI colours, on a terminal only.
struct Paint {
    on: bool,
}

impl Paint {
    fn bold(&self, text: &str) -> String {
        self.wrap("1", text)
    }

    fn dim(&self, text: &str) -> String {
        self.wrap("2", text)
    }

    fn red(&self, text: &str) -> String {
        self.wrap("31", text)
    }

    fn wrap(&self, code: &str, text: &str) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
