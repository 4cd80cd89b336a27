//! A table of cases that all run, with every failing row shown, instead of a loop that stops at the first.

/// Collects the failures of a table's rows.
#[derive(Debug)]
pub struct Table {
    title: &'static str,
    rows: usize,
    failures: Vec<String>,
}

impl Table {
    /// An empty table.
    pub fn new(title: &'static str) -> Self {
        Self {
            title,
            rows: 0,
            failures: Vec::new(),
        }
    }

    /// Notes the result of one row.
    pub fn row(&mut self, name: &str, result: Result<(), String>) {
        self.rows += 1;
        if let Err(why) = result {
            self.failures.push(format!("  {name}: {why}"));
        }
    }

    /// Panics with all failing rows, or when the table was empty: a table that ran nothing shows nothing.
    pub fn finish(self) {
        assert!(self.rows > 0, "{}: no row ran", self.title);
        assert!(
            self.failures.is_empty(),
            "{}: {} of {} rows failed\n{}",
            self.title,
            self.failures.len(),
            self.rows,
            self.failures.join("\n")
        );
    }
}

/// `Ok` when `holds`, else the explanation: for rows.
pub fn check(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}
