//! `benches/baseline.toml`: what each row cost when it was last looked at, and why.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::command::Failure;

/// By processor, then by row.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(transparent)]
pub(super) struct Baseline {
    processors: BTreeMap<String, BTreeMap<String, Entry>>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    instructions: u64,
    /// Why it costs more than it did.
    why: String,
}

/// A count beside the baseline.
#[derive(Debug, PartialEq)]
pub(super) enum Standing {
    Unknown,
    Within { baseline: u64, percent: f64 },
    Risen { baseline: u64, percent: f64 },
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => {
                f.write_str("            -  no baseline for this processor: not judged")
            }
            Self::Within { baseline, percent } => write!(f, "{baseline:>13}  {percent:+.1} %"),
            Self::Risen { baseline, percent } => {
                write!(f, "{baseline:>13}  {percent:+.1} %  RISEN")
            }
        }
    }
}

impl Baseline {
    pub(super) fn read(file: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(file)
            .map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
        toml::from_str(&text).map_err(|error| Failure::new(format!("{}: {error}", file.display())))
    }

    pub(super) fn stand(&self, processor: &str, row: &str, instructions: u64) -> Standing {
        let Some(entry) = self
            .processors
            .get(processor)
            .and_then(|rows| rows.get(row))
        else {
            return Standing::Unknown;
        };
        let baseline = entry.instructions;
        #[expect(clippy::cast_precision_loss, reason = "a percentage to one digit")]
        let percent = (instructions as f64 / baseline as f64 - 1.0) * 100.0;
        if percent > RISE_MAX_PERCENT {
            Standing::Risen { baseline, percent }
        } else {
            Standing::Within { baseline, percent }
        }
    }

    /// Takes a count; the reason is replaced where it rose beyond what needs one.
    pub(super) fn put(&mut self, processor: &str, row: &str, instructions: u64, why: &str) {
        let needs_reason = !matches!(
            self.stand(processor, row, instructions),
            Standing::Within { .. }
        );
        let rows = self.processors.entry(processor.to_owned()).or_default();
        let entry = rows.entry(row.to_owned()).or_insert_with(|| Entry {
            instructions,
            why: String::new(),
        });
        entry.instructions = instructions;
        if needs_reason {
            why.clone_into(&mut entry.why);
        }
    }

    pub(super) fn write(&self, file: &Path) -> Result<(), Failure> {
        let mut text = HEAD.to_owned();
        for (processor, rows) in &self.processors {
            text.push_str(&format!("\n[{processor}]\n"));
            for (row, entry) in rows {
                let why = toml::Value::String(entry.why.clone());
                text.push_str(&format!(
                    "\"{row}\" = {{ instructions = {}, why = {why} }}\n",
                    entry.instructions
                ));
            }
        }
        fs::write(file, text).map_err(|error| Failure::new(format!("{}: {error}", file.display())))
    }
}

/// More than this above the baseline must be explained.
pub(super) const RISE_MAX_PERCENT: f64 = 3.0;

const HEAD: &str = "\
# Instructions of each row of `cargo xtask bench counts`, which fails on what rises by more than 3 %.
# A rise that is worth it is written here, with its reason:
#   cargo xtask bench counts --update --why TEXT
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rise_beyond_the_limit_needs_a_reason_and_gets_one() {
        let mut baseline = Baseline::default();
        assert_eq!(baseline.stand("p", "row", 1000), Standing::Unknown);
        baseline.put("p", "row", 1000, "first");
        assert!(matches!(
            baseline.stand("p", "row", 1029),
            Standing::Within { .. }
        ));
        assert!(matches!(
            baseline.stand("p", "row", 1031),
            Standing::Risen { .. }
        ));
        assert_eq!(baseline.stand("other", "row", 1031), Standing::Unknown);
        baseline.put("p", "row", 1010, "unneeded");
        baseline.put("p", "row", 2000, "a \"check\" more");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("baseline.toml");
        baseline.write(&file).unwrap();
        let read = Baseline::read(&file).unwrap();
        let entry = &read.processors["p"]["row"];
        assert_eq!(
            (entry.instructions, &*entry.why),
            (2000, "a \"check\" more")
        );
    }
}
