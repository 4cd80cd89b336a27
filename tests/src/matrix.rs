//! The cells of {SNI} x {Host} x {CA} x {way}: two applications with a CA each, every name a handshake and a request can
//! have, fresh and resumed connections. Which answer is right is for the tests to say.

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;

use crate::client::{Client, Settings};
use crate::h2::Raw;
use crate::pki::Pki;

/// What the handshake asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sni {
    /// `a.test`
    A,
    /// `b.test`
    B,
    /// No name.
    None,
    /// A name that nobody has.
    Unknown,
}

/// Where the request says it goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Host {
    /// `a.test`
    A,
    /// `b.test`
    B,
    /// A name that nobody has.
    Unknown,
    /// The target itself names it; on HTTP/2 `:authority` and `host` both do.
    AbsoluteA,
    /// As [`Host::AbsoluteA`].
    AbsoluteB,
}

/// Whose certificate the client has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ca {
    /// The one that `a` trusts.
    A,
    /// The one that `b` trusts.
    B,
    /// No certificate.
    None,
}

/// How the connection was made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Way {
    H1,
    H2,
    H1Resumed,
    H2Resumed,
}

impl Sni {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::A, Self::B, Self::None, Self::Unknown];

    /// The name that the server's certificate must have.
    pub fn verified_name(self) -> &'static str {
        match self {
            Self::A => "a.test",
            Self::B => "b.test",
            Self::None => "none.test",
            Self::Unknown => "unknown.test",
        }
    }
}

impl Host {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::A,
        Self::B,
        Self::Unknown,
        Self::AbsoluteA,
        Self::AbsoluteB,
    ];

    /// The name in the request.
    pub fn name(self) -> &'static str {
        match self {
            Self::A | Self::AbsoluteA => "a.test",
            Self::B | Self::AbsoluteB => "b.test",
            Self::Unknown => "unknown.test",
        }
    }

    /// Whether the target is an absolute URL.
    pub fn is_absolute(self) -> bool {
        matches!(self, Self::AbsoluteA | Self::AbsoluteB)
    }
}

impl Ca {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::A, Self::B, Self::None];
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::H1, Self::H2, Self::H1Resumed, Self::H2Resumed];

    /// Whether HTTP/2 is spoken.
    pub fn is_h2(self) -> bool {
        matches!(self, Self::H2 | Self::H2Resumed)
    }

    /// Whether a session is resumed.
    pub fn is_resumed(self) -> bool {
        matches!(self, Self::H1Resumed | Self::H2Resumed)
    }
}

/// A client of one cell, with no session yet.
pub fn client(sni: Sni, ca: Ca, h2: bool) -> Arc<ClientConfig> {
    let pki = Pki::shared();
    let identity = match ca {
        Ca::A => Some(pki.good()),
        Ca::B => Some(pki.wrong_ca()),
        Ca::None => None,
    };
    let settings = Settings::new(identity.as_ref()).alpn(&[if h2 { "h2" } else { "http/1.1" }]);
    let mut config = ClientConfig::clone(&settings.build());
    config.enable_sni = sni != Sni::None;
    Arc::new(config)
}

/// The head of a request over HTTP/1.1.
pub fn head(host: Host) -> String {
    let name = host.name();
    let target = match host.is_absolute() {
        true => format!("https://{name}/"),
        false => "/".to_owned(),
    };
    format!("GET {target} HTTP/1.1\r\nHost: {name}\r\n\r\n")
}

/// The fields of a request over HTTP/2.
pub fn fields(host: Host) -> Vec<(&'static [u8], &'static [u8])> {
    let mut fields: Vec<(&[u8], &[u8])> = vec![
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":path", b"/"),
        (b":authority", host.name().as_bytes()),
    ];
    if host.is_absolute() {
        fields.push((b"host", host.name().as_bytes()));
    }
    fields
}

/// Asks once; the status.
///
/// # Errors
///
/// Where the server ended the connection instead.
pub fn ask(mut client: Client, way: Way, host: Host) -> io::Result<u16> {
    if !way.is_h2() {
        return Ok(client.ask(head(host).as_bytes())?.status);
    }
    let answer = Raw::over(client)?.ask(&fields(host), None)?;
    answer
        .status
        .ok_or_else(|| io::Error::other("the stream was reset"))
}
