//! What this kernel can do, found out by doing it on a pair of sockets over loopback: the protocol
//! layer, each cipher, a second key, a splice; and its version, for what cannot be tried safely.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::path::Path;

use ktls_core::{AeadKey, ConnectionTrafficSecrets, ProtocolVersion, TlsCryptoInfoTx, setup_ulp};
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};
use rustls::CipherSuite;

use super::Wish;

/// What was found, for people and for [`super::decide`].
#[derive(Clone, Debug)]
pub struct Finding {
    /// The kernel.
    pub release: Release,
    /// What it can do, or why it can do nothing.
    pub ability: Result<Ability, String>,
}

/// What kernel TLS can do here.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Ability {
    /// AES-128-GCM.
    pub aes128: bool,
    /// AES-256-GCM.
    pub aes256: bool,
    /// ChaCha20-Poly1305.
    pub chacha20: bool,
    /// Keys can be replaced on an open connection (since 6.14).
    pub rekey: bool,
    /// A pipe can be spliced into such a socket.
    pub splice: bool,
}

#[cfg(test)]
impl Ability {
    /// All there is.
    pub(in crate::tls) const ALL: Self = Self {
        aes128: true,
        aes256: true,
        chacha20: true,
        rekey: true,
        splice: true,
    };
}

/// A kernel's version.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Release {
    numbers: [u32; 3],
    text: String,
}

impl Finding {
    /// Tries what can be tried, on a few sockets on loopback. For `auto`, which nobody needs to have asked for, only
    /// where the release is good enough and the module is loaded already.
    pub fn probe(wish: Wish) -> Self {
        let release = Release::here();
        let obstacle = match wish {
            Wish::Auto => release.obstacle_to_auto().or_else(not_loaded),
            _ => None,
        };
        Self {
            ability: obstacle.map_or_else(Ability::probe, Err),
            release,
        }
    }
}

impl Ability {
    fn probe() -> Result<Self, String> {
        let cannot = |error: io::Error| format!("no loopback sockets for the probe: {error}");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        let mut ability = Self::default();
        for suite in SUITES {
            let socket = TcpStream::connect(address).map_err(cannot)?;
            let (_peer, _) = listener.accept().map_err(cannot)?;
            setup_ulp(&socket).map_err(|error| {
                format!("no kernel TLS here ({error}); is the module `tls` loaded?")
            })?;
            let Some(keys) = info(suite, 0) else { continue };
            if keys.set(&socket).is_err() {
                continue;
            }
            match suite {
                CipherSuite::TLS13_AES_128_GCM_SHA256 => ability.aes128 = true,
                CipherSuite::TLS13_AES_256_GCM_SHA384 => ability.aes256 = true,
                _ => ability.chacha20 = true,
            }
            ability.splice |= spliced(&socket).is_ok();
            ability.rekey |= info(suite, 0).is_some_and(|next| next.set(&socket).is_ok());
        }
        if ability.aes128 || ability.aes256 || ability.chacha20 {
            Ok(ability)
        } else {
            Err("kernel TLS is here, but none of its ciphers for TLS 1.3".to_owned())
        }
    }

    /// Whether the kernel can seal with `suite`.
    pub fn seals(&self, suite: CipherSuite) -> bool {
        match suite {
            CipherSuite::TLS13_AES_128_GCM_SHA256 => self.aes128,
            CipherSuite::TLS13_AES_256_GCM_SHA384 => self.aes256,
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => self.chacha20,
            _ => false,
        }
    }

    /// Why bodies are not moved on a kernel of `release`, if they are not.
    pub(super) fn obstacle_to_splice(&self, release: &Release) -> Option<String> {
        let refused = "this kernel refuses to splice into kernel TLS";
        let is_refused = || (!self.splice).then(|| refused.to_owned());
        release.obstacle_to_splice().or_else(is_refused)
    }
}

impl fmt::Display for Ability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            (self.aes128, "AES-128-GCM"),
            (self.aes256, "AES-256-GCM"),
            (self.chacha20, "ChaCha20-Poly1305"),
            (self.rekey, "rekey"),
            (self.splice, "splice"),
        ];
        let words: Vec<_> = all
            .iter()
            .filter(|(has, _)| *has)
            .map(|(_, word)| *word)
            .collect();
        f.write_str(&words.join(", "))
    }
}

impl Release {
    /// The versions from which on the fixes are in, for people.
    const FLOORS: &str = "6.1.191, 6.12.114, 7.2";

    fn here() -> Self {
        let uname = rustix::system::uname();
        Self::read(
            &uname.release().to_string_lossy(),
            &uname.version().to_string_lossy(),
        )
    }

    /// Debian's 6.1 calls itself `6.1.0-56`; its patch level is in the build's text, as in
    /// `#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-11-12)`.
    fn read(release: &str, version: &str) -> Self {
        let numbers = numbers(release);
        let debian = version
            .split_once("Debian ")
            .map(|(_, rest)| self::numbers(rest));
        let numbers = debian
            .filter(|found| found.iter().take(2).eq(numbers.iter().take(2)))
            .unwrap_or(numbers);
        let [major, minor, patch] = numbers;
        Self {
            numbers,
            text: format!("{major}.{minor}.{patch}"),
        }
    }

    fn is_at_least(&self, numbers: [u32; 3]) -> bool {
        self.numbers >= numbers
    }

    fn obstacle_to_splice(&self) -> Option<String> {
        // Before 6.5 splice went through sendpage, and hung with small send buffers.
        (!self.is_at_least([6, 5, 0]))
            .then(|| format!("splice needs a kernel of 6.5 or later, this is {self}"))
    }

    /// Why `auto` takes nothing on this kernel whatever it can do, if it takes nothing.
    pub(super) fn obstacle_to_auto(&self) -> Option<String> {
        let is_unsound = || {
            (!self.is_sound()).then(|| {
                let floors = Self::FLOORS;
                format!("kernel {self} is not known to have the fixes that matter ({floors})")
            })
        };
        self.obstacle_to_splice().or_else(is_unsound)
    }

    /// Whether the fixes of 2026 are known to be in: races and stalls of the sending side that
    /// were found and mended in these versions. Series in between are not known to have them.
    fn is_sound(&self) -> bool {
        match self.numbers {
            [6, 1, patch] => patch >= 191,
            [6, 12, patch] => patch >= 114,
            _ => self.is_at_least([7, 2, 0]),
        }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn numbers(text: &str) -> [u32; 3] {
    let mut numbers = [0; 3];
    let parts = text.split(|c: char| !c.is_ascii_digit());
    for (number, part) in numbers.iter_mut().zip(parts) {
        *number = part.parse().unwrap_or(0);
    }
    numbers
}

/// Says so where the kernel's module is not loaded, and how to load it. To try it out would have the kernel load it for a
/// process with `CAP_NET_ADMIN` (`__tcp_ulp_find_autoload` in net/ipv4/tcp_ulp.c).
fn not_loaded() -> Option<String> {
    // In each network namespace, as long as the module is there (net/tls/tls_proc.c).
    let is_loaded = Path::new("/proc/self/net/tls_stat").exists();
    (!is_loaded).then(|| {
        "the module `tls` is not loaded (`modprobe tls`, and for each start a line `tls` in /etc/modules-load.d/tls.conf)"
            .to_owned()
    })
}

/// Keys of zeros: they seal a few bytes that nobody reads.
fn info(suite: CipherSuite, sequence: u64) -> Option<TlsCryptoInfoTx> {
    let secrets = match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => ConnectionTrafficSecrets::Aes128Gcm {
            key: AeadKey::new([0; 16]),
            iv: [0; 8],
            salt: [0; 4],
        },
        CipherSuite::TLS13_AES_256_GCM_SHA384 => ConnectionTrafficSecrets::Aes256Gcm {
            key: AeadKey::new([0; 32]),
            iv: [0; 8],
            salt: [0; 4],
        },
        _ => ConnectionTrafficSecrets::Chacha20Poly1305 {
            key: AeadKey::new([0; 32]),
            iv: [0; 12],
            salt: [],
        },
    };
    TlsCryptoInfoTx::new(ProtocolVersion::TLSv1_3, secrets, sequence).ok()
}

fn spliced(socket: &TcpStream) -> io::Result<()> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    let bytes = b"probe";
    rustix::io::write(&write, bytes)?;
    let moved = splice(
        &read,
        None,
        socket.as_fd(),
        None,
        bytes.len(),
        SpliceFlags::NONBLOCK,
    )?;
    (moved == bytes.len())
        .then_some(())
        .ok_or_else(|| io::ErrorKind::WriteZero.into())
}

const SUITES: [CipherSuite; 3] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS13_AES_256_GCM_SHA384,
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
];

#[cfg(test)]
impl Release {
    pub(super) fn of(release: &str, version: &str) -> Self {
        Self::read(release, version)
    }
}
