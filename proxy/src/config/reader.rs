//! Reads a TOML file against the definition of the flags. Takes a path, gives every value with its
//! line and column; refuses what is not a regular UTF-8 file of at most 16 MiB, broken syntax, keys
//! that are no flag and values of the wrong kind.

use std::any::TypeId;
use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command};
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::found::Found;
use super::mistake::{Mistake, Origin, SHOWN_MAX};
use super::sections::Sections;
use crate::files::{FileError, Files};

mod tables;

/// Reads `path` against `settings` into `found`. Returns whether the file was read whole: if not,
/// nothing can be said about what it leaves out.
pub(super) fn read(
    (path, files): (&Path, &Files),
    settings: &Command,
    found: &mut Found,
    sections: &mut Sections,
) -> bool {
    let bytes = match files.read(path, FILE_MAX).map_err(told) {
        Ok(bytes) => bytes,
        Err(message) => {
            let place = Origin::File {
                path: path.into(),
                line: 0,
                column: 0,
                key: String::new(),
            };
            found.mistakes.push(Mistake::new(place, message, FILE));
            return false;
        }
    };
    let (text, is_utf8) = match std::str::from_utf8(&bytes) {
        Ok(text) => (text, true),
        Err(error) => {
            let sound = bytes.get(..error.valid_up_to()).unwrap_or_default();
            (std::str::from_utf8(sound).unwrap_or_default(), false)
        }
    };
    let reader = Reader::new(path, text, settings);
    if !is_utf8 {
        let place = reader.origin(&(text.len()..text.len()), "");
        found
            .mistakes
            .push(Mistake::new(place, "a byte is not UTF-8", FILE));
        return false;
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut sound_until = text.len();
    for error in &errors {
        let span = error.span().unwrap_or_default();
        sound_until = sound_until.min(span.start);
        let message = error.message().replace('\n', "; ");
        found
            .mistakes
            .push(Mistake::new(reader.origin(&span, ""), message, ""));
    }
    // Behind a syntax error the parser only guesses; what stands before it is told as well.
    let before_line = reader.line_start(sound_until);
    for (key, value) in table.get_ref() {
        if errors.is_empty() || value.span().end <= before_line {
            match &**key.get_ref() {
                "trust" => reader.sections(key, value, found, &mut sections.trusts),
                "application" => reader.sections(key, value, found, &mut sections.applications),
                _ => reader.setting(key, value, found),
            }
        }
    }
    errors.is_empty()
}

fn told(error: FileError) -> String {
    match error {
        FileError::NotRegular => "is not a regular file".to_owned(),
        FileError::TooLarge(_) => "is larger than 16 MiB".to_owned(),
        error => format!("can't be read: {error}"),
    }
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    settings: &'a Command,
    /// Offsets at which lines begin.
    lines: Vec<usize>,
}

impl<'a> Reader<'a> {
    fn new(path: &'a Path, text: &'a str, settings: &'a Command) -> Self {
        let ends = text.match_indices('\n').map(|(offset, _)| offset + 1);
        Self {
            path,
            text,
            settings,
            lines: std::iter::once(0).chain(ends).collect(),
        }
    }

    /// Where the line of `offset` begins.
    fn line_start(&self, offset: usize) -> usize {
        let line = self.lines.partition_point(|start| *start <= offset);
        self.lines
            .get(line.saturating_sub(1))
            .copied()
            .unwrap_or_default()
    }

    fn origin(&self, span: &Range<usize>, key: &str) -> Origin {
        let line = self.lines.partition_point(|start| *start <= span.start);
        let before = self.text.get(self.line_start(span.start)..span.start);
        Origin::File {
            path: self.path.into(),
            line,
            column: before.map_or(0, |before| before.chars().count()) + 1,
            key: key.into(),
        }
    }

    /// One key of the file with its value or values.
    fn setting(
        &self,
        key: &Spanned<Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
        found: &mut Found,
    ) {
        let name = key.get_ref().as_ref();
        let mut known = self.settings.get_arguments();
        let Some(setting) = known.find(|known| known.get_id() == name && name != "config") else {
            // A file full of them is no file of settings: what is not shown is not looked for.
            let (near, allowed) = match found.mistakes.len() {
                0..SHOWN_MAX => suggestion(self.settings, name),
                _ => (None, "the keys that `herald reference` lists".to_owned()),
            };
            let place = self.origin(&key.span(), name);
            // The setting that was probably meant is not missing as well.
            let meant = near.unwrap_or(name);
            found.refuse(meant, Mistake::new(place, "is not a known key", allowed));
            return;
        };
        match value.get_ref() {
            DeValue::Array(values) if is_repeatable(setting) => {
                self.list(setting, values, &value.span(), found);
            }
            DeValue::Table(headers) if name == "header" => self.headers(setting, headers, found),
            _ => self.value(setting, "", value, found),
        }
    }

    fn list(&self, setting: &Arg, values: &DeArray<'_>, span: &Range<usize>, found: &mut Found) {
        let key = setting.get_id().as_str();
        if values.len() > LIST_MAX {
            let message = format!("has {} values", values.len());
            let allowed = format!("at most {LIST_MAX}");
            found.refuse(key, Mistake::new(self.origin(span, key), message, allowed));
            return;
        }
        for value in values {
            self.value(setting, "", value, found);
        }
    }

    /// A table of header names and values, in the order of the file.
    fn headers(&self, setting: &Arg, headers: &DeTable<'_>, found: &mut Found) {
        let mut headers: Vec<_> = headers.iter().collect();
        headers.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in headers {
            let (name, span) = (name.get_ref(), name.span());
            // Joined to `NAME=VALUE`, such a name would become another one.
            if name.contains('=') {
                let place = self.origin(&span, "header");
                let message = "a header name can't hold `=`";
                found.refuse(
                    "header",
                    Mistake::new(place, message, "letters, digits and `-`"),
                );
            } else {
                self.value(setting, &format!("{name}="), value, found);
            }
        }
    }

    fn value(&self, setting: &Arg, prefix: &str, value: &Spanned<DeValue<'_>>, found: &mut Found) {
        let key = setting.get_id().as_str();
        let place = self.origin(&value.span(), key);
        match scalar(value.get_ref(), setting) {
            Ok(text) => found.take(setting, format!("{prefix}{text}").as_ref(), place),
            Err(allowed) => {
                let kind = value.get_ref().type_str();
                let message = format!("has a value of the wrong kind ({kind})");
                found.refuse(key, Mistake::new(place, message, allowed));
            }
        }
    }
}

/// A value as its flag would be written, or what is allowed.
fn scalar(value: &DeValue<'_>, setting: &Arg) -> Result<String, &'static str> {
    let parses_to = |wanted: TypeId| setting.get_value_parser().type_id() == wanted;
    let is_switch = parses_to(TypeId::of::<bool>());
    let is_text = parses_to(TypeId::of::<PathBuf>()) || parses_to(TypeId::of::<String>());
    match value {
        DeValue::Boolean(on) if is_switch => Ok(on.to_string()),
        _ if is_switch => Err("true or false"),
        DeValue::String(text) => Ok(text.clone().into_owned()),
        DeValue::Integer(number) if !is_text => {
            i128::from_str_radix(number.as_str(), number.radix())
                .map(|number| number.to_string())
                .or(Err("a smaller number"))
        }
        // `tls_min = 1.2` is what everybody writes.
        DeValue::Float(number) if !is_text => Ok(number.as_str().into()),
        _ if is_repeatable(setting) => Err("a string, or an array of strings"),
        _ if is_text => Err("a string"),
        _ => Err("a string or a number"),
    }
}

fn is_repeatable(setting: &Arg) -> bool {
    matches!(setting.get_action(), ArgAction::Append)
}

/// The nearest key if one is near, and how to say so; else all keys.
fn suggestion<'a>(settings: &'a Command, unknown: &str) -> (Option<&'a str>, String) {
    let wanted: String = unknown.chars().take(DISTANCE_MAX).collect();
    let wanted = wanted.replace('-', "_").to_lowercase();
    let keys: Vec<&str> = settings
        .get_arguments()
        .map(|argument| argument.get_id().as_str())
        .filter(|key| *key != "config")
        .collect();
    let near = keys.iter().map(|key| (distance(key, &wanted), *key)).min();
    match near {
        Some((distance, key)) if distance <= 1 + wanted.len() / 4 => {
            (Some(key), format!("did you mean `{key}`?"))
        }
        _ => (None, keys.join(", ")),
    }
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
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

const FILE_MAX: u64 = 16 * 1024 * 1024;
const FILE: &str = "a TOML file of at most 16 MiB, UTF-8";
/// Most values of a repeatable key: far more than anyone lists, few enough to check in no time.
const LIST_MAX: usize = 256;
/// Longer keys than this are compared by their beginning.
const DISTANCE_MAX: usize = 64;
