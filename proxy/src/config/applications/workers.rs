//! `[[application.worker]]` tables: what the origin is told on some paths.

use super::policies::check_paths;
use crate::config::mistake::{Mistake, Origin, quoted};
use crate::config::model::WorkerConfig;
use crate::config::sections::Section;

/// The workers of an application's table, in their order.
pub(super) fn workers(section: &Section, mistakes: &mut Vec<Mistake>) -> Vec<WorkerConfig> {
    let tables = section.workers.iter();
    tables.map(|table| worker(table, mistakes)).collect()
}

fn worker(table: &Section, mistakes: &mut Vec<Mistake>) -> WorkerConfig {
    mistakes.extend(table.found.mistakes.iter().cloned());
    let paths = table.own("path").to_vec();
    if paths.is_empty() && !table.found.refused.contains("path") {
        let message = "this worker has no path";
        let allowed = "path = \"/api/**\", or a list; \"/**\" for all paths";
        mistakes.push(Mistake::new(table.origin.clone(), message, allowed));
    }
    check_paths(&paths, mistakes);
    let adds = match table.own("mode").first() {
        None => false,
        Some((mode, _)) if mode == "replace" => false,
        Some((mode, _)) if mode == "add" => true,
        Some((mode, origin)) => {
            let message = format!("{} is not allowed", quoted(mode));
            mistakes.push(Mistake::new(origin.clone(), message, "replace, add"));
            false
        }
    };
    let presets = settings(table, "preset");
    let mut headers = Vec::new();
    for (text, origin) in settings(table, "header") {
        match text.split_once('=') {
            Some((name, template)) => {
                headers.push(((name.to_owned(), origin), template.to_owned()));
            }
            None => {
                let allowed = "header = { X-Name = \"{certSubjectCN}\" }";
                mistakes.push(Mistake::new(origin, "is not a name and a value", allowed));
            }
        }
    }
    if adds && presets.is_empty() && headers.is_empty() && table.found.refused.is_empty() {
        let message = "this worker adds nothing";
        let allowed = "a preset or a header";
        mistakes.push(Mistake::new(table.origin.clone(), message, allowed));
    }
    WorkerConfig {
        origin: table.origin.clone(),
        paths,
        adds,
        presets,
        headers,
    }
}

/// The values of a setting, each with its place.
fn settings(table: &Section, key: &str) -> Vec<(String, Origin)> {
    let prefix = format!("--{key}=");
    let values = table.found.values.iter();
    values
        .filter(|value| value.key == key)
        .filter_map(|value| {
            let text = value.argument.to_str()?.strip_prefix(&prefix)?;
            Some((text.to_owned(), value.origin.clone()))
        })
        .collect()
}
