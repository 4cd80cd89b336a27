//! UTCTime and GeneralizedTime as OpenSSL reads (`ossl_asn1_time_to_tm`) and prints
//! (`ASN1_TIME_print`) them: more forms than RFC 5280 allows, since nginx prints those too.

use super::der::Element;

/// A time in the words of its certificate.
#[derive(Debug)]
pub(super) struct Time<'a> {
    parts: Parts,
    /// A dot and digits, GeneralizedTime only.
    fraction: &'a [u8],
}

/// Broken-down time, UTC.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Parts {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
}

impl<'a> Time<'a> {
    /// Reads a time. None where OpenSSL has no time either.
    pub(super) fn parse(element: &Element<'a>) -> Option<Self> {
        let (years, minimum) = match element.tag {
            UTC_TIME => (1, 11),
            GENERALIZED_TIME => (2, 13),
            _ => return None,
        };
        let text = element.content;
        if text.len() < minimum {
            return None;
        }
        let mut fields = Fields { text, at: 0 };
        let mut parts = Parts {
            day: 1,
            ..Parts::default()
        };
        let century = if years == 2 {
            Some(fields.pair(0, 99)?)
        } else {
            None
        };
        let short = fields.pair(0, 99)?;
        parts.year = match century {
            Some(century) => century * 100 + short,
            // RFC 5280 §4.1.2.5.1.
            None if short < 50 => 2000 + short,
            None => 1900 + short,
        };
        parts.month = fields.pair(1, 12)?;
        parts.day = fields.pair(1, month_days(parts.year, parts.month))?;
        parts.hour = fields.pair(0, 23)?;
        parts.minute = fields.pair(0, 59)?;
        if !matches!(fields.peek()?, b'Z' | b'+' | b'-') {
            parts.second = fields.pair(0, 59)?;
        }
        if years == 2 && fields.peek()? == b'.' {
            fields.fraction()?;
        }
        let parts = match fields.peek()? {
            b'Z' => fields.zulu(parts),
            _ => fields.offset(parts),
        }?;
        // `ossl_asn1_time_print_ex` looks for the fraction at its usual place only.
        let fraction = match text.get(14..) {
            Some(tail @ [b'.', ..]) if years == 2 && text.len() > 15 => {
                let digits = tail.iter().skip(1).take_while(|b| b.is_ascii_digit());
                tail.get(..=digits.count()).unwrap_or_default()
            }
            _ => b"",
        };
        Some(Self { parts, fraction })
    }

    /// Seconds since 1970, fractions dropped.
    pub(super) fn unix(&self) -> i64 {
        self.parts.unix()
    }

    /// `2026-11-01T00:00:00`, UTC; an offset was applied, a fraction is dropped.
    pub(super) fn iso(&self) -> String {
        let Parts {
            year,
            month,
            day,
            hour,
            minute,
            second,
        } = self.parts;
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
    }

    /// `Nov  1 00:00:00 2026 GMT`; an offset was applied.
    pub(super) fn print(&self) -> Vec<u8> {
        let Parts {
            year,
            month,
            day,
            hour,
            minute,
            second,
        } = self.parts;
        let month = usize::try_from(month - 1)
            .ok()
            .and_then(|m| MONTHS.get(m))
            .unwrap_or(&"");
        let mut out = Vec::with_capacity(USUAL + self.fraction.len());
        out.extend_from_slice(month.as_bytes());
        for (before, value) in [(b' ', day), (b' ', hour), (b':', minute), (b':', second)] {
            out.push(before);
            out.extend_from_slice(&two_digits(value));
        }
        // The day of the month has no leading zero.
        if let Some(tens) = out.get_mut(4).filter(|tens| **tens == b'0') {
            *tens = b' ';
        }
        out.extend_from_slice(self.fraction);
        out.push(b' ');
        out.extend_from_slice(itoa::Buffer::new().format(year).as_bytes());
        out.extend_from_slice(b" GMT");
        out
    }
}

/// A field, which is below 100.
fn two_digits(value: i64) -> [u8; 2] {
    [value / 10 % 10, value % 10].map(|digit| b'0' + u8::try_from(digit).unwrap_or_default())
}

/// The words of a UTCTime, and of a GeneralizedTime of the years 2000 to 2099 without its century:
/// what HAProxy sends. None for other years and types.
pub(super) fn short<'a>(element: &Element<'a>) -> Option<&'a [u8]> {
    Time::parse(element)?;
    match element.tag {
        UTC_TIME => Some(element.content),
        _ => element.content.strip_prefix(b"20"),
    }
}

/// What OpenSSL prints for an element that it accepts as a time and cannot read.
pub(super) fn print(element: &Element<'_>) -> Vec<u8> {
    Time::parse(element).map_or_else(|| b"Bad time value".to_vec(), |time| time.print())
}

impl Parts {
    fn unix(self) -> i64 {
        days_from_civil(self.year, self.month, self.day) * DAY
            + self.hour * 3600
            + self.minute * 60
            + self.second
    }

    /// `OPENSSL_gmtime_adj`, which knows the years 1900 to 9999.
    fn shifted(self, seconds: i64) -> Option<Self> {
        if seconds == 0 {
            return Some(self);
        }
        let unix = self.unix() + seconds;
        let (year, month, day) = civil_from_days(unix.div_euclid(DAY));
        let rest = unix.rem_euclid(DAY);
        (1900..=9999).contains(&year).then_some(Self {
            year,
            month,
            day,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
        })
    }
}

/// Two-digit fields, each of which must be followed by something (the zone at least).
struct Fields<'a> {
    text: &'a [u8],
    at: usize,
}

impl Fields<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn digit(&mut self) -> Option<i64> {
        let byte = self.peek().filter(u8::is_ascii_digit)?;
        self.at += 1;
        Some(i64::from(byte - b'0'))
    }

    fn pair(&mut self, least: i64, most: i64) -> Option<i64> {
        let value = self.digit()? * 10 + self.digit()?;
        (least..=most).contains(&value).then_some(value)
    }

    fn fraction(&mut self) -> Option<()> {
        self.at += 1;
        self.digit()?;
        while self.digit().is_some() {}
        Some(())
    }

    fn zulu(&self, parts: Parts) -> Option<Parts> {
        (self.at + 1 == self.text.len()).then_some(parts)
    }

    fn offset(&mut self, parts: Parts) -> Option<Parts> {
        let sign = match self.peek()? {
            b'-' => 1,
            b'+' => -1,
            _ => return None,
        };
        self.at += 1;
        // The table of limits has 12 for hours; minutes go to 59.
        let seconds = self.pair(0, 12)? * 3600 + self.pair(0, 59)? * 60;
        if self.at != self.text.len() {
            return None;
        }
        parts.shifted(sign * seconds)
    }
}

fn month_days(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970 of a proleptic Gregorian date.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let of_era = shifted.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// Bytes of a printed time.
const USUAL: usize = 24;
pub(super) const UTC_TIME: u32 = 23;
pub(super) const GENERALIZED_TIME: u32 = 24;
/// Seconds of a day.
pub(super) const DAY: i64 = 86_400;
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn civil_dates_round_trip() {
        assert_eq!(days_from_civil(1970, 1, 1), 0);
        assert_eq!(days_from_civil(2000, 3, 1), 11_017);
        for days in (-720_000..3_000_000).step_by(97) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
            assert!((1..=month_days(year, month)).contains(&day));
        }
    }
}
