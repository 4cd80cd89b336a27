//! The origin: an HTTP/1.1 server that records every byte of every connection, reads it strictly and answers with a JSON
//! account of what it saw, or with whatever a test scripts.

use std::fmt;
use std::io::{self, Read, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use serde_json::json;

use crate::wire::{Body, Fields, Framing, Reader, text};

/// A running origin. Its threads end with their connections; the listener's ends with the process.
pub struct Origin {
    address: SocketAddr,
    log: Arc<Mutex<Log>>,
}

/// A request as the origin read it.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Which connection of this origin, from 0.
    pub connection: usize,
    /// Which request of that connection, from 0.
    pub index: usize,
    /// The head's bytes.
    pub raw: Vec<u8>,
    /// GET, POST...
    pub method: String,
    /// The request target as sent.
    pub target: String,
    /// HTTP/1.1
    pub version: String,
    /// Header lines in order.
    pub headers: Fields,
    /// The body.
    pub body: Body,
    /// What makes this request readable in two ways. A sound proxy sends none.
    pub violations: Vec<String>,
}

/// What a script wants to happen after its answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next {
    /// Read the next request.
    Keep,
    /// Close the connection.
    Close,
}

/// Writes an answer to a request.
pub type Script = dyn Fn(&Request, &mut TcpStream) -> io::Result<Next> + Send + Sync;

#[derive(Debug, Default)]
struct Log {
    requests: Vec<Request>,
    connections: Vec<Connection>,
}

#[derive(Debug, Default)]
struct Connection {
    raw: Vec<u8>,
    received: u64,
    consumed: u64,
    broken: Option<String>,
    aborted: bool,
}

impl Origin {
    /// Answers 200 with JSON of what it saw.
    pub fn echo() -> Self {
        Self::scripted(|request, stream| {
            stream.write_all(&answer(200, "application/json", &request.to_json()))?;
            Ok(Next::Keep)
        })
    }

    /// Answers by `script`, which is called once the request was read to its end.
    pub fn scripted(
        script: impl Fn(&Request, &mut TcpStream) -> io::Result<Next> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::<Mutex<Log>>::default();
        let shared = Arc::clone(&log);
        let script: Arc<Script> = Arc::new(script);
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let Ok(stream) = stream else { break };
                lock(&shared).connections.push(Connection::default());
                let (log, script) = (Arc::clone(&shared), Arc::clone(&script));
                thread::spawn(move || serve(number, stream, &log, &*script));
            }
        });
        Self { address, log }
    }

    /// Answers every request with exactly `bytes`, then closes or keeps the connection.
    pub fn raw(bytes: impl Into<Vec<u8>>, next: Next) -> Self {
        let bytes = bytes.into();
        Self::scripted(move |_, stream| {
            stream.write_all(&bytes)?;
            Ok(next)
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.log).requests.clone()
    }

    /// All requests so far, which the origin forgets.
    pub fn take(&self) -> Vec<Request> {
        std::mem::take(&mut lock(&self.log).requests)
    }

    /// The only request so far, which the origin forgets.
    ///
    /// # Panics
    ///
    /// When there is none or more than one.
    pub fn take_one(&self) -> Request {
        let mut requests = self.take();
        assert_eq!(requests.len(), 1, "the origin saw {}", describe(&requests));
        requests.remove(0)
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        lock(&self.log).connections.len()
    }

    /// Connections that ended inside a body.
    pub fn aborted(&self) -> usize {
        lock(&self.log)
            .connections
            .iter()
            .filter(|connection| connection.aborted)
            .count()
    }

    /// The first MiB of bytes of connection `number`.
    pub fn raw_bytes(&self, number: usize) -> Vec<u8> {
        lock(&self.log).connections[number].raw.clone()
    }

    /// What was wrong with the bytes of any connection: bytes behind a request's end, broken framing, double readings.
    pub fn complaints(&self) -> Vec<String> {
        let log = lock(&self.log);
        let mut complaints = Vec::new();
        for request in log
            .requests
            .iter()
            .filter(|request| !request.violations.is_empty())
        {
            complaints.push(format!(
                "{:?} in {:?}",
                request.violations,
                text(&request.raw)
            ));
        }
        for (number, connection) in log.connections.iter().enumerate() {
            if let Some(why) = &connection.broken {
                complaints.push(format!(
                    "connection {number}: {why}: {:?}",
                    text(&connection.raw)
                ));
            }
            if connection.received > connection.consumed && !connection.aborted {
                let stray = connection.received - connection.consumed;
                complaints.push(format!(
                    "connection {number}: {stray} stray bytes: {:?}",
                    text(&connection.raw)
                ));
            }
        }
        complaints
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Request {
    /// The account that [`Origin::echo`] answers with. Bytes above 0x7F are the characters of their number.
    pub fn to_json(&self) -> Vec<u8> {
        let pairs = |fields: &Fields| -> Vec<_> {
            fields
                .0
                .iter()
                .map(|(k, v)| json!([text(k), text(v)]))
                .collect()
        };
        let account = json!({
            "method": self.method, "target": self.target, "version": self.version,
            "headers": pairs(&self.headers), "trailers": pairs(&self.body.trailers),
            "body_length": self.body.length, "body_sha256": self.body.sha256,
            "connection": self.connection, "index": self.index,
        });
        account.to_string().into_bytes()
    }
}

/// A short account of requests, for messages: three of them, and no header value beyond 60 characters.
pub fn describe(requests: &[Request]) -> String {
    let shorten = |line: &String| line.chars().take(60).collect::<String>();
    let account = |request: &Request| {
        let lines: Vec<_> = request.headers.lines().iter().map(shorten).collect();
        format!("{} {} {lines:?}", request.method, request.target)
    };
    let heads: Vec<_> = requests.iter().take(3).map(account).collect();
    format!("{} requests: {}", requests.len(), heads.join(" | "))
}

/// A whole response with Content-Length.
pub fn answer(status: u16, kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status} Scripted\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn serve(number: usize, stream: TcpStream, log: &Mutex<Log>, script: &Script) {
    let mut writer = stream.try_clone().unwrap();
    // Small answers must not wait for Nagle.
    stream.set_nodelay(true).unwrap();
    let mut reader = Reader::new(Tap {
        stream,
        log,
        number,
    });
    for index in 0.. {
        match exchange(number, index, &mut reader, &mut writer, script) {
            Ok(Next::Keep) => {}
            Ok(Next::Close) => break,
            Err(error) => {
                // A client that goes away between messages or resets is no finding, half a message is.
                if error.kind() == io::ErrorKind::InvalidData {
                    lock(log).connections[number].broken = Some(error.to_string());
                }
                break;
            }
        }
    }
    // The peer may be gone already.
    drop(writer.shutdown(Shutdown::Both));
}

fn exchange(
    number: usize,
    index: usize,
    reader: &mut Reader<Tap<'_>>,
    writer: &mut TcpStream,
    script: &Script,
) -> io::Result<Next> {
    let Some(mut head) = reader.head()? else {
        return Ok(Next::Close);
    };
    let framing = head.framing(Framing::Empty);
    let mut request = Request {
        connection: number,
        index,
        raw: head.raw,
        ..Request::default()
    };
    let parts: Vec<&str> = head.start.split(' ').collect();
    match parts[..] {
        [method, target, version] => {
            request.method = method.to_owned();
            request.target = target.to_owned();
            request.version = version.to_owned();
        }
        _ => head
            .violations
            .push(format!("request line {:?}", head.start)),
    }
    if head.fields.all("host").count() != 1 {
        head.violations.push("not exactly one Host".to_owned());
    }
    request.headers = head.fields;
    request.violations = head.violations;
    let ambiguous = framing == Framing::Close;
    if head_wants_continue(&request.headers) {
        writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    if !ambiguous {
        request.body = reader.body(framing).inspect_err(|error| {
            // The proxy gave up in the middle of a body: its right, as long as it closes.
            if error.kind() != io::ErrorKind::InvalidData {
                lock(reader.inner.log).connections[number].aborted = true;
            }
        })?;
    }
    let log = reader.inner.log;
    {
        let mut log = lock(log);
        log.connections[number].consumed = reader.consumed();
        log.requests.push(request.clone());
    }
    let next = script(&request, writer)?;
    Ok(if ambiguous { Next::Close } else { next })
}

fn head_wants_continue(headers: &Fields) -> bool {
    headers
        .all("expect")
        .any(|value| value.eq_ignore_ascii_case(b"100-continue"))
}

/// Records what is read.
struct Tap<'a> {
    stream: TcpStream,
    log: &'a Mutex<Log>,
    number: usize,
}

impl Read for Tap<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        let mut log = lock(self.log);
        let connection = &mut log.connections[self.number];
        connection.received += count as u64;
        let room = RAW_KEPT.saturating_sub(connection.raw.len()).min(count);
        connection.raw.extend(&buffer[..room]);
        Ok(count)
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap()
}

const RAW_KEPT: usize = 1 << 20;
