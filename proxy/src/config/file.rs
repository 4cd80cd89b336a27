//! From flags, and the file they name, to a [`Config`]. All mistakes of both are found at once.

use std::path::PathBuf;

use clap::builder::OsStringValueParser;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command};

use super::compose::{configure, usage};
use super::flags::Flags;
use super::found::{Found, flag};
use super::mistake::{Mistakes, Origin};
use super::model::Config;
use super::reader;
use super::sections::Sections;
use crate::files::Files;

impl Config {
    /// The configuration of `given` flags (matches of a command with [`Flags`], best a [`lenient`]
    /// one) and of the file they name, read through `files`. A flag overrides the file; a repeatable flag replaces the
    /// file's whole list.
    ///
    /// # Errors
    /// Every mistake of flags and file. What is missing is told only if the file was read whole.
    pub fn load(given: &ArgMatches, files: &Files) -> Result<Self, Mistakes> {
        let settings = definition();
        let mut found = Found::default();
        for setting in settings.get_arguments() {
            let key = setting.get_id().as_str();
            if key != "config" && given.value_source(key) == Some(ValueSource::CommandLine) {
                for raw in given.get_raw(key).into_iter().flatten() {
                    found.take(setting, raw, Origin::Flag(flag(key)));
                }
            }
        }
        let mut sections = Sections::default();
        if let Some(path) = given.get_one::<PathBuf>("config") {
            let mut file = Found::default();
            let whole = reader::read((path, files), &settings, &mut file, &mut sections);
            found = found.over(file);
            if !whole {
                let tables = sections.trusts.into_iter().chain(sections.applications);
                found
                    .mistakes
                    .extend(tables.flat_map(|table| table.found.mistakes));
                return Err(Mistakes::in_order(found.mistakes));
            }
        }
        if sections.is_empty() {
            configure(found, &settings, None).map_err(Mistakes::in_order)
        } else {
            sections
                .configure(found, &settings)
                .map_err(Mistakes::in_order)
        }
    }

    /// The configuration of these flags alone, as a user would write them.
    pub fn from_flags(flags: impl IntoIterator<Item = String>) -> Result<Self, Mistakes> {
        let command = lenient(definition());
        let given = command.try_get_matches_from(flags).map_err(usage)?;
        Self::load(&given, &Files::default())
    }
}

/// The flags without a command around them.
pub fn definition() -> Command {
    Flags::augment_args(
        Command::new("settings")
            .no_binary_name(true)
            .disable_help_flag(true),
    )
}

/// `command` with its settings taking any text, so that [`Config::load`] judges the values and
/// tells all mistakes, where clap stops at the first.
pub fn lenient(command: Command) -> Command {
    let settings = definition();
    command.mut_args(|argument| {
        let key = argument.get_id();
        let is_setting = settings.get_arguments().any(|known| known.get_id() == key);
        if is_setting && key != "config" {
            argument.value_parser(OsStringValueParser::new())
        } else {
            argument
        }
    })
}

#[cfg(test)]
pub(super) mod tests;
