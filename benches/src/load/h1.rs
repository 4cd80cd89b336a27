//! HTTP/1.1 as a client: one request at a time.

use std::io;

use super::link::Link;
use crate::framing;

/// The request, and where its answer stands.
pub(super) struct Exchange {
    head: Vec<u8>,
    /// Bytes of a request body, and of them still to write.
    body: u64,
    unsent: u64,
    /// Bytes of bodies given to TLS since last asked.
    sent: u64,
    /// What has arrived of the answer's head; `None` once it was whole.
    answer: Option<Vec<u8>>,
    remaining: u64,
}

impl Exchange {
    pub(super) fn new(path: &str, post: Option<u64>) -> Self {
        let (method, length) = match post {
            Some(length) => ("POST", format!("Content-Length: {length}\r\n")),
            None => ("GET", String::new()),
        };
        Self {
            head: format!(
                "{method} {path} HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: bench\r\n\
                 Accept: */*\r\n{length}\r\n"
            )
            .into_bytes(),
            body: post.unwrap_or(0),
            unsent: 0,
            sent: 0,
            answer: None,
            remaining: 0,
        }
    }

    /// Has the request say something more: a whole line of its head.
    pub(super) fn say(&mut self, line: &str) {
        let end = self.head.len().saturating_sub(2);
        self.head.splice(end..end, line.bytes().chain(*b"\r\n"));
    }

    /// Sends the request (the head now, a large body as there is room).
    pub(super) fn start(&mut self, link: &mut Link) -> io::Result<()> {
        // One record for head and small body, as a client library writes them.
        if self.body > 0 && self.body <= SMALL {
            let body = usize::try_from(self.body).unwrap_or_default();
            let mut whole = self.head.clone();
            whole.resize(self.head.len() + body, b'x');
            write_whole(link, &whole)?;
            self.sent += self.body;
        } else {
            write_whole(link, &self.head)?;
            self.unsent = self.body;
        }
        self.answer = Some(Vec::new());
        self.send_body(link)
    }

    /// Goes on with a large body.
    pub(super) fn send_body(&mut self, link: &mut Link) -> io::Result<()> {
        link.flush()?;
        while self.unsent > 0 && link.has_room() {
            let most = usize::try_from(self.unsent).unwrap_or(usize::MAX);
            let written = link.write(BODY.get(..most.min(BODY.len())).unwrap_or_default())?;
            self.unsent -= written as u64;
            self.sent += written as u64;
            link.flush()?;
        }
        Ok(())
    }

    /// Takes bytes of the answer; whether it is whole now, and how many bytes of body there were.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> io::Result<(bool, u64)> {
        if let Some(answer) = &mut self.answer {
            answer.extend_from_slice(bytes);
            let Some(head) = framing::head(answer)? else {
                return Ok((false, 0));
            };
            if !answer.starts_with(b"HTTP/1.1 200") {
                return Err(framing::invalid("status is not 200"));
            }
            let before = answer.len() - bytes.len();
            bytes = bytes.get(head.length - before..).unwrap_or_default();
            self.answer = None;
            self.remaining = head.body;
        } else if self.remaining == 0 {
            return Err(framing::invalid("an answer nobody asked for"));
        }
        let body = bytes.len() as u64;
        if body > self.remaining {
            return Err(framing::invalid("more body than announced"));
        }
        self.remaining -= body;
        Ok((self.remaining == 0, body))
    }

    /// Bytes of bodies sent since this was last asked.
    pub(super) fn take_sent(&mut self) -> u64 {
        std::mem::take(&mut self.sent)
    }
}

fn write_whole(link: &mut Link, bytes: &[u8]) -> io::Result<()> {
    if link.write(bytes)? == bytes.len() {
        Ok(())
    } else {
        Err(framing::invalid("a request was cut by a full buffer"))
    }
}

const SMALL: u64 = 16 * 1024;
static BODY: [u8; 64 * 1024] = [b'x'; 64 * 1024];
