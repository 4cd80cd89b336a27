//! Two runs side by side.

use super::record::Record;
use super::table::number;
use crate::command::Failure;

/// Prints each row that both runs have; a change within the spread of either run is marked as none.
pub(super) fn print(before: &Record, after: &Record) -> Result<(), Failure> {
    println!("before: {} ({})", before.started, before.processor);
    println!("after:  {} ({})\n", after.started, after.processor);
    if before.processor != after.processor || before.kernel != after.kernel {
        println!("! another machine or kernel: figures are not comparable, their ratios may be\n");
    }
    println!("| scenario | peer | unit | before | after | after/before | |");
    println!("|---|---|---|---|---|---|---|");
    let mut compared = 0;
    for new in &after.rows {
        let Some(old) = before.row(&new.scenario, &new.peer) else {
            continue;
        };
        compared += 1;
        let ratio = new.median() / old.median();
        let apart = new.least() > old.most() || new.most() < old.least();
        let word = match (
            apart && (ratio - 1.0).abs() > NOISE,
            (ratio < 1.0) != new.more_is_better,
        ) {
            (false, _) => "",
            (true, true) => "better",
            (true, false) => "WORSE",
        };
        println!(
            "| {} | {} | {} | {} | {} | {ratio:.2} | {word} |",
            new.title,
            new.peer,
            new.unit,
            number(old.median()),
            number(new.median())
        );
    }
    if compared == 0 {
        return Err(Failure::new("the two runs have no row in common"));
    }
    Ok(())
}

/// Differences below this mean nothing with a few rounds, even where ranges don't meet.
const NOISE: f64 = 0.05;
