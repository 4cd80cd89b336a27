//! `herald check`: every setting with its value and where it came from.

use super::file::definition;
use super::model::{Config, Placed};
use super::sections::is_applications;

type Row = (String, String, String);

impl Config {
    /// A line a setting: key, value, origin, in the order of the help; several applications follow
    /// the process, each with what it can set for itself.
    pub fn plan(&self) -> String {
        if self.applications.is_empty() {
            return table(&self.rows(|_| true));
        }
        let mut text = table(&self.rows(|key| !is_applications(key)));
        for application in self.applications.iter().take(SHOWN_MAX) {
            let hosts: Vec<_> = application.hosts.iter().map(ToString::to_string).collect();
            let stores = application.trusts.iter();
            let stores: Vec<_> = stores
                .filter_map(|at| self.trusts.get(*at).map(|trust| trust.name.as_str()))
                .collect();
            text.push_str(&format!("\n  application {}\n", application.name));
            text.push_str(&format!("  hostnames   {}\n", hosts.join(", ")));
            if !stores.is_empty() {
                text.push_str(&format!("  trust       {}\n", stores.join(", ")));
            }
            for policy in &application.policies {
                let (name, paths) = (&policy.name, listed(&policy.paths));
                let action = policy.action.word();
                text.push_str(&format!("  policy      {action} {name}{paths}\n"));
            }
            for worker in &application.workers {
                let (mode, paths) = (
                    if worker.adds { "add" } else { "replace" },
                    listed(&worker.paths),
                );
                let names = worker
                    .presets
                    .iter()
                    .chain(worker.headers.iter().map(|(name, _)| name));
                let names: Vec<_> = names.map(|(name, _)| name.as_str()).collect();
                let names = names.join(", ");
                text.push_str(&format!("  worker      {mode} {names}{paths}\n"));
            }
            text.push_str(&table(&application.settings.rows(is_applications)));
        }
        if let more @ 1.. = self.applications.len().saturating_sub(SHOWN_MAX) {
            text.push_str(&format!("\n  and {more} more applications\n"));
        }
        text
    }

    fn rows(&self, wanted: impl Fn(&str) -> bool) -> Vec<Row> {
        definition()
            .get_arguments()
            .map(|argument| argument.get_id().to_string())
            .filter(|key| key != "config" && wanted(key))
            .flat_map(|key| {
                let values = self.shown(&key);
                let rows = values.into_iter().enumerate().map(|(index, value)| {
                    let origin = self.origin(&key, index).to_string();
                    (
                        if index == 0 {
                            key.clone()
                        } else {
                            String::new()
                        },
                        value,
                        origin,
                    )
                });
                rows.collect::<Vec<_>>()
            })
            .collect()
    }

    /// The values in force of a key, as they would be written.
    fn shown(&self, key: &str) -> Vec<String> {
        let given = self.values.get(key).cloned().unwrap_or_default();
        match given.is_empty() {
            true => vec!["-".into()],
            false if key == "header" => given.iter().map(|header| shown_header(header)).collect(),
            false => given
                .iter()
                .map(|text| text.escape_debug().to_string())
                .collect(),
        }
    }
}

/// Paths, if there are any.
fn listed(paths: &[Placed]) -> String {
    let paths: Vec<_> = paths.iter().map(|(path, _)| path.as_str()).collect();
    match paths.is_empty() {
        true => String::new(),
        false => format!(" on {}", paths.join(", ")),
    }
}

fn table(rows: &[Row]) -> String {
    let width = |column: fn(&Row) -> &str| {
        let widths = rows.iter().map(|row| column(row).chars().count());
        widths.max().unwrap_or(0)
    };
    let (keys, values) = (width(|row| &row.0), width(|row| &row.1));
    let mut text = String::new();
    for (key, value, origin) in rows {
        text.push_str(&format!("  {key:keys$}  {value:values$}  ({origin})\n"));
    }
    text
}

/// A header of fixed text may be a secret that Herald and the origin share.
fn shown_header(header: &str) -> String {
    match header.split_once('=') {
        Some((name, value)) if !value.contains('{') => {
            format!("{name}=(fixed text, {} bytes)", value.len())
        }
        _ => header.escape_debug().to_string(),
    }
}

/// Applications shown one by one; the rest is counted.
const SHOWN_MAX: usize = 50;
