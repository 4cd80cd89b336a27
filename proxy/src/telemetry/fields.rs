//! Fields of a record, in JSON or as `name=value` text, appended to a buffer without allocating.
//! Takes any bytes; gives lines that hold no byte a peer could break a log with: every byte below
//! 0x20 and from 0x7f up is escaped, so a record is always one line of ASCII.

use crate::config::LogFormat;

/// A field's name as both formats begin it, with the quote before a text.
#[derive(Clone, Copy, Debug)]
pub struct Name {
    /// `,"name":"`
    json: Word,
    /// ` name="`
    text: Word,
}

/// A short text of Herald's own in an array: to copy as many bytes as are known is a few moves, to copy
/// as many as the text has is a call.
#[derive(Clone, Copy, Debug)]
struct Word {
    bytes: [u8; Self::MAX],
    length: usize,
}

/// The name of a field, a literal that needs no escaping.
macro_rules! name {
    ($name:literal) => {
        const {
            &$crate::telemetry::fields::Name::new(
                concat!(",\"", $name, "\":\""),
                concat!(" ", $name, "=\""),
            )
        }
    };
}
pub(crate) use name;

/// Appends fields to a line.
#[derive(Debug)]
pub struct Fields<'a> {
    out: &'a mut Vec<u8>,
    format: LogFormat,
}

impl<'a> Fields<'a> {
    /// Goes on with a line in `format`.
    pub fn new(out: &'a mut Vec<u8>, format: LogFormat) -> Self {
        Self { out, format }
    }

    /// Begins a line with its time.
    pub fn begin<const N: usize>(&mut self, time: &[u8; N]) {
        match self.format {
            LogFormat::Json => {
                self.out.extend_from_slice(b"{\"time\":\"");
                self.out.extend_from_slice(time);
                self.out.push(b'"');
            }
            LogFormat::Text => {
                self.out.extend_from_slice(b"time=");
                self.out.extend_from_slice(time);
            }
        }
    }

    /// Ends the line.
    pub fn end(&mut self) {
        match self.format {
            LogFormat::Json => self.out.extend_from_slice(b"}\n"),
            LogFormat::Text => self.out.push(b'\n'),
        }
    }

    /// Bytes of a peer, escaped, at most `max` of them. What was cut off is told by a field of its
    /// own, `cut_from_bytes`, with the whole length.
    pub fn bytes(&mut self, name: &Name, value: &[u8], max: usize) {
        self.cut(name, value.get(..max).unwrap_or(value), value.len());
    }

    /// The same for what was kept of `whole` bytes.
    pub fn cut(&mut self, name: &Name, kept: &[u8], whole: usize) {
        self.put(name.quoted(self.format), 0);
        let escaped = match self.format {
            LogFormat::Json => json_escape,
            LogFormat::Text => text_escape,
        };
        escape(self.out, kept, escaped);
        self.out.push(b'"');
        if kept.len() < whole {
            self.number(name!("cut_from_bytes"), whole as u64);
        }
    }

    /// A word of Herald's own vocabulary.
    pub fn word(&mut self, name: &Name, value: &'static str) {
        if self.format == LogFormat::Json {
            self.put(name.quoted(self.format), 0);
            self.out.extend_from_slice(value.as_bytes());
            self.out.push(b'"');
        } else {
            self.name(name);
            self.out.extend_from_slice(value.as_bytes());
        }
    }

    /// A whole number.
    pub fn number(&mut self, name: &Name, value: u64) {
        self.name(name);
        let mut digits = itoa::Buffer::new();
        self.out.extend_from_slice(digits.format(value).as_bytes());
    }

    /// Yes or no.
    pub fn flag(&mut self, name: &Name, value: bool) {
        self.name(name);
        let text: &[u8] = if value { b"true" } else { b"false" };
        self.out.extend_from_slice(text);
    }

    /// Nanoseconds as seconds with six decimals.
    pub fn seconds(&mut self, name: &Name, nanos: u64) {
        self.name(name);
        let micros = nanos / 1000;
        let [a, b, c, d, e, f] = six_digits(micros);
        let mut digits = [b'0', b'.', a, b, c, d, e, f];
        match micros / MICROS {
            whole @ 0..10 => {
                let [ones, ..] = whole.to_le_bytes();
                digits[0] += ones;
                self.out.extend_from_slice(&digits);
            }
            whole => {
                let [_, fraction @ ..] = digits;
                self.out
                    .extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
                self.out.extend_from_slice(&fraction);
            }
        }
    }

    /// Fields that were rendered before, in the same format.
    pub fn rendered(&mut self, fields: &[u8]) {
        self.out.extend_from_slice(fields);
    }

    fn name(&mut self, name: &Name) {
        self.put(name.quoted(self.format), 1);
    }

    /// Appends a word, its last bytes left out.
    fn put(&mut self, word: &Word, left_out: usize) {
        let end = self.out.len() + word.length - left_out;
        self.out.extend_from_slice(&word.bytes);
        self.out.truncate(end);
    }
}

impl Name {
    /// The name as each format begins it, with the quote before a text.
    pub const fn new(json: &str, text: &str) -> Self {
        Self {
            json: Word::new(json),
            text: Word::new(text),
        }
    }

    fn quoted(&self, format: LogFormat) -> &Word {
        match format {
            LogFormat::Json => &self.json,
            LogFormat::Text => &self.text,
        }
    }
}

impl Word {
    const MAX: usize = 32;

    const fn new(text: &str) -> Self {
        let mut bytes = [0; Self::MAX];
        let (start, _) = bytes.split_at_mut(text.len());
        start.copy_from_slice(text.as_bytes());
        Self {
            bytes,
            length: text.len(),
        }
    }
}

/// Copies runs of plain bytes whole; `one` writes each of the others.
fn escape(out: &mut Vec<u8>, bytes: &[u8], one: fn(&mut Vec<u8>, u8)) {
    // Nearly every value.
    if all_plain(bytes) {
        out.extend_from_slice(bytes);
        return;
    }
    let mut rest = bytes;
    loop {
        let plain = rest.iter().position(|byte| !is_plain(*byte));
        let (run, odd) = rest.split_at(plain.unwrap_or(rest.len()));
        out.extend_from_slice(run);
        let Some((odd, after)) = odd.split_first() else {
            return;
        };
        one(out, *odd);
        rest = after;
    }
}

/// Looks at eight bytes at a time, the last of them perhaps twice: most values are shorter than what
/// the compiler's vectors pay for.
fn all_plain(bytes: &[u8]) -> bool {
    let Some(last) = bytes.last_chunk() else {
        return bytes.iter().all(|byte| is_plain(*byte));
    };
    let (words, _) = bytes.as_chunks::<8>();
    let words = words.iter().chain([last]);
    words.fold(0, |odd, word| odd | odd_bytes(u64::from_ne_bytes(*word))) == 0
}

/// Not zero if one of the eight bytes is not plain. (A byte's high bit may be set wrongly by a borrow
/// from the byte below it, but only where that one was odd itself.)
fn odd_bytes(word: u64) -> u64 {
    let of = |byte: u8| u64::from_ne_bytes([byte; 8]);
    let is_zero = |word: u64| word.wrapping_sub(of(1)) & !word;
    let control = word.wrapping_sub(of(b' ')) & !word;
    let delete = word.wrapping_add(of(1)) | word;
    let quotes = is_zero(word ^ of(b'"')) | is_zero(word ^ of(b'\\'));
    (control | delete | quotes) & of(0x80)
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')
}

/// RFC 8259 §7. A byte is written as the character of its number: JSON is UTF-8, what peers send
/// need not be, and this way nothing is lost.
fn json_escape(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&hex(byte));
        }
    }
}

fn text_escape(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        _ => {
            out.extend_from_slice(b"\\x");
            out.extend_from_slice(&hex(byte));
        }
    }
}

fn hex(byte: u8) -> [u8; 2] {
    let digit = |nibble: u8| match nibble {
        0..=9 => b'0' + nibble,
        _ => b'a' + nibble - 10,
    };
    [digit(byte >> 4), digit(byte & 15)]
}

/// The last six digits of `value`.
pub(super) fn six_digits(value: u64) -> [u8; 6] {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(MICROS + value % MICROS);
    digits.as_bytes().last_chunk().copied().unwrap_or([b'0'; 6])
}

const MICROS: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(format: LogFormat, value: &[u8], max: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let mut fields = Fields::new(&mut out, format);
        fields.begin(b"T");
        fields.bytes(name!("value"), value, max);
        fields.seconds(name!("took"), 1_002_003_999);
        fields.flag(name!("yes"), true);
        fields.word(name!("word"), "w");
        fields.end();
        out
    }

    /// Undoes the text format's quoting.
    fn unquote(text: &str) -> Vec<u8> {
        let mut bytes = text.bytes();
        let mut out = Vec::new();
        while let Some(byte) = bytes.next() {
            match (byte, byte == b'\\') {
                (_, false) => out.push(byte),
                (_, true) => match bytes.next().unwrap() {
                    b'x' => {
                        let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                        let digits = std::str::from_utf8(&digits).unwrap();
                        out.push(u8::from_str_radix(digits, 16).unwrap());
                    }
                    quoted => out.push(quoted),
                },
            }
        }
        out
    }

    #[test]
    fn every_odd_byte_is_seen_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            for place in 0..20 {
                let mut value = [b'~'; 20];
                value[place] = byte;
                assert_eq!(all_plain(&value), is_plain(byte), "{byte} at {place}");
                assert_eq!(all_plain(&value[..=place]), is_plain(byte));
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_make_one_line_that_reads_back(value: Vec<u8>) {
            let json = line(LogFormat::Json, &value, usize::MAX);
            prop_assert!(json.strip_suffix(b"\n").unwrap().iter().all(|b| (0x20..0x7f).contains(b)));
            let read: serde_json::Value = serde_json::from_slice(&json).unwrap();
            let bytes: Vec<u8> = read["value"].as_str().unwrap().chars()
                .map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
            prop_assert_eq!(&bytes, &value);

            let text = line(LogFormat::Text, &value, usize::MAX);
            prop_assert!(text.strip_suffix(b"\n").unwrap().iter().all(|b| (0x20..0x7f).contains(b)));
            let text = String::from_utf8(text).unwrap();
            let quoted = text.strip_prefix("time=T value=\"").unwrap()
                .strip_suffix("\" took=1.002003 yes=true word=w\n").unwrap();
            prop_assert_eq!(unquote(quoted), value);
        }

        #[test]
        fn a_long_value_is_cut_and_says_so(value in proptest::collection::vec(any::<u8>(), 0..64), max in 0_usize..64) {
            let json = line(LogFormat::Json, &value, max);
            let read: serde_json::Value = serde_json::from_slice(&json).unwrap();
            let kept = read["value"].as_str().unwrap().chars().count();
            prop_assert_eq!(kept, value.len().min(max));
            let told = read.get("cut_from_bytes").and_then(serde_json::Value::as_u64);
            prop_assert_eq!(told, (value.len() > max).then_some(value.len() as u64));
        }
    }

    #[test]
    fn fields_are_read_by_any_json_parser() {
        let json = line(LogFormat::Json, b"a\"b\\c\n\x7f\xff", 100);
        assert_eq!(
            String::from_utf8(json).unwrap(),
            "{\"time\":\"T\",\"value\":\"a\\\"b\\\\c\\u000a\\u007f\\u00ff\",\"took\":1.002003,\"yes\":true,\"word\":\"w\"}\n"
        );
    }
}
