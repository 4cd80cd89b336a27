//! From what flags and file say of one application to its configuration.

use clap::error::{ContextKind, ContextValue};
use clap::{Command, FromArgMatches};

use super::flags::Flags;
use super::found::{Found, explain};
use super::mistake::{Mistake, Mistakes, Origin};
use super::model::{Config, Origins};

/// The configuration that `found` says. `section` is the table of an application among several,
/// and whether it names trust stores.
pub(super) fn configure(
    found: Found,
    settings: &Command,
    section: Option<(&Origin, bool)>,
) -> Result<Config, Vec<Mistake>> {
    let mut origins = Origins::refused(found.refused);
    let mut arguments = Vec::with_capacity(found.values.len());
    for value in found.values {
        origins.add(&value.key, value.origin);
        arguments.push(value.argument);
    }
    let listed = |Mistakes(mistakes)| mistakes;
    let mut command = settings.clone();
    let matches = command
        .try_get_matches_from_mut(arguments)
        .map_err(|error| listed(usage(error)))?;
    let flags = Flags::from_arg_matches(&matches).map_err(|error| listed(usage(error)))?;
    let values = settings.get_arguments().map(|setting| {
        let key = setting.get_id().as_str();
        let raw = matches.get_raw(key).into_iter().flatten();
        (
            key.to_owned(),
            raw.map(|value| value.to_string_lossy().into_owned())
                .collect(),
        )
    });
    let values = values.collect();
    Config::validate(flags, origins, found.mistakes, section)
        .map(|config| Config { values, ..config })
        .map_err(listed)
}

/// What clap itself found wrong.
pub(super) fn usage(error: clap::Error) -> Mistakes {
    let (message, allowed) = explain(&error);
    let flag = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(flag)) => flag.clone(),
        _ => "command line".into(),
    };
    Mistakes(vec![Mistake::new(Origin::Flag(flag), message, allowed)])
}
