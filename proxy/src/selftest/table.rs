//! The result, as a table for a person: a line an attack, summed over the applications, and each
//! attempt that was not withstood.

use std::io::{self, Write};

use super::attempt::{Attempt, Name, Row, Who};
use crate::trial::Question;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<(Row, Tally)>,
    faults: Vec<String>,
    more: usize,
}

#[derive(Debug, Default)]
struct Tally {
    withstood: usize,
    not: usize,
    skipped: Vec<&'static str>,
}

impl Table {
    /// Adds what came of an attempt on an application.
    pub(super) fn add(&mut self, application: &str, attempt: &Attempt, fault: Option<String>) {
        let tally = self.row(attempt.row);
        let Some(fault) = fault else {
            tally.withstood += 1;
            return;
        };
        tally.not += 1;
        if self.faults.len() >= FAULTS_MAX {
            self.more += 1;
            return;
        }
        self.faults.push(format!(
            "FAILED  {application}: {}: {}: {fault}",
            attempt.row.what,
            said(attempt)
        ));
    }

    /// Adds what could not be tried.
    pub(super) fn skip(&mut self, _application: &str, row: Row, why: &'static str) {
        let tally = self.row(row);
        if !tally.skipped.contains(&why) {
            tally.skipped.push(why);
        }
    }

    /// Whether every attempt was withstood.
    pub(super) fn is_right(&self) -> bool {
        self.rows.iter().all(|(_, tally)| tally.not == 0)
    }

    fn row(&mut self, row: Row) -> &mut Tally {
        let known = self.rows.iter().position(|(known, _)| *known == row);
        let index = known.unwrap_or_else(|| {
            self.rows.push((row, Tally::default()));
            self.rows.len() - 1
        });
        &mut self.rows[index].1
    }

    /// Writes it.
    pub(super) fn write(&self, out: &mut impl Write, applications: usize) -> io::Result<()> {
        let widest = self
            .rows
            .iter()
            .map(|(row, _)| row.what.chars().count())
            .max();
        let width = widest.unwrap_or_default();
        writeln!(out, "     ATTACK  {:width$}  WITHSTOOD  NOT", "")?;
        for (row, tally) in &self.rows {
            let mark = match (tally.not, tally.withstood) {
                (0, 0) => "-",
                (0, _) => "✓",
                _ => "✗",
            };
            let Row { section, what } = row;
            let Tally { withstood, not, .. } = tally;
            writeln!(
                out,
                "  {mark}  {section:6}  {what:width$}  {withstood:9}  {not:3}"
            )?;
            for why in &tally.skipped {
                writeln!(out, "             not tried: {why}")?;
            }
        }
        if !self.faults.is_empty() {
            writeln!(out)?;
        }
        for fault in &self.faults {
            writeln!(out, "{fault}")?;
        }
        if self.more > 0 {
            writeln!(out, "and {} more", self.more)?;
        }
        let withstood: usize = self.rows.iter().map(|(_, tally)| tally.withstood).sum();
        let not: usize = self.rows.iter().map(|(_, tally)| tally.not).sum();
        writeln!(
            out,
            "\n{withstood} of {} attempts on {applications} application(s) were withstood.",
            withstood + not
        )
    }
}

/// An attempt in a line.
fn said(attempt: &Attempt) -> String {
    let who = match attempt.who {
        Who::Nobody => "no certificate",
        Who::Good(_) => "a good certificate",
        Who::Expired(_) => "an expired certificate",
        Who::Hostile(_) => "a certificate with a hostile name",
        Who::SelfSigned => "a self-signed certificate",
        Who::OtherCa => "a certificate of another CA",
    };
    let name = match &attempt.name {
        Name::Sent(name) => name.as_str(),
        Name::Unknown => "an unknown server name",
        Name::Missing => "no server name",
    };
    let asked = match &attempt.question {
        Question::Http1(bytes) => {
            let cut = bytes.get(..SHOWN_MAX).unwrap_or(bytes);
            format!("HTTP/1.1 {}", cut.escape_ascii())
        }
        Question::Http2 { target, fields, .. } => {
            let names: Vec<_> = fields
                .iter()
                .take(3)
                .map(|(name, _)| name.as_str())
                .collect();
            format!("HTTP/2 {target} {}", names.join(" "))
        }
    };
    format!("{who}, {name}, {asked}")
}

/// Faults told one by one; the rest is counted.
const FAULTS_MAX: usize = 50;
/// Bytes of a question that are shown.
const SHOWN_MAX: usize = 160;
