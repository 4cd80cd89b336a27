//! Values as operators write them. Durations: `500ms`, `10s`, `2m`, `1h`; sizes: `512`, `64KiB`,
//! `1MiB`; numbers of workers: `auto`, `4`; paths.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};

/// A span of time with its unit spelled out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Span(pub Duration);

/// A number of bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Size(pub usize);

/// A number of bytes, or no limit, written 0.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SizeLimit(pub Option<u64>);

/// A number of worker threads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Workers {
    /// One a core.
    Auto,
    /// This many, at least one.
    Count(usize),
}

/// Takes a path that can be one. A key pasted in place of its file's name would end in messages.
pub(super) fn path_parser() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().try_map(|text: OsString| {
        let bytes = text.as_encoded_bytes();
        let is_content = bytes.iter().any(u8::is_ascii_control) || bytes.starts_with(b"-----BEGIN");
        match bytes {
            [] => Err("a path, which is not empty"),
            _ if is_content => Err("the path of a file, not its content"),
            _ => Ok(PathBuf::from(text)),
        }
    })
}

impl FromStr for Workers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match split(text) {
            (Some(0), "") | (None, "auto") => Ok(Self::Auto),
            (Some(count), "") if count <= WORKERS_MAX => Ok(Self::Count(
                usize::try_from(count).or(Err("a smaller number"))?,
            )),
            _ => Err(format!("auto (or 0, one a core), or 1 to {WORKERS_MAX}")),
        }
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = split(text);
        let milliseconds = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => {
                return Err(
                    "a duration is a number and one of ms, s, m, h: for example 10s".into(),
                );
            }
        };
        number
            .and_then(|number| number.checked_mul(milliseconds))
            .filter(|total| (1..=MILLISECONDS_MAX).contains(total))
            .map(|total| Self(Duration::from_millis(total)))
            .ok_or_else(|| "a duration lies between 1ms and 24h".into())
    }
}

/// The number of bytes that `text` says; `None` within if it is beyond 64 bits.
fn bytes(text: &str) -> Result<Option<u64>, String> {
    let (number, unit) = split(text);
    let bytes: u64 = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => {
            return Err(
                "a size is a number of bytes, or with KiB, MiB, GiB: for example 64KiB".into(),
            );
        }
    };
    Ok(number.and_then(|number| number.checked_mul(bytes)))
}

impl FromStr for SizeLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let total = bytes(text)?.ok_or("a size of at most 64 bits, or 0 for no limit")?;
        Ok(Self((total > 0).then_some(total)))
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        bytes(text)?
            .and_then(|total| usize::try_from(total).ok())
            .filter(|total| (1..=BYTES_MAX).contains(total))
            .map(Self)
            .ok_or_else(|| "a size lies between 1 byte and 1GiB".into())
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            whole if whole % 3_600_000 == 0 => write!(f, "{}h", whole / 3_600_000),
            whole if whole % 60_000 == 0 => write!(f, "{}m", whole / 60_000),
            whole if whole % 1_000 == 0 => write!(f, "{}s", whole / 1_000),
            whole => write!(f, "{whole}ms"),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            whole if whole % (1 << 20) == 0 => write!(f, "{}MiB", whole >> 20),
            whole if whole % (1 << 10) == 0 => write!(f, "{}KiB", whole >> 10),
            whole => write!(f, "{whole}"),
        }
    }
}

fn split(text: &str) -> (Option<u64>, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number.parse().ok(), unit)
}

/// Most worker threads.
pub(super) const WORKERS_MAX: u64 = 1024;
const MILLISECONDS_MAX: u64 = 24 * 3_600_000;
const BYTES_MAX: usize = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_and_written_alike() {
        for text in ["1ms", "500ms", "10s", "2m", "1h"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        for text in ["512", "64KiB", "1MiB"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_limit_of_0_is_none() {
        assert_eq!("0".parse(), Ok(SizeLimit(None)));
        assert_eq!("10GiB".parse(), Ok(SizeLimit(Some(10 << 30))));
        for text in ["", "-1", "1x", "99999999999999999999", "17179869184GiB"] {
            assert!(text.parse::<SizeLimit>().is_err(), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "10",
            "s",
            "0s",
            "-1s",
            "1.5s",
            "25h",
            "10 s",
            "99999999999999999999s",
        ] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        for text in ["", "KiB", "0", "1kb", "2GiB", "99999999999999999999"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
