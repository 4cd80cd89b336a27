//! `layers.toml`: who may import whom, and which files may be `unsafe`.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Finding;
use super::imports::Modules;
use crate::command::Failure;

/// The layer table, lowest row first.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    pub(super) package: Package,
    row: Vec<Row>,
    #[serde(rename = "unsafe", default)]
    fences: Vec<Fence>,
}

/// The crate that the table is about.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Package {
    /// Folder and name of the package.
    #[serde(rename = "folder")]
    pub(super) package: String,
    /// Name that its binaries import it by.
    pub(super) library: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    chains: Vec<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fence {
    path: PathBuf,
    reason: String,
}

/// A module's place: row, chain of the row, position in the chain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Place {
    row: usize,
    chain: usize,
    position: usize,
}

impl Table {
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(path)
            .map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
        Self::parse(&text).map_err(|error| Failure::new(format!("{}: {error}", path.display())))
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let table: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        match table
            .fences
            .iter()
            .find(|fence| fence.reason.trim().is_empty())
        {
            Some(fence) => Err(format!("unsafe in {} has no reason", fence.path.display())),
            None => Ok(table),
        }
    }

    /// True when `path` is a fenced file, or lies in a fenced folder (`sys` is `sys.rs` and `sys/`).
    pub(super) fn allows_unsafe(&self, path: &Path) -> bool {
        let stem = path.with_extension("");
        self.fences
            .iter()
            .any(|fence| stem.starts_with(&fence.path) || path == fence.path)
    }

    /// The place of the longest listed path that `module` is or lies below.
    fn place(&self, module: &str) -> Option<Place> {
        let mut found = None;
        let mut longest = 0;
        for (row, entry) in self.row.iter().enumerate() {
            for (chain, modules) in entry.chains.iter().enumerate() {
                for (position, listed) in modules.iter().enumerate() {
                    if is_within(module, listed) && listed.len() > longest {
                        longest = listed.len();
                        found = Some(Place {
                            row,
                            chain,
                            position,
                        });
                    }
                }
            }
        }
        found
    }

    fn row_name(&self, place: Place) -> &str {
        self.row.get(place.row).map_or("?", |row| &row.name)
    }
}

pub(super) fn check(modules: &Modules, table: &Table, findings: &mut Vec<Finding>) {
    for (module, path) in &modules.files {
        if !module.is_empty() && table.place(module).is_none() {
            let message = format!(
                "module `{module}` has no place in xtask/layers.toml: decide which layer it belongs to, and add it there"
            );
            findings.push(Finding::new(path, 1, message));
        }
    }
    for edge in &modules.edges {
        // The crate's root only lists modules; it may name them all.
        if edge.from.is_empty() {
            continue;
        }
        let (Some(from), Some(to)) = (table.place(&edge.from), table.place(&edge.to)) else {
            continue;
        };
        if let Some(why) = refuse(table, from, to) {
            let message = format!(
                "`{}` imports `{}`, {why}: hand the value down, or move what both need to a lower module",
                edge.from, edge.to
            );
            findings.push(Finding::new(&modules.path(&edge.from), edge.line, message));
        }
    }
}

fn refuse(table: &Table, from: Place, to: Place) -> Option<String> {
    if to.row < from.row || to == from {
        return None;
    }
    if to.row > from.row {
        let (low, high) = (table.row_name(from), table.row_name(to));
        return Some(format!("upward from layer `{low}` to layer `{high}`"));
    }
    if to.chain != from.chain {
        return Some(format!("beside it in layer `{}`", table.row_name(from)));
    }
    (to.position > from.position)
        .then(|| format!("which comes later in layer `{}`", table.row_name(from)))
}

/// True when `module` is `ancestor` or lies below it.
pub(super) fn is_within(module: &str, ancestor: &str) -> bool {
    module
        .strip_prefix(ancestor)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

impl Modules {
    pub(super) fn path(&self, module: &str) -> PathBuf {
        self.files.get(module).cloned().unwrap_or_default()
    }
}
