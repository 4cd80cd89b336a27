//! The logs a herald writes, read as they grow; and its admin address, asked by hand.

use std::io;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::{fs, thread};

use serde_json::Value;
use tempfile::TempDir;

use crate::herald::Launch;
use crate::wait;

/// A folder for logs and sockets, removed on drop.
#[derive(Debug)]
pub struct Folder(TempDir);

impl Default for Folder {
    fn default() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Folder {
    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `launch` with both logs and an admin socket here.
    pub fn launch(&self, launch: Launch) -> Launch {
        let path = |name: &str| self.path(name).display().to_string();
        launch.args([
            "--access-log".to_owned(),
            path("access.log"),
            "--connection-log".to_owned(),
            path("connection.log"),
            "--admin".to_owned(),
            format!("unix:{}", path("admin.sock")),
        ])
    }

    /// The records of requests, as soon as there are `count`; then a moment more, so that one too many is seen.
    pub fn requests(&self, count: usize) -> Vec<Value> {
        records(&self.path("access.log"), count)
    }

    /// As [`Folder::requests`], those of connections.
    pub fn connections(&self, count: usize) -> Vec<Value> {
        records(&self.path("connection.log"), count)
    }

    /// Asks the admin socket; the status and the body.
    pub fn ask(&self, path: &str) -> (u16, String) {
        let stream = UnixStream::connect(self.path("admin.sock")).unwrap();
        get(stream, "localhost", path).unwrap()
    }

    /// A sample of `/metrics`, by the text before its value.
    pub fn metric(&self, series: &str) -> u64 {
        let (_, page) = self.ask("/metrics");
        let value = page
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        let value = value.unwrap_or_else(|| panic!("{series} is not in\n{page}"));
        value.parse().unwrap()
    }
}

/// The JSON lines of `path`.
pub fn records(path: &Path, count: usize) -> Vec<Value> {
    let read = || {
        let text = fs::read_to_string(path).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let parse = |line: &str| {
            assert!(
                line.bytes().all(|byte| (0x20..0x7f).contains(&byte)),
                "{line:?}"
            );
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
        };
        whole.lines().map(parse).collect::<Vec<Value>>()
    };
    wait::until(&format!("{count} records in {}", path.display()), || {
        (read().len() >= count).then_some(())
    });
    // Twice the time that Herald holds a record back.
    thread::sleep(std::time::Duration::from_millis(250));
    let records = read();
    assert_eq!(records.len(), count, "{records:#?}");
    records
}

/// `GET path` over `stream`; the status and the body.
///
/// # Errors
///
/// Those of the stream.
pub fn get(
    mut stream: impl io::Read + io::Write,
    host: &str,
    path: &str,
) -> io::Result<(u16, String)> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or(io::ErrorKind::InvalidData)?;
    let status = head.get(9..12).and_then(|status| status.parse().ok());
    Ok((status.ok_or(io::ErrorKind::InvalidData)?, body.to_owned()))
}

/// As [`get`], over TCP.
///
/// # Errors
///
/// Those of the stream.
pub fn get_tcp(address: &str, host: &str, path: &str) -> io::Result<(u16, String)> {
    get(TcpStream::connect(address)?, host, path)
}
