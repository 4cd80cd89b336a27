//! `Date` where an origin sent none (RFC 9110 §6.6.1), for HTTP/2: hyper's own would be indexed, a
//! new entry every second in each connection's compression table.

use std::cell::RefCell;
use std::time::{Duration, UNIX_EPOCH};

use http::header::{self, HeaderMap, HeaderValue};

/// Adds `Date` for `now` (Unix seconds) unless there is one.
pub fn ensure_date(headers: &mut HeaderMap, now: u64) {
    if !headers.contains_key(header::DATE) {
        headers.insert(header::DATE, DATE.with_borrow_mut(|date| date.at(now)));
    }
}

/// The last second's text, for a thread.
struct Date {
    now: u64,
    text: HeaderValue,
}

impl Date {
    fn at(&mut self, now: u64) -> HeaderValue {
        if self.now != now {
            let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(now));
            // The text is ASCII: the error can't come.
            if let Ok(mut text) = HeaderValue::from_str(&text) {
                text.set_sensitive(true);
                *self = Self { now, text };
            }
        }
        self.text.clone()
    }
}

thread_local! {
    static DATE: RefCell<Date> = const {
        RefCell::new(Date { now: 0, text: HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT") })
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_added_where_there_is_none() {
        let mut headers = HeaderMap::new();
        ensure_date(&mut headers, 784_111_777);
        assert_eq!(headers[header::DATE], "Sun, 06 Nov 1994 08:49:37 GMT");
        assert!(headers[header::DATE].is_sensitive());
        ensure_date(&mut headers, 784_111_778);
        assert_eq!(headers[header::DATE], "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
