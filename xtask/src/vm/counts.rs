//! The table of `cargo xtask bench ktls`, from the lines `COUNT level length instructions` that the
//! guest's test wrote.

use std::collections::BTreeMap;

use crate::command::Failure;

/// The test that counts.
pub(super) const TEST: &str = "instructions_for_each_level";

const LEVELS: [&str; 3] = ["off", "tx", "splice"];

/// A Markdown table; a level that the kernel does not have is a dash.
pub(super) fn table(kernel: &str, said: &[String]) -> Result<String, Failure> {
    let mut counted: BTreeMap<u64, BTreeMap<&str, u64>> = BTreeMap::new();
    for line in said {
        let Some(rest) = line.strip_prefix("COUNT ") else {
            continue;
        };
        let words: Vec<_> = rest.split(' ').collect();
        let [level, length, count] = words[..] else {
            return Err(Failure::new(format!("not as expected: {line}")));
        };
        if let (Ok(length), Ok(count)) = (length.parse(), count.parse()) {
            counted.entry(length).or_default().insert(level, count);
        }
    }
    if counted.is_empty() {
        return Err(Failure::new(format!("{kernel}: nothing was counted")));
    }
    let mut text = format!(
        "{kernel}, instructions of the proxy\n\n\
         | body | of | userspace | tx | splice | splice / userspace |\n|---|---|---|---|---|---|\n"
    );
    let mut dear = Vec::new();
    for (length, row) in &counted {
        text.push_str(&line(*length, "request", row, 1));
        if *length >= MIB {
            text.push_str(&line(*length, "MiB", row, length / MIB));
            if row.get("splice") >= row.get("off") && row.contains_key("splice") {
                dear.push(format!(
                    "splice costs more than userspace at {length} bytes"
                ));
            }
        }
    }
    text.push('\n');
    match dear.is_empty() {
        true => Ok(text),
        false => Err(Failure::new(format!("{text}{}", dear.join("; ")))),
    }
}

/// One line of the table: the counts of a request, divided into `parts`.
fn line(length: u64, of: &str, row: &BTreeMap<&str, u64>, parts: u64) -> String {
    let cell = |level: &&str| {
        let count = row.get(level).map(|count| thousands(count / parts));
        count.unwrap_or_else(|| "-".to_owned())
    };
    let cells: Vec<_> = LEVELS.iter().map(cell).collect();
    let ratio = match (row.get("splice"), row.get("off")) {
        (Some(splice), Some(off)) if *off > 0 => {
            let percent = splice * 100 / off;
            format!("{}.{:02}", percent / 100, percent % 100)
        }
        _ => "-".to_owned(),
    };
    let (number, unit) = match length {
        MIB.. => (length / MIB, "MiB"),
        _ => (length / 1024, "KiB"),
    };
    format!(
        "| {number} {unit} | {of} | {} | {ratio} |\n",
        cells.join(" | ")
    )
}

const MIB: u64 = 1 << 20;

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

    #[test]
    fn lines_become_rows_and_a_missing_level_a_dash() {
        let said = [
            "chatter",
            "COUNT off 1048576 4000000",
            "COUNT splice 1048576 1000000",
        ];
        let text = table("kernel 7", &said.map(str::to_owned)).unwrap();
        assert!(
            text.contains("| 1 MiB | request | 4,000,000 | - | 1,000,000 | 0.25 |"),
            "{text}"
        );
        table("kernel 7", &[]).unwrap_err();
    }

    #[test]
    fn a_splice_that_does_not_pay_is_a_failure_where_it_must() {
        let said = |length: u64| {
            let lines = [("off", 100), ("splice", 100)];
            lines.map(|(level, count)| format!("COUNT {level} {length} {count}"))
        };
        table("kernel 7", &said(1024)).unwrap();
        let problem = table("kernel 7", &said(1 << 26)).unwrap_err().to_string();
        assert!(problem.contains("at 67108864 bytes"), "{problem}");
    }
}
