//! HTTP/1.1 as RFC 9112 spells it, read strictly: what a message says twice or spells oddly is noted as a violation.
//! Shared by the origin (requests) and the client (responses), and by nothing of the product.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

/// Header or trailer lines in order, duplicates and spelling kept. Names and values are bytes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Fields(pub Vec<(Vec<u8>, Vec<u8>)>);

/// The bytes of a message head, taken apart.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// As received, with the empty line.
    pub raw: Vec<u8>,
    /// The request or status line.
    pub start: String,
    /// The field lines.
    pub fields: Fields,
    /// What another parser might read differently.
    pub violations: Vec<String>,
}

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    /// No body.
    Empty,
    /// Content-Length.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
    /// Until the connection ends.
    Close,
}

/// A body, digested while it was read.
#[derive(Clone, Debug, Default)]
pub struct Body {
    /// Its first 256 KiB.
    pub start: Vec<u8>,
    /// All of its length.
    pub length: u64,
    /// SHA-256 in lower hex.
    pub sha256: String,
    /// Trailer fields.
    pub trailers: Fields,
}

/// Reads messages from a byte stream.
#[derive(Debug)]
pub struct Reader<R> {
    /// The stream below.
    pub inner: R,
    /// Read bytes are those between `position` and `end`; the rest is room, never made anew: these tests run unoptimised.
    buffer: Vec<u8>,
    position: usize,
    end: usize,
    consumed: u64,
}

impl Fields {
    /// The values of `name`, ignoring case.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + 'a {
        self.0
            .iter()
            .filter(move |(key, _)| key.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| &**value)
    }

    /// The values of `name`, as text with every byte a character.
    pub fn texts(&self, name: &str) -> Vec<String> {
        self.all(name).map(text).collect()
    }

    /// The only value of `name`; `None` when it is absent.
    ///
    /// # Panics
    ///
    /// When there are several.
    pub fn only(&self, name: &str) -> Option<String> {
        let mut texts = self.texts(name);
        assert!(
            texts.len() < 2,
            "{name} appears {} times: {texts:?}",
            texts.len()
        );
        texts.pop()
    }

    /// True when `name` is there, ignoring case.
    pub fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// All lines as `name: value`, for messages.
    pub fn lines(&self) -> Vec<String> {
        self.0
            .iter()
            .map(|(name, value)| format!("{}: {}", text(name), text(value)))
            .collect()
    }
}

impl Head {
    /// Takes a head apart, noting violations.
    pub fn parse(raw: Vec<u8>) -> Self {
        let mut head = Self {
            raw,
            ..Self::default()
        };
        let body = head
            .raw
            .strip_suffix(b"\r\n\r\n")
            .unwrap_or(&head.raw)
            .to_vec();
        let mut lines = split(&body);
        if lines
            .iter()
            .flatten()
            .any(|byte| matches!(byte, b'\r' | b'\n' | 0))
        {
            head.violations
                .push("a bare CR, a bare LF or a NUL".to_owned());
        }
        head.start = text(&lines.remove(0));
        for line in lines {
            match line.iter().position(|&byte| byte == b':') {
                Some(colon) if colon > 0 && line[..colon].iter().copied().all(is_token) => {
                    head.fields.0.push((
                        line[..colon].to_vec(),
                        line[colon + 1..].trim_ascii().to_vec(),
                    ));
                }
                _ => head
                    .violations
                    .push(format!("not a field line: {:?}", text(&line))),
            }
        }
        head
    }

    /// The body's framing by Content-Length and Transfer-Encoding; `otherwise` when there is neither.
    pub fn framing(&mut self, otherwise: Framing) -> Framing {
        let lengths = self.fields.texts("content-length");
        let codings = self.fields.texts("transfer-encoding");
        match (&lengths[..], &codings[..]) {
            ([], []) => otherwise,
            ([length], [])
                if length.bytes().all(|b| b.is_ascii_digit())
                    && !length.is_empty()
                    && length.len() < 19 =>
            {
                Framing::Length(length.parse().unwrap())
            }
            ([], [coding]) if coding == "chunked" => Framing::Chunked,
            _ => {
                self.violations.push(format!(
                    "framing: Content-Length {lengths:?}, Transfer-Encoding {codings:?}"
                ));
                Framing::Close
            }
        }
    }
}

impl<R: Read> Reader<R> {
    /// A reader with an empty buffer.
    pub fn new(inner: R) -> Self {
        let buffer = vec![0; READ_SIZE];
        Self {
            inner,
            buffer,
            position: 0,
            end: 0,
            consumed: 0,
        }
    }

    /// Bytes of the stream that belonged to messages.
    pub fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Bytes read and not yet used.
    pub fn unread(&self) -> &[u8] {
        &self.buffer[self.position..self.end]
    }

    /// Takes bytes read and not yet used; how many of `into` were filled.
    pub fn take_unread(&mut self, into: &mut [u8]) -> usize {
        let count = self.unread().len().min(into.len());
        into[..count].copy_from_slice(&self.unread()[..count]);
        self.take(count);
        count
    }

    /// Reads to the end of the stream.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        while self.fill()? > 0 {}
        let rest = self.unread().to_vec();
        self.take(rest.len());
        Ok(rest)
    }

    /// The next head, or `None` at a clean end of the stream.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` when the stream ends inside the head.
    pub fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(end) = self
                .unread()
                .windows(4)
                .position(|window| window == b"\r\n\r\n")
            {
                return Ok(Some(Head::parse(self.take(end + 4))));
            }
            if self.unread().len() > HEAD_LIMIT {
                return Err(io::Error::other("head too long"));
            }
            if self.fill()? == 0 {
                return if self.unread().is_empty() {
                    Ok(None)
                } else {
                    Err(truncated())
                };
            }
        }
    }

    /// Reads a whole body.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` on truncation, `InvalidData` on a malformed chunk.
    pub fn body(&mut self, framing: Framing) -> io::Result<Body> {
        let mut body = Digesting::default();
        match framing {
            Framing::Empty => {}
            Framing::Length(length) => self.copy(length, &mut body)?,
            Framing::Close => loop {
                body.eat(self.unread());
                self.skip(self.end - self.position);
                if self.fill()? == 0 {
                    break;
                }
            },
            Framing::Chunked => self.chunks(&mut body)?,
        }
        Ok(body.finish())
    }

    fn chunks(&mut self, body: &mut Digesting) -> io::Result<()> {
        loop {
            let line = self.line()?;
            let size = line.split(|&byte| byte == b';').next().unwrap_or_default();
            let plain =
                !size.is_empty() && size.len() <= 15 && size.iter().all(u8::is_ascii_hexdigit);
            if !plain {
                return Err(invalid(format!("chunk size {:?}", text(&line))));
            }
            let size = u64::from_str_radix(&text(size), 16).unwrap();
            if size == 0 {
                break;
            }
            self.copy(size, body)?;
            if !self.line()?.is_empty() {
                return Err(invalid("no line end after a chunk".to_owned()));
            }
        }
        let mut raw = b"trailers\r\n".to_vec();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            raw.extend(line);
            raw.extend(b"\r\n");
        }
        raw.extend(b"\r\n");
        let trailers = Head::parse(raw);
        if !trailers.violations.is_empty() {
            return Err(invalid(format!("trailers: {:?}", trailers.violations)));
        }
        body.0.trailers = trailers.fields;
        Ok(())
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = self
                .unread()
                .windows(2)
                .position(|window| window == b"\r\n")
            {
                let mut line = self.take(end + 2);
                line.truncate(end);
                return Ok(line);
            }
            if self.unread().len() > HEAD_LIMIT || self.fill()? == 0 {
                return Err(truncated());
            }
        }
    }

    fn copy(&mut self, mut left: u64, body: &mut Digesting) -> io::Result<()> {
        while left > 0 {
            if self.unread().is_empty() && self.fill()? == 0 {
                return Err(truncated());
            }
            let have = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(self.unread().len());
            body.eat(&self.unread()[..have]);
            self.skip(have);
            left -= have as u64;
        }
        Ok(())
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let taken = self.unread()[..count].to_vec();
        self.skip(count);
        taken
    }

    fn skip(&mut self, count: usize) {
        self.position += count;
        self.consumed += count as u64;
    }

    fn fill(&mut self) -> io::Result<usize> {
        self.buffer.copy_within(self.position..self.end, 0);
        self.end -= self.position;
        self.position = 0;
        if self.end == self.buffer.len() {
            self.buffer.resize(self.end * 2, 0);
        }
        loop {
            match self.inner.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(count) => {
                    self.end += count;
                    return Ok(count);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Digests what passes and keeps the start of it.
#[derive(Debug, Default)]
struct Digesting(Body, Sha256);

impl Digesting {
    fn eat(&mut self, bytes: &[u8]) {
        self.1.update(bytes);
        self.0.length += bytes.len() as u64;
        let room = KEPT.saturating_sub(self.0.start.len()).min(bytes.len());
        self.0.start.extend(&bytes[..room]);
    }

    fn finish(mut self) -> Body {
        self.0.sha256 = hex(&self.1.finalize());
        self.0
    }
}

/// SHA-256 in lower hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every byte as the character of its number: nothing is lost, unlike with UTF-8.
pub fn text(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn split(body: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = vec![Vec::new()];
    let mut rest = body;
    while let Some((&first, tail)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(b"\r\n") {
            lines.push(Vec::new());
            rest = after;
        } else {
            lines.last_mut().unwrap().push(first);
            rest = tail;
        }
    }
    lines
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn truncated() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the stream ended inside a message",
    )
}

fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

const HEAD_LIMIT: usize = 1 << 20;
const READ_SIZE: usize = 64 * 1024;
const KEPT: usize = 256 * 1024;
