//! What happened, in a table, and the closing line that people and CI read.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Options;
use crate::command::Failure;

/// One suite's outcome.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) is_black_box: bool,
    pub(crate) passed: usize,
    /// Names of failed tests, or what else went wrong with the suite.
    pub(crate) failures: Vec<String>,
    /// `name: reason` of each test that said it cannot run here.
    pub(crate) skips: BTreeSet<String>,
    /// Tests that only run with `--long` or in a guest; not counted as skipped.
    pub(crate) not_run: BTreeSet<String>,
    pub(crate) took: Duration,
}

/// The outcomes of all suites so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

impl Row {
    pub(crate) fn new(name: &str, is_black_box: bool) -> Self {
        Self {
            name: name.to_owned(),
            is_black_box,
            ..Self::default()
        }
    }

    fn ran(&self) -> usize {
        self.passed + self.failures.len()
    }
}

impl Report {
    /// Takes a suite's outcome; one in which nothing was to run is left out of the table.
    pub(crate) fn add(&mut self, row: Row) {
        if row.ran() + row.skips.len() + row.not_run.len() > 0 {
            self.rows.push(row);
        }
    }

    pub(crate) fn print(&self, missing: &[String], took: Duration) {
        println!();
        println!(
            "{:<40} {:>7} {:>7} {:>7} {:>9}",
            "suite", "passed", "failed", "skipped", "seconds"
        );
        for row in &self.rows {
            let seconds = row.took.as_secs_f64();
            let (failed, skipped) = (row.failures.len(), row.skips.len());
            println!(
                "{:<40} {:>7} {failed:>7} {skipped:>7} {seconds:>9.1}",
                row.name, row.passed
            );
        }
        list("not installed here", missing.iter());
        list(
            "not run in this place",
            self.rows.iter().flat_map(|row| &row.not_run),
        );
        list("skipped", self.rows.iter().flat_map(|row| &row.skips));
        list("failed", self.rows.iter().flat_map(|row| &row.failures));
        println!();
        println!("all in {:.1} s", took.as_secs_f64());
        println!("{}", self.closing_line());
    }

    fn closing_line(&self) -> String {
        let (passed, failed, skipped) = self.totals();
        format!("{passed} passed, {failed} failed, {skipped} skipped")
    }

    fn totals(&self) -> (usize, usize, usize) {
        self.rows
            .iter()
            .fold((0, 0, 0), |(passed, failed, skipped), row| {
                (
                    passed + row.passed,
                    failed + row.failures.len(),
                    skipped + row.skips.len(),
                )
            })
    }

    /// Whether the run counts as good.
    pub(crate) fn verdict(&self, options: &Options) -> Result<(), Failure> {
        let (passed, failed, skipped) = self.totals();
        let black_box: usize = self
            .rows
            .iter()
            .filter(|row| row.is_black_box)
            .map(Row::ran)
            .sum();
        if failed > 0 {
            Err(Failure::new(format!(
                "{failed} failed; the whole output is under target/test-logs"
            )))
        } else if options.require_all && skipped > 0 {
            Err(Failure::new(format!(
                "{skipped} skipped, and --require-all allows none"
            )))
        } else if options.filter.is_none() && black_box == 0 {
            Err(Failure::new(
                "no black-box test ran, so nothing was shown about the binary",
            ))
        } else if passed == 0 {
            Err(Failure::new("no test ran: does the filter match any name?"))
        } else {
            Ok(())
        }
    }
}

fn list<'a>(title: &str, entries: impl Iterator<Item = &'a String>) {
    for (number, entry) in entries.enumerate() {
        if number == 0 {
            println!();
            println!("{title}:");
        }
        println!("  {entry}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(rows: impl IntoIterator<Item = Row>) -> Report {
        let mut report = Report::default();
        rows.into_iter().for_each(|row| report.add(row));
        report
    }

    fn good(is_black_box: bool) -> Row {
        Row {
            passed: 3,
            ..Row::new("suite", is_black_box)
        }
    }

    #[test]
    fn the_closing_line_adds_up_all_suites() {
        let failed = Row {
            failures: vec!["a".into(), "b".into()],
            ..good(true)
        };
        let skipped = Row {
            skips: BTreeSet::from(["c: no nginx".into()]),
            ..good(true)
        };
        let report = report([good(false), failed, skipped]);
        assert_eq!(report.closing_line(), "9 passed, 2 failed, 1 skipped");
        assert!(report.verdict(&Options::default()).is_err());
    }

    #[test]
    fn a_skip_fails_only_where_all_is_required() {
        let report = report([Row {
            skips: BTreeSet::from(["c: no nginx".into()]),
            ..good(true)
        }]);
        report.verdict(&Options::default()).unwrap();
        report
            .verdict(&Options {
                require_all: true,
                ..Options::default()
            })
            .unwrap_err();
    }

    #[test]
    fn without_a_black_box_test_nothing_is_shown() {
        report([good(false)])
            .verdict(&Options::default())
            .unwrap_err();
        report([good(false)])
            .verdict(&Options {
                filter: Some("x".into()),
                ..Options::default()
            })
            .unwrap();
        report([])
            .verdict(&Options {
                filter: Some("x".into()),
                ..Options::default()
            })
            .unwrap_err();
        report([good(true)]).verdict(&Options::default()).unwrap();
    }

    #[test]
    fn a_long_test_left_out_is_no_skip() {
        let report = report([Row {
            not_run: BTreeSet::from(["soak".into()]),
            ..good(true)
        }]);
        report
            .verdict(&Options {
                require_all: true,
                ..Options::default()
            })
            .unwrap();
        assert_eq!(report.closing_line(), "3 passed, 0 failed, 0 skipped");
    }
}
