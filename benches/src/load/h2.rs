//! HTTP/2 as a client, as much as GETs over many streams need.
//!
//! Requests are one prepared header block without dynamic entries (RFC 7541 §6.2.2), so nothing
//! but the first octet of a response's block is looked at: `:status: 200` is index 8 of the static
//! table, `0x88`, which every peer of the bench sends. Windows are opened as far as they go.

use std::io;
use std::time::Instant;

use super::link::Link;
use crate::framing::invalid;

/// A connection's streams.
pub(super) struct Session {
    block: Vec<u8>,
    next_stream: u32,
    open: Vec<Stream>,
    /// Bytes of a frame that has not arrived whole: its header, and small payloads.
    partial: Vec<u8>,
    /// Bytes of a DATA payload still to come, and its stream if the frame ends it.
    data_left: usize,
    ending: Option<u32>,
    /// Bytes of DATA since the connection's window was last opened.
    unacknowledged: u32,
    /// Frames of ours to send.
    out: Vec<u8>,
}

/// A frame's header (RFC 9113 §4.1).
#[derive(Clone, Copy)]
struct Header {
    length: usize,
    kind: u8,
    flags: u8,
    id: u32,
}

struct Stream {
    id: u32,
    due: Instant,
}

/// What bytes of the peer came to.
#[derive(Default)]
pub(super) struct Came {
    /// When each stream that is now done was due.
    pub(super) done: Vec<Instant>,
    pub(super) bytes: u64,
}

impl Session {
    pub(super) fn new(path: &str) -> io::Result<Self> {
        let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        // SETTINGS_ENABLE_PUSH 0, SETTINGS_INITIAL_WINDOW_SIZE 2^31 - 1 (RFC 9113 §6.5.2).
        let settings = [0, 2, 0, 0, 0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff];
        frame(&mut out, SETTINGS, 0, 0, &settings);
        frame(&mut out, WINDOW_UPDATE, 0, 0, &WINDOW_STEP.to_be_bytes());
        // :method GET, :scheme https; then :path, :authority, user-agent and accept as literals.
        let mut block = vec![0x82, 0x87];
        for (index, value) in [(4, path), (1, "bench.test"), (58, "bench"), (19, "*/*")] {
            literal(&mut block, index, value)?;
        }
        Ok(Self {
            block,
            next_stream: 1,
            open: Vec::new(),
            partial: Vec::new(),
            data_left: 0,
            ending: None,
            unacknowledged: 0,
            out,
        })
    }

    /// Streams with an answer outstanding.
    pub(super) fn in_flight(&self) -> usize {
        self.open.len()
    }

    /// Asks on a new stream. Bytes go out with `flush`.
    pub(super) fn start(&mut self, due: Instant) {
        let id = self.next_stream;
        self.next_stream += 2;
        self.open.push(Stream { id, due });
        let flags = END_STREAM | END_HEADERS;
        frame(&mut self.out, HEADERS, flags, id, &self.block);
    }

    pub(super) fn flush(&mut self, link: &mut Link) -> io::Result<()> {
        if !self.out.is_empty() {
            let written = link.write(&self.out)?;
            self.out.drain(..written);
        }
        link.flush()
    }

    /// Takes bytes of the peer.
    pub(super) fn take(&mut self, mut bytes: &[u8], came: &mut Came) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.data_left > 0 {
                let now = self.data_left.min(bytes.len());
                came.bytes += now as u64;
                bytes = bytes.get(now..).unwrap_or_default();
                self.data_left -= now;
                if self.data_left == 0
                    && let Some(id) = self.ending.take()
                {
                    self.done(id, came)?;
                }
                continue;
            }
            // Bytes join `partial` until it holds a frame header, then (but DATA) the whole frame.
            let wanted = match self.header() {
                Some(header) => FRAME_HEADER + header.length,
                None => FRAME_HEADER,
            };
            let now = (wanted - self.partial.len()).min(bytes.len());
            let (taken, rest) = bytes.split_at(now);
            self.partial.extend_from_slice(taken);
            bytes = rest;
            if let Some(header) = self.header()
                && (header.kind == DATA || self.partial.len() == FRAME_HEADER + header.length)
            {
                self.frame(header, came)?;
                self.partial.clear();
            }
        }
        Ok(())
    }

    /// The header of the frame in `partial`.
    fn header(&self) -> Option<Header> {
        let header: &[u8; FRAME_HEADER] = self.partial.first_chunk()?;
        let [a, b, c, kind, flags, d, e, f, g] = *header;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        Some(Header {
            length,
            kind,
            flags,
            id: u32::from_be_bytes([d & 0x7f, e, f, g]),
        })
    }

    fn frame(&mut self, header: Header, came: &mut Came) -> io::Result<()> {
        let Header {
            length,
            kind,
            flags,
            id,
        } = header;
        let payload = self.partial.get(FRAME_HEADER..).unwrap_or_default();
        match kind {
            DATA => {
                self.data_left = length;
                self.acknowledge(length);
                if flags & END_STREAM != 0 {
                    if length == 0 {
                        self.done(id, came)?;
                    } else {
                        self.ending = Some(id);
                    }
                }
            }
            HEADERS => {
                // A table size update may come first (RFC 7541 §6.3).
                let mut block = payload.iter().skip_while(|octet| **octet >> 5 == 1);
                if block.next() != Some(&STATUS_200) {
                    return Err(invalid("status is not 200"));
                }
                if flags & END_STREAM != 0 {
                    self.done(id, came)?;
                }
            }
            SETTINGS if flags & ACK == 0 => frame(&mut self.out, SETTINGS, ACK, 0, &[]),
            PING if flags & ACK == 0 => frame(&mut self.out, PING, ACK, 0, payload),
            RST_STREAM => return Err(invalid("stream reset")),
            GOAWAY => return Err(invalid("GOAWAY")),
            _ => {}
        }
        Ok(())
    }

    fn done(&mut self, id: u32, came: &mut Came) -> io::Result<()> {
        let place = self.open.iter().position(|stream| stream.id == id);
        let place = place.ok_or_else(|| invalid("an answer on a stream nobody opened"))?;
        came.done.push(self.open.swap_remove(place).due);
        Ok(())
    }

    fn acknowledge(&mut self, length: usize) {
        self.unacknowledged += u32::try_from(length).unwrap_or(u32::MAX);
        if self.unacknowledged > WINDOW_STEP / 2 {
            let step = self.unacknowledged.to_be_bytes();
            frame(&mut self.out, WINDOW_UPDATE, 0, 0, &step);
            self.unacknowledged = 0;
        }
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, id: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or_default();
    out.extend_from_slice(length.to_be_bytes().get(1..).unwrap_or_default());
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(payload);
}

/// A literal without indexing whose name is `index` of the static table (RFC 7541 §6.2.2).
fn literal(block: &mut Vec<u8>, index: u8, value: &str) -> io::Result<()> {
    let length = u8::try_from(value.len())
        .ok()
        .filter(|length| *length < 127);
    let length = length.ok_or_else(|| invalid("path too long"))?;
    // The index has a prefix of four bits (§5.1).
    if index < 15 {
        block.push(index);
    } else {
        block.extend_from_slice(&[15, index - 15]);
    }
    block.push(length);
    block.extend_from_slice(value.as_bytes());
    Ok(())
}

const FRAME_HEADER: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const STATUS_200: u8 = 0x88;
const WINDOW_STEP: u32 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(id: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame(&mut bytes, SETTINGS, 0, 0, &[]);
        frame(&mut bytes, HEADERS, END_HEADERS, id, &[0x20, STATUS_200]);
        frame(&mut bytes, DATA, END_STREAM, id, body);
        bytes
    }

    #[test]
    fn an_answer_is_counted_once_however_it_is_cut() {
        let bytes = answer(1, b"hello");
        for size in 1..bytes.len() {
            let mut session = Session::new("/b/5").unwrap();
            session.start(Instant::now());
            let mut came = Came::default();
            for piece in bytes.chunks(size) {
                session.take(piece, &mut came).unwrap();
            }
            assert_eq!((came.done.len(), came.bytes), (1, 5), "pieces of {size}");
            assert_eq!(session.in_flight(), 0);
        }
    }

    #[test]
    fn a_status_but_200_and_a_reset_are_errors() {
        let mut session = Session::new("/").unwrap();
        session.start(Instant::now());
        let mut bytes = Vec::new();
        frame(&mut bytes, HEADERS, END_HEADERS, 1, &[0x8d]);
        assert!(session.take(&bytes, &mut Came::default()).is_err());
        bytes.clear();
        frame(&mut bytes, RST_STREAM, 0, 1, &[0; 4]);
        let mut session = Session::new("/").unwrap();
        assert!(session.take(&bytes, &mut Came::default()).is_err());
    }
}
