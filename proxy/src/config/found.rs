//! What flags or a file say, value by value: each is judged by the very parser its flag has. Keeps
//! the sound values with where they came from, and tells what is wrong with the others.

use std::collections::HashSet;
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::net::AddrParseError;
use std::num::{IntErrorKind, ParseIntError};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};

use super::mistake::{Mistake, Origin, quoted};

/// What one source of settings says.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// In the order of the source.
    pub(super) values: Vec<Value>,
    /// Keys that were set, but wrongly: they are not missing as well.
    pub(super) refused: HashSet<String>,
    pub(super) mistakes: Vec<Mistake>,
}

/// A value that its parser took.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) key: String,
    /// `--flag=value`.
    pub(super) argument: OsString,
    pub(super) origin: Origin,
}

impl Found {
    /// Judges a value and keeps it if it passes.
    pub(super) fn take(&mut self, setting: &Arg, raw: &OsStr, origin: Origin) {
        let key = setting.get_id().as_str();
        let mut argument = OsString::from(flag(key));
        argument.push("=");
        argument.push(raw);
        let parser = Command::new("value")
            .no_binary_name(true)
            .disable_help_flag(true)
            .arg(setting.clone());
        match parser.try_get_matches_from([&argument]) {
            Ok(_) => self.values.push(Value {
                key: key.to_owned(),
                argument,
                origin,
            }),
            Err(error) => {
                let (message, allowed) = explain(&error);
                self.refuse(key, Mistake::new(origin, message, allowed));
            }
        }
    }

    /// Notes a mistake of `key`.
    pub(super) fn refuse(&mut self, key: &str, mistake: Mistake) {
        self.refused.insert(key.to_owned());
        self.mistakes.push(mistake);
    }

    /// Adds what `below` says of keys that this source leaves alone, and all its mistakes: a file
    /// is right or it is not, whatever flags stand above it.
    pub(super) fn over(mut self, below: Self) -> Self {
        let given: HashSet<String> = self.values.iter().map(|value| value.key.clone()).collect();
        let rest = below.values.into_iter();
        self.values
            .extend(rest.filter(|value| !given.contains(&value.key)));
        self.refused.extend(below.refused);
        self.mistakes.extend(below.mistakes);
        self
    }
}

/// The flag of a key, with its dashes.
pub(super) fn flag(key: &str) -> String {
    format!("--{}", key.replace('_', "-"))
}

/// What clap found, as message and what is allowed.
pub(super) fn explain(error: &clap::Error) -> (String, String) {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        _ => String::new(),
    };
    let value = text(ContextKind::InvalidValue);
    let allowed = text(ContextKind::ValidValue);
    let reason = error.source().map(reason).unwrap_or_default();
    match error.kind() {
        ErrorKind::ArgumentConflict => ("is given more than once".into(), "one value".into()),
        ErrorKind::InvalidUtf8 => ("is not UTF-8".into(), allowed),
        ErrorKind::InvalidValue if value.is_empty() => ("has no value".into(), allowed),
        _ => {
            let allowed = if allowed.is_empty() { reason } else { allowed };
            (format!("{} is not allowed", quoted(&value)), allowed)
        }
    }
}

/// What a parser allows. The standard library's parsers only say what they met.
fn reason(error: &(dyn Error + 'static)) -> String {
    if error.is::<AddrParseError>() {
        return "ADDR:PORT, such as 0.0.0.0:443 or [::]:443".into();
    }
    match error.downcast_ref().map(ParseIntError::kind) {
        Some(IntErrorKind::PosOverflow) => "a smaller number".into(),
        Some(IntErrorKind::Zero) => "a whole number from 1".into(),
        Some(_) => "a whole number".into(),
        None => error.to_string(),
    }
}
