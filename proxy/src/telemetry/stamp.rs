//! Wall-clock times as text (RFC 3339, UTC, microseconds) from the monotonic clock: the date is
//! rendered once a second, the offset between the clocks is asked for once a second.

use std::cell::Cell;

use time::OffsetDateTime;

use super::fields::six_digits;
use crate::clock::{self, NANOS_PER_SECOND};

/// `2026-11-24T11:46:38.123456Z`
pub(super) type Stamp = [u8; 27];

/// One thread's clock face.
#[derive(Debug)]
pub(super) struct Stamps {
    /// Wall-clock nanoseconds minus monotonic ones.
    offset: Cell<u64>,
    asked_at: Cell<u64>,
    second: Cell<u64>,
    text: Cell<Stamp>,
}

impl Default for Stamps {
    fn default() -> Self {
        Self {
            offset: Cell::new(0),
            asked_at: Cell::new(0),
            second: Cell::new(u64::MAX),
            text: Cell::new(*b"1970-01-01T00:00:00.000000Z"),
        }
    }
}

impl Stamps {
    /// The wall-clock time at `then`, which is not after `now` ([`clock::monotonic`] both).
    pub(super) fn of(&self, then: u64, now: u64) -> Stamp {
        if now.abs_diff(self.asked_at.get()) >= NANOS_PER_SECOND {
            self.asked_at.set(now);
            let here = clock::monotonic();
            self.offset.set(clock::unix_nanos().wrapping_sub(here));
        }
        self.render(then.wrapping_add(self.offset.get()))
    }

    fn render(&self, wall: u64) -> Stamp {
        let second = wall / NANOS_PER_SECOND;
        if second != self.second.get() {
            self.second.set(second);
            self.text.set(date(second));
        }
        let mut text = self.text.get();
        let micros = six_digits(wall % NANOS_PER_SECOND / 1000);
        if let Some(places) = text.get_mut(20..26) {
            places.copy_from_slice(&micros);
        }
        text
    }
}

/// The second as text, its fraction zero. Years past 9999 stay at the last second that has a text.
fn date(second: u64) -> Stamp {
    let time = i64::try_from(second)
        .ok()
        .and_then(|second| OffsetDateTime::from_unix_timestamp(second).ok())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    let year = u64::try_from(time.year()).unwrap_or(0);
    let fields = [
        (0, 4, year),
        (5, 2, u64::from(u8::from(time.month()))),
        (8, 2, u64::from(time.day())),
        (11, 2, u64::from(time.hour())),
        (14, 2, u64::from(time.minute())),
        (17, 2, u64::from(time.second())),
    ];
    for (start, width, value) in fields {
        let digits = six_digits(value);
        let digits = digits.iter().skip(6 - width);
        for (place, digit) in text.iter_mut().skip(start).zip(digits) {
            *place = *digit;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rendered_as_rfc_3339() {
        let stamps = Stamps::default();
        for (wall, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_827_696_000_999_999, "2000-02-29T12:34:56.000999Z"),
            (1_795_520_798_123_456_789, "2026-11-24T11:46:38.123456Z"),
        ] {
            assert_eq!(stamps.render(wall), text.as_bytes());
        }
    }

    #[test]
    fn the_clock_face_follows_the_wall_clock() {
        let stamps = Stamps::default();
        let before = clock::unix_nanos() / NANOS_PER_SECOND;
        let now = clock::monotonic();
        let stamp = stamps.of(now, now);
        let after = clock::unix_nanos() / NANOS_PER_SECOND;
        let candidates: Vec<_> = (before..=after).map(date).collect();
        assert!(candidates.iter().any(|date| date[..19] == stamp[..19]));
    }
}
