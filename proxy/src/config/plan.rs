//! `herald check`: every setting with its value and where it came from.

use super::file::definition;
use super::model::Config;

impl Config {
    /// A line a setting: key, value, origin, in the order of the help.
    pub fn plan(&self) -> String {
        let shown: Vec<(String, String, String)> = definition()
            .get_arguments()
            .map(|argument| argument.get_id().to_string())
            .filter(|key| key != "config")
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
            .collect();
        let width = |column: fn(&(String, String, String)) -> &str| {
            shown
                .iter()
                .map(|row| column(row).chars().count())
                .max()
                .unwrap_or(0)
        };
        let (keys, values) = (width(|row| &row.0), width(|row| &row.1));
        let mut text = String::new();
        for (key, value, origin) in &shown {
            text.push_str(&format!("  {key:keys$}  {value:values$}  ({origin})\n"));
        }
        text
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

/// A header of fixed text may be a secret that Herald and the origin share.
fn shown_header(header: &str) -> String {
    match header.split_once('=') {
        Some((name, value)) if !value.contains('{') => {
            format!("{name}=(fixed text, {} bytes)", value.len())
        }
        _ => header.escape_debug().to_string(),
    }
}
