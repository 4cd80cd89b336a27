//! The demonstration's result, as a table for a person.

use std::io::{self, IsTerminal, Write};

use super::rows::Outcome;

const COLUMNS: [&str; 7] = [
    "",
    "CALLER",
    "HTTP",
    "STATUS",
    "X-CERT-PRESENTED",
    "X-CERT-VERIFY",
    "X-CERT-SUBJECT-DN",
];

type Cells = [String; COLUMNS.len()];

/// Writes the table, a section a Herald, and what was wrong if anything was.
pub(super) fn write(out: &mut impl Write, outcomes: &[Outcome]) -> io::Result<()> {
    let header = COLUMNS.map(str::to_owned);
    let rows: Vec<(&Outcome, Cells)> = outcomes.iter().map(|o| (o, cells(o))).collect();
    let mut widths = header.clone().map(|cell| cell.chars().count());
    for (_, row) in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let paint = Paint {
        on: io::stdout().is_terminal(),
    };
    for section in rows.chunk_by(|(a, _), (b, _)| a.row.required == b.row.required) {
        let strict = section.iter().any(|(outcome, _)| outcome.row.required);
        let mode = if strict { "required" } else { "forward-failed" };
        let title = format!("What the origin saw behind `--client-auth {mode}`");
        writeln!(out, "{}", paint.bold(&title))?;
        writeln!(out, "{}", paint.dim(&line(&header, &widths)))?;
        for (outcome, row) in section {
            let line = line(row, &widths);
            let painted = if outcome.is_right() {
                line
            } else {
                paint.red(&line)
            };
            writeln!(out, "{painted}")?;
        }
        writeln!(out)?;
    }
    let mut right = outcomes.len();
    for outcome in outcomes {
        if let Some(fault) = &outcome.wrong {
            right -= 1;
            let fault = format!("WRONG  {}: {fault}", outcome.row.who);
            writeln!(out, "{}", paint.red(&fault))?;
        }
    }
    let sum = format!("{right} of {} rows are right.", outcomes.len());
    writeln!(out, "{}", paint.bold(&sum))
}

fn cells(outcome: &Outcome) -> Cells {
    let mark = if outcome.is_right() { "✓" } else { "✗" };
    let status = match &outcome.answer {
        Ok(answer) => answer.status.to_string(),
        Err(_) => "-".into(),
    };
    let value = |name| match &outcome.answer {
        Err(_) => "-".to_owned(),
        Ok(answer) if answer.seen.is_none() => "(not reached)".to_owned(),
        Ok(answer) => match answer.values(name).collect::<Vec<_>>() {
            values if values.is_empty() => "(absent)".to_owned(),
            values => values.join(" | "),
        },
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

fn line(cells: &Cells, widths: &[usize; COLUMNS.len()]) -> String {
    let padded = cells
        .iter()
        .zip(widths)
        .map(|(cell, width)| format!("  {cell:width$}"));
    padded.collect::<String>().trim_end().to_owned()
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
        if self.on {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}
