//! What libFuzzer said of one run.

use std::fmt;

/// The columns of an [`Outcome`].
pub(super) const HEADING: &str = "target               runs   runs/s  coverage  corpus  outcome";

/// One target's run.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) target: String,
    succeeded: bool,
    log: String,
}

impl Outcome {
    /// `log` is what libFuzzer wrote on standard error.
    pub(super) fn new(target: &str, succeeded: bool, log: String) -> Self {
        Self {
            target: target.to_owned(),
            succeeded,
            log,
        }
    }

    pub(super) fn log(&self) -> &str {
        &self.log
    }

    /// Why the run does not count as good.
    pub(super) fn failure(&self) -> Option<String> {
        if !self.succeeded {
            let cause = ["panicked at", "ERROR:", "expect"]
                .iter()
                .find_map(|word| self.log.find(word));
            let lines = self
                .log
                .get(cause.unwrap_or(0)..)
                .unwrap_or_default()
                .lines();
            let shown: Vec<_> = lines.take(CAUSE_LINES).collect();
            let input = self
                .log
                .lines()
                .rfind(|line| line.contains("Test unit written"));
            return Some(format!(
                "{}:\n{}\n{}",
                self.target,
                shown.join("\n"),
                input.unwrap_or_default()
            ));
        }
        if self.runs() < RUNS_MIN || self.coverage() == 0 {
            return Some(format!(
                "{}: {} runs that reached {} edges are no fuzzing",
                self.target,
                self.runs(),
                self.coverage()
            ));
        }
        None
    }

    fn runs(&self) -> u64 {
        self.after("stat::number_of_executed_units:")
    }

    fn coverage(&self) -> u64 {
        self.after(" cov: ")
    }

    /// The number behind the last occurrence of `label`, or 0.
    fn after(&self, label: &str) -> u64 {
        let found = self.log.rfind(label).map(|at| at + label.len());
        let rest = found.and_then(|at| self.log.get(at..)).unwrap_or_default();
        let digits: String = rest
            .trim_start()
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        digits.parse().unwrap_or(0)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<16} {:>8} {:>8} {:>9} {:>7}  {}",
            self.target,
            self.runs(),
            self.after("stat::average_exec_per_sec:"),
            self.coverage(),
            self.after(" corp: "),
            if self.failure().is_none() {
                "sound"
            } else {
                "FAILED"
            }
        )
    }
}

/// A target that does less in its seconds was not fuzzed but stuck.
const RUNS_MIN: u64 = 500;
/// Lines of a failure shown; the log has the rest.
const CAUSE_LINES: usize = 4;

#[cfg(test)]
mod tests {
    use super::Outcome;

    const DONE: &str = "#5 NEW cov: 3 ft: 4 corp: 2/9b\n#900 DONE   cov: 77 ft: 99 corp: 12/3Kb\n\
                        stat::number_of_executed_units: 900\nstat::average_exec_per_sec:     90\n";

    #[test]
    fn figures_are_those_of_the_end() {
        let outcome = Outcome::new("t", true, DONE.to_owned());
        assert_eq!((outcome.runs(), outcome.coverage()), (900, 77));
        assert_eq!(outcome.failure(), None);
        assert!(outcome.to_string().contains(" 12  sound"));
    }

    #[test]
    fn a_crash_and_a_run_without_coverage_are_failures() {
        let log = "thread 'main' panicked at src/a.rs:1:1:\nodd\nTest unit written to /x\n";
        let failure = Outcome::new("t", false, log.to_owned()).failure().unwrap();
        assert!(failure.contains("odd") && failure.contains("written to /x"));
        let blind = DONE.replace("cov: ", "co: ");
        assert!(Outcome::new("t", true, blind).failure().is_some());
        let stuck = DONE.replace("units: 900", "units: 9");
        assert!(Outcome::new("t", true, stuck).failure().is_some());
    }
}
