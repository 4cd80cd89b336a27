//! Certificate times (RFC 5280 §4.1.2.5) as seconds since 1970, from year 0 to 9999. Only the two
//! fixed shapes `YYMMDDHHMMSSZ` and `YYYYMMDDHHMMSSZ` are read, as OpenSSL's `X509_cmp_time` does.

use super::der::Tlv;

/// Unix seconds of a UTCTime or GeneralizedTime; nothing for any other shape or date.
pub(super) fn unix_seconds(time: Tlv<'_>) -> Option<i64> {
    let (year, rest) = match time.tag {
        UTC_TIME if time.body.len() == 13 => {
            let (digits, rest) = time.body.split_at_checked(2)?;
            let year = decimal(digits)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME if time.body.len() == 15 => {
            let (digits, rest) = time.body.split_at_checked(4)?;
            (decimal(digits)?, rest)
        }
        _ => return None,
    };
    let mut fields = [0_i64; 5];
    for (field, digits) in fields.iter_mut().zip(rest.chunks_exact(2)) {
        *field = decimal(digits)?;
    }
    let [month, day, hour, minute, second] = fields;
    if rest.last() != Some(&b'Z')
        || !(1..=12).contains(&month)
        || !(1..=days_in_month(year, month)).contains(&day)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    Some(((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

fn decimal(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |value, digit| {
        digit
            .is_ascii_digit()
            .then(|| value * 10 + i64::from(digit - b'0'))
    })
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let before = year - 1;
    let leap_days = before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400);
    let days_to_year = before * 365 + leap_days;
    let days_to_month: i64 = (1..month).map(|m| days_in_month(year, m)).sum();
    days_to_year + days_to_month + day - 1 - DAYS_TO_1970
}

/// Days from 0001-01-01 to 1970-01-01.
const DAYS_TO_1970: i64 = 719_162;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

#[cfg(test)]
mod tests {
    use super::{GENERALIZED_TIME, UTC_TIME, unix_seconds};
    use crate::tls::der::Tlv;

    fn seconds(tag: u8, text: &str) -> Option<i64> {
        let body = text.as_bytes();
        unix_seconds(Tlv {
            tag,
            body,
            whole: body,
        })
    }

    #[test]
    fn known_dates_have_their_unix_seconds() {
        assert_eq!(seconds(UTC_TIME, "700101000000Z"), Some(0));
        assert_eq!(seconds(UTC_TIME, "260801120000Z"), Some(1_785_585_600));
        assert_eq!(seconds(UTC_TIME, "500101000000Z"), Some(-631_152_000));
        assert_eq!(
            seconds(GENERALIZED_TIME, "20491231235959Z"),
            Some(2_524_607_999)
        );
        assert_eq!(
            seconds(GENERALIZED_TIME, "99991231235959Z"),
            Some(253_402_300_799)
        );
        assert_eq!(
            seconds(GENERALIZED_TIME, "00000101000000Z"),
            Some(-62_167_219_200)
        );
        assert_eq!(
            seconds(GENERALIZED_TIME, "20000229000000Z"),
            Some(951_782_400)
        );
    }

    #[test]
    fn other_shapes_and_impossible_dates_are_no_time() {
        for text in [
            "2608011200Z",
            "260801120000+0100",
            "260832120000Z",
            "260801240000Z",
            "2608011200 0Z",
        ] {
            assert_eq!(seconds(UTC_TIME, text), None, "{text}");
        }
        assert_eq!(seconds(GENERALIZED_TIME, "20230229000000Z"), None);
        assert_eq!(seconds(GENERALIZED_TIME, "20230228000000.5Z"), None);
        assert_eq!(seconds(0x0c, "260801120000Z"), None);
    }
}
