//! The table of `cargo xtask bench ktls`, from the lines `COUNT level row instructions` that the
//! guest's test wrote, and what must be so in it.

use std::collections::BTreeMap;

use crate::command::Failure;

/// The test that counts.
pub(super) const TEST: &str = "instructions_for_each_level";

const LEVELS: [&str; 3] = ["off", "tx", "splice"];

/// A row of the table.
struct Row {
    /// What the test calls it.
    name: &'static str,
    label: &'static str,
    must: Must,
    /// How many MiB it is, where the cost of one is told too.
    mib: Option<u64>,
}

/// What splicing must cost beside userspace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Must {
    /// Less.
    Pay,
    /// No more, so that nothing is lost by having it on.
    NotCost,
    /// Only told: a rule in Herald keeps it rare.
    BeTold,
}

const ROWS: [Row; 10] = [
    row("1KiB", "1 KiB", Must::NotCost),
    row("64KiB", "64 KiB", Must::NotCost),
    row("128KiB", "128 KiB", Must::NotCost),
    row("1MiB", "1 MiB", Must::Pay),
    Row {
        mib: Some(64),
        ..row("64MiB", "64 MiB", Must::Pay)
    },
    row("128KiB-new", "a connection, 128 KiB", Must::NotCost),
    row("1MiB-new", "a connection, 1 MiB", Must::NotCost),
    row("mixed", "1 MiB and 32 times 1 KiB", Must::NotCost),
    row("1KiB-behind", "1 KiB, behind 1 MiB", Must::BeTold),
    row("64KiB-behind", "64 KiB, behind 1 MiB", Must::BeTold),
];

const fn row(name: &'static str, label: &'static str, must: Must) -> Row {
    Row {
        name,
        label,
        must,
        mib: None,
    }
}

/// A Markdown table; a level that the kernel does not have is a dash.
pub(super) fn table(kernel: &str, said: &[String]) -> Result<String, Failure> {
    let mut counted: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
    for line in said {
        let Some(rest) = line.strip_prefix("COUNT ") else {
            continue;
        };
        let words: Vec<_> = rest.split(' ').collect();
        let [level, name, count] = words[..] else {
            return Err(Failure::new(format!("not as expected: {line}")));
        };
        if let Ok(count) = count.parse() {
            counted.entry(name).or_default().insert(level, count);
        }
    }
    let mut text = format!(
        "{kernel}, instructions of the proxy\n\n\
         | body | of | userspace | tx | splice | splice / userspace |\n|---|---|---|---|---|---|\n"
    );
    let mut dear = Vec::new();
    for row in &ROWS {
        let Some(counts) = counted.get(row.name) else {
            return Err(Failure::new(format!("{kernel}: no count of {}", row.name)));
        };
        text.push_str(&line(row.label, "request", counts, 1));
        if let Some(parts) = row.mib {
            text.push_str(&line(row.label, "MiB", counts, parts));
        }
        if let (Some(splice), Some(off)) = (counts.get("splice"), counts.get("off"))
            && !row.must.is_met(*splice, *off)
        {
            dear.push(format!("splice costs too much for {}", row.label));
        }
    }
    text.push('\n');
    match dear.is_empty() {
        true => Ok(text),
        false => Err(Failure::new(format!("{text}{}", dear.join("; ")))),
    }
}

impl Must {
    fn is_met(self, splice: u64, off: u64) -> bool {
        match self {
            Self::Pay => splice < off,
            // The same small request was counted with 2.4 % between two runs.
            Self::NotCost => splice <= off + off * 3 / 100,
            Self::BeTold => true,
        }
    }
}

/// One line of the table: the counts of a request, divided into `parts`.
fn line(label: &str, of: &str, row: &BTreeMap<&str, u64>, parts: u64) -> String {
    let cell = |level: &&str| {
        let count = row.get(level).map(|count| thousands(count / parts));
        count.unwrap_or_else(|| "-".to_owned())
    };
    let cells: Vec<_> = LEVELS.iter().map(cell).collect();
    let ratio = match (row.get("splice"), row.get("off")) {
        (Some(splice), Some(off)) if *off > 0 => {
            let percent = (splice * 200 + off) / (off * 2);
            format!("{}.{:02}", percent / 100, percent % 100)
        }
        _ => "-".to_owned(),
    };
    format!("| {label} | {of} | {} | {ratio} |\n", cells.join(" | "))
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of all rows, where splicing costs `splice` in the row `name` and 100 elsewhere.
    fn said(name: &str, splice: u64) -> Vec<String> {
        let lines = ROWS.iter().flat_map(|row| {
            let splice = if row.name == name { splice } else { 99 };
            let counts = [("off", 100), ("splice", splice)];
            counts.map(|(level, count)| format!("COUNT {level} {} {count}", row.name))
        });
        lines.collect()
    }

    #[test]
    fn lines_become_rows_and_a_missing_level_a_dash() {
        let mut said = said("64MiB", 64);
        said.push("chatter".to_owned());
        said.push("COUNT off 64MiB 128000000".to_owned());
        said.push("COUNT splice 64MiB 64000000".to_owned());
        let text = table("kernel 7", &said).unwrap();
        for line in [
            "| 64 MiB | request | 128,000,000 | - | 64,000,000 | 0.50 |",
            "| 64 MiB | MiB | 2,000,000 | - | 1,000,000 | 0.50 |",
        ] {
            assert!(text.contains(line), "{text}");
        }
        said.retain(|line| !line.contains("mixed"));
        table("kernel 7", &said).unwrap_err();
    }

    #[test]
    fn a_splice_that_does_not_pay_is_a_failure_where_it_must() {
        table("kernel 7", &said("1KiB", 103)).unwrap();
        table("kernel 7", &said("1KiB-behind", 110)).unwrap();
        for (name, splice) in [("1KiB", 104), ("mixed", 104), ("1MiB", 100)] {
            let problem = table("kernel 7", &said(name, splice)).unwrap_err();
            assert!(problem.to_string().contains("splice costs"), "{problem}");
        }
    }
}
