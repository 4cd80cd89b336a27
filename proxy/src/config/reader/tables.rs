//! The `[[trust]]` and `[[application]]` tables of a file.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{LIST_MAX, Reader, suggestion};
use crate::config::found::Found;
use crate::config::mistake::Mistake;
use crate::config::sections::{Section, is_applications};

/// Keys of a `[[trust]]` table; no other is known there.
const TRUST: &[&str] = &["name", "ca", "crl", "crl_mode", "revoked"];
/// Keys of an `[[application]]` table beside the settings.
const APPLICATION: &[&str] = &[
    "name",
    "hostnames",
    "trust",
    "policy_mode",
    "policy",
    "worker",
];
/// Keys of an `[[application.policy]]` table; no other is known there.
const POLICY: &[&str] = &[
    "name", "action", "path", "method", "include", "require", "exclude",
];

/// Keys of an `[[application.worker]]` table beside [`WORKER_SETTINGS`]; no other is known there.
const WORKER: &[&str] = &["path", "mode", "preset", "header"];
/// Those of them that are read as the settings of the same name.
const WORKER_SETTINGS: &[&str] = &["preset", "header"];

impl Reader<'_> {
    /// An array of tables, as `[[key]]` makes it.
    pub(super) fn sections(
        &self,
        key: &Spanned<Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
        found: &mut Found,
        sections: &mut Vec<Section>,
    ) {
        let name = key.get_ref().as_ref();
        let own = match name {
            "trust" => TRUST,
            "policy" => POLICY,
            "worker" => WORKER,
            _ => APPLICATION,
        };
        let tables = match value.get_ref() {
            DeValue::Array(tables) if tables.len() <= SECTIONS_MAX => tables,
            _ => {
                let message = "is no list of tables, or one that is too long";
                let allowed = format!("[[{name}]], at most {SECTIONS_MAX}");
                let place = self.origin(&key.span(), name);
                found.refuse(name, Mistake::new(place, message, allowed));
                return;
            }
        };
        for table in tables {
            let origin = self.origin(&table.span(), name);
            match table.get_ref() {
                DeValue::Table(keys) => {
                    let mut section = Section::at(origin);
                    self.section(keys, own, &mut section);
                    sections.push(section);
                }
                other => {
                    let message = format!("is no table ({})", other.type_str());
                    found.refuse(name, Mistake::new(origin, message, format!("[[{name}]]")));
                }
            }
        }
    }

    fn section(&self, keys: &DeTable<'_>, own: &[&str], section: &mut Section) {
        for (key, value) in keys {
            let name = key.get_ref().as_ref();
            let Section {
                found,
                policies,
                workers,
                ..
            } = &mut *section;
            if own == APPLICATION && name == "policy" {
                self.sections(key, value, found, policies);
            } else if own == APPLICATION && name == "worker" {
                self.sections(key, value, found, workers);
            } else if own == WORKER && WORKER_SETTINGS.contains(&name) {
                self.setting(key, value, found);
            } else if own.contains(&name) {
                self.texts(name, value, section);
            } else if own == APPLICATION && is_applications(name) {
                self.setting(key, value, &mut section.found);
            } else {
                let settings = self.settings.get_arguments();
                let is_setting = settings.into_iter().any(|setting| setting.get_id() == name);
                let (message, allowed) = match is_setting && own == APPLICATION {
                    true => (
                        "is a setting of the process, not of one application",
                        "at the top of the file".to_owned(),
                    ),
                    false if own != APPLICATION => ("is not a known key", own.join(", ")),
                    false => match suggestion(self.settings, name) {
                        (Some(_), near) => ("is not a known key", near),
                        (None, keys) => {
                            ("is not a known key", format!("{}, {keys}", own.join(", ")))
                        }
                    },
                };
                let place = self.origin(&key.span(), name);
                let mistake = Mistake::new(place, message, allowed);
                section.found.refuse(name, mistake);
            }
        }
    }

    /// A text or a list of texts.
    fn texts(&self, name: &str, value: &Spanned<DeValue<'_>>, section: &mut Section) {
        let values: Vec<_> = match value.get_ref() {
            DeValue::Array(values) if values.len() <= LIST_MAX => values.iter().collect(),
            _ => vec![value],
        };
        for value in values {
            let place = self.origin(&value.span(), name);
            match value.get_ref() {
                DeValue::String(text) => {
                    let texts = section.own.entry(name.to_owned()).or_default();
                    texts.push((text.clone().into_owned(), place));
                }
                other => {
                    let message = format!("has a value of the wrong kind ({})", other.type_str());
                    let allowed = "a string, or an array of strings";
                    section
                        .found
                        .refuse(name, Mistake::new(place, message, allowed));
                }
            }
        }
    }
}

/// Most tables of one kind.
const SECTIONS_MAX: usize = 100_000;
