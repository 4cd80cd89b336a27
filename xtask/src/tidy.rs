//! `cargo xtask tidy`: the rules of CONTRIBUTING.md that neither rustc nor clippy can check.
//!
//! Reads every file that git tracks or would track, and refuses module cycles and imports against
//! `layers.toml`, files and functions that outgrew a screen, `unsafe` outside its fences, left-over
//! markers, dead links, and words that have no place in a published tree. Every finding says what to do.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::command::Failure;

mod graph;
mod imports;
mod layers;
mod links;
mod markers;
mod sizes;
mod source;
mod words;

/// One broken rule at one place.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Finding {
    path: PathBuf,
    line: usize,
    message: String,
}

impl Finding {
    fn new(path: &Path, line: usize, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            message: message.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.message)
    }
}

/// Checks the whole tree below `root`; prints each finding and fails if there is any.
pub(crate) fn run(root: &Path) -> Result<(), Failure> {
    let started = Instant::now();
    let tree = source::Tree::read(root)?;
    let table = layers::Table::read(&root.join("xtask/layers.toml"))?;
    let findings = check(&tree, &table);
    for finding in &findings {
        println!("{finding}");
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "tidy: {} files, {} of them Rust, {} findings, {seconds:.1} s",
        tree.texts.len(),
        tree.sources.len(),
        findings.len()
    );
    if findings.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(format!(
            "tidy found {} things to put right",
            findings.len()
        )))
    }
}

fn check(tree: &source::Tree, table: &layers::Table) -> Vec<Finding> {
    let mut findings = tree.unreadable.clone();
    words::check(tree, &mut findings);
    links::check(tree, &mut findings);
    markers::check(tree, table, &mut findings);
    sizes::check(tree, &mut findings);
    let modules = imports::Modules::of_crate(tree, &table.package);
    findings.extend(modules.findings.iter().cloned());
    layers::check(&modules, table, &mut findings);
    graph::check(&modules, &mut findings);
    findings.sort();
    findings.dedup();
    findings
}

#[cfg(test)]
mod tests;
