//! Reads a TOML file against the definition of the flags: each value goes through the very parser
//! that its flag has. All mistakes are found, each with line and column.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Args, Command, FromArgMatches};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::flags::Flags;
use super::mistake::{Mistake, Mistakes, Origin};
use super::model::{Config, Origins};

impl Config {
    /// The configuration of `given` flags (matches of a command with [`Flags`]) and of the file
    /// they name. A flag overrides the file; a repeatable flag replaces the file's whole list.
    pub fn load(given: &ArgMatches) -> Result<Self, Mistakes> {
        let mut origins = Origins::default();
        let mut arguments = Vec::new();
        let mut mistakes = Vec::new();
        for argument in definition().get_arguments() {
            let key = argument.get_id().as_str();
            if given.value_source(key) != Some(ValueSource::CommandLine) {
                continue;
            }
            let flag = flag(key);
            for raw in given.get_raw(key).into_iter().flatten() {
                origins.add(key, Origin::Flag(flag.clone()));
                arguments.push(flag_argument(&flag, argument, raw));
            }
        }
        if let Some(path) = given.get_one::<PathBuf>("config") {
            let given = origins.clone();
            for entry in read(path, &mut mistakes)? {
                // A value is checked even where a flag overrides it: a file is right or it is not.
                match entry.find_mistake() {
                    Some(mistake) => mistakes.push(mistake),
                    None if given.has(&entry.key) => continue,
                    None => arguments.push(entry.argument.clone()),
                }
                origins.add(&entry.key, entry.origin);
            }
        }
        let matches = definition()
            .try_get_matches_from(arguments)
            .map_err(usage)?;
        let flags = Flags::from_arg_matches(&matches).map_err(usage)?;
        let settings = definition();
        let values = settings.get_arguments().map(|argument| {
            let key = argument.get_id().as_str();
            let raw = matches.get_raw(key).into_iter().flatten();
            (
                key.to_owned(),
                raw.map(|value| value.to_string_lossy().into_owned())
                    .collect(),
            )
        });
        Self::validate(flags, origins, mistakes).map(|config| Self {
            values: values.collect(),
            ..config
        })
    }

    /// The configuration of these flags alone, as a user would write them.
    pub fn from_flags(flags: impl IntoIterator<Item = String>) -> Result<Self, Mistakes> {
        Self::load(&definition().try_get_matches_from(flags).map_err(usage)?)
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

/// The flag of a key, with its dashes.
fn flag(key: &str) -> String {
    format!("--{}", key.replace('_', "-"))
}

fn flag_argument(flag: &str, argument: &clap::Arg, raw: &std::ffi::OsStr) -> std::ffi::OsString {
    let mut text = std::ffi::OsString::from(flag);
    if takes_value(argument) {
        text.push("=");
        text.push(raw);
    }
    text
}

fn takes_value(argument: &clap::Arg) -> bool {
    !matches!(argument.get_action(), ArgAction::SetTrue)
}

/// One value of one key.
#[derive(Debug)]
struct Entry {
    key: String,
    argument: std::ffi::OsString,
    origin: Origin,
}

impl Entry {
    /// Asks the flag's own parser.
    fn find_mistake(&self) -> Option<Mistake> {
        let error = definition().try_get_matches_from([&self.argument]).err()?;
        let (message, allowed) = explain(&error);
        Some(Mistake::new(self.origin.clone(), message, allowed))
    }
}

/// The entries of a file. Its own mistakes go to `mistakes`; a file that can't be read is one.
fn read(path: &Path, mistakes: &mut Vec<Mistake>) -> Result<Vec<Entry>, Mistakes> {
    let text = read_text(path).map_err(|message| {
        let origin = Origin::File {
            path: path.into(),
            line: 0,
            column: 0,
            key: String::new(),
        };
        Mistakes(vec![Mistake::new(
            origin,
            message,
            "a TOML file of at most 1 MiB, UTF-8",
        )])
    })?;
    let reader = Reader { path, text: &text };
    let (table, errors) = DeTable::parse_recoverable(&text);
    if !errors.is_empty() {
        let found = errors.iter().map(|error| {
            let origin = reader.origin(&error.span().unwrap_or_default(), "");
            Mistake::new(origin, error.message().replace('\n', "; "), "")
        });
        return Err(Mistakes(found.collect()));
    }
    let mut entries = Vec::new();
    for (key, value) in table.get_ref() {
        reader.entries(key, value, &mut entries, mistakes);
    }
    Ok(entries)
}

fn read_text(path: &Path) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("can't be read: {error}");
    let file = File::open(path).map_err(cannot)?;
    if !file.metadata().map_err(cannot)?.is_file() {
        return Err("is not a regular file".into());
    }
    let mut text = String::new();
    file.take(FILE_MAX + 1)
        .read_to_string(&mut text)
        .map_err(cannot)?;
    if text.len() as u64 > FILE_MAX {
        return Err("is larger than 1 MiB".into());
    }
    Ok(text)
}

const FILE_MAX: u64 = 1024 * 1024;

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Reader<'_> {
    fn origin(&self, span: &Range<usize>, key: &str) -> Origin {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Origin::File {
            path: self.path.into(),
            line: before.matches('\n').count() + 1,
            column: before
                .get(line_start..)
                .map_or(0, |line| line.chars().count())
                + 1,
            key: key.into(),
        }
    }

    fn entries(
        &self,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
        entries: &mut Vec<Entry>,
        mistakes: &mut Vec<Mistake>,
    ) {
        let name = key.get_ref().as_ref();
        let definition = definition();
        let known = definition
            .get_arguments()
            .find(|argument| argument.get_id() == name);
        let Some(argument) = known.filter(|_| name != "config") else {
            let allowed = suggestion(&definition, name);
            mistakes.push(Mistake::new(
                self.origin(&key.span(), name),
                "is not a known key",
                allowed,
            ));
            return;
        };
        let mut add = |value: &Spanned<DeValue<'_>>, prefix: &str| {
            let origin = self.origin(&value.span(), name);
            match scalar(value.get_ref(), argument) {
                Ok(Some(text)) => entries.push(Entry {
                    key: name.into(),
                    argument: flag_argument(
                        &flag(name),
                        argument,
                        format!("{prefix}{text}").as_ref(),
                    ),
                    origin,
                }),
                Ok(None) => {}
                Err(allowed) => {
                    let message = format!(
                        "has a value of the wrong kind ({})",
                        value.get_ref().type_str()
                    );
                    mistakes.push(Mistake::new(origin, message, allowed));
                }
            }
        };
        let repeatable = matches!(argument.get_action(), ArgAction::Append);
        match value.get_ref() {
            DeValue::Array(values) if repeatable => values.iter().for_each(|value| add(value, "")),
            DeValue::Table(table) if name == "header" => {
                for (header, value) in table {
                    add(value, &format!("{}=", header.get_ref()));
                }
            }
            _ => add(value, ""),
        }
    }
}

/// A value as its flag would be written, `None` for a switch that is off, or what is allowed.
fn scalar(value: &DeValue<'_>, argument: &clap::Arg) -> Result<Option<String>, &'static str> {
    match value {
        DeValue::Boolean(on) if !takes_value(argument) => Ok(on.then(String::new)),
        _ if !takes_value(argument) => Err("true or false"),
        DeValue::String(text) => Ok(Some(text.clone().into_owned())),
        DeValue::Integer(number) if number.radix() == 10 => Ok(Some(number.as_str().into())),
        DeValue::Float(number) => Ok(Some(number.as_str().into())),
        DeValue::Integer(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => {
            let repeatable = matches!(argument.get_action(), ArgAction::Append);
            Err(if repeatable {
                "a string, or an array of strings"
            } else {
                "a string or a decimal number"
            })
        }
    }
}

/// The nearest key if one is near, else all of them.
fn suggestion(definition: &Command, unknown: &str) -> String {
    let wanted = unknown.replace('-', "_").to_lowercase();
    let keys: Vec<&str> = definition
        .get_arguments()
        .map(|argument| argument.get_id().as_str())
        .filter(|key| *key != "config")
        .collect();
    let near = keys.iter().map(|key| (distance(key, &wanted), *key)).min();
    match near {
        Some((distance, key)) if distance <= 1 + wanted.len() / 4 => {
            format!("did you mean `{key}`?")
        }
        _ => keys.join(", "),
    }
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(DISTANCE_MAX).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

/// Longer keys than this are compared by their beginning.
const DISTANCE_MAX: usize = 64;

/// What clap found, as message and what is allowed.
fn explain(error: &clap::Error) -> (String, String) {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        _ => String::new(),
    };
    let value = text(ContextKind::InvalidValue);
    let reason = std::error::Error::source(error)
        .map(ToString::to_string)
        .unwrap_or_default();
    match error.kind() {
        ErrorKind::ArgumentConflict => ("is given more than once".into(), "one value".into()),
        ErrorKind::InvalidValue if value.is_empty() => {
            ("has no value".into(), text(ContextKind::ValidValue))
        }
        _ => {
            let allowed = text(ContextKind::ValidValue);
            (
                format!("`{value}` is not allowed"),
                if allowed.is_empty() { reason } else { allowed },
            )
        }
    }
}

fn usage(error: clap::Error) -> Mistakes {
    let (message, allowed) = explain(&error);
    let flag = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(flag)) => flag.clone(),
        _ => "command line".into(),
    };
    Mistakes(vec![Mistake::new(Origin::Flag(flag), message, allowed)])
}

#[cfg(test)]
pub(super) mod tests;
