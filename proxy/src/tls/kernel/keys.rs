//! The secret that our records are sealed with (RFC 8446 §7): caught while rustls derives it,
//! turned into keys for the kernel, and moved on a generation at a KeyUpdate. Wiped when dropped.

use std::cell::RefCell;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use ktls_core::{AeadKey, ConnectionTrafficSecrets, ProtocolVersion, TlsCryptoInfoTx};
use rustls::crypto::tls13::OkmBlock;
use rustls::{CipherSuite, KeyLog, SupportedCipherSuite, Tls13CipherSuite};
use zeroize::{Zeroize, Zeroizing};

/// A secret of one generation with the suite it belongs to.
pub struct Keys {
    suite: &'static Tls13CipherSuite,
    secret: Secret,
}

/// A secret, wiped when dropped.
pub type Secret = Zeroizing<Vec<u8>>;

/// Hands the secrets that a connection derives to [`catch`]. rustls has no other way to tell the
/// sending half's secret and keep the connection.
#[derive(Debug)]
pub struct KeyTap;

impl KeyLog for KeyTap {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        if label == LABEL {
            let secret = Zeroizing::new(secret.to_vec());
            CAUGHT.with_borrow_mut(|caught| *caught = Some(secret));
        }
    }

    fn will_log(&self, label: &str) -> bool {
        label == LABEL
    }
}

thread_local! {
    /// What was derived during the poll that is going on: rustls derives within a call.
    static CAUGHT: RefCell<Option<Secret>> = const { RefCell::new(None) };
}

/// Runs a handshake, and keeps the secret that it derives with a [`KeyTap`] in its configuration.
pub fn catch<F>(handshake: F) -> impl Future<Output = (F::Output, Option<Secret>)>
where
    F: Future + Unpin,
{
    Catching {
        handshake,
        secret: None,
    }
}

struct Catching<F> {
    handshake: F,
    secret: Option<Secret>,
}

impl<F: Future + Unpin> Future for Catching<F> {
    type Output = (F::Output, Option<Secret>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = Pin::new(&mut self.handshake).poll(cx);
        if let Some(secret) = CAUGHT.take() {
            self.secret = Some(secret);
        }
        polled.map(|output| (output, self.secret.take()))
    }
}

impl Keys {
    /// The keys that `secret` makes for a suite of TLS 1.3; older versions have none.
    pub fn new(suite: SupportedCipherSuite, secret: Secret) -> Option<Self> {
        let suite = suite.tls13()?;
        Some(Self { suite, secret })
    }

    /// The cipher suite.
    pub fn suite(&self) -> CipherSuite {
        self.suite.common.suite
    }

    /// What the kernel is told, to go on with record `sequence`. `None` for a suite or a secret
    /// that the kernel could not use.
    pub(super) fn for_kernel(&self, sequence: u64) -> Option<TlsCryptoInfoTx> {
        let mut nonce = [0; 12];
        self.expand(b"iv", &mut nonce)?;
        let (salt, iv) = nonce.split_first_chunk::<4>()?;
        let (salt, iv) = (*salt, <[u8; 8]>::try_from(iv).ok()?);
        let secrets = match self.suite() {
            CipherSuite::TLS13_AES_128_GCM_SHA256 => ConnectionTrafficSecrets::Aes128Gcm {
                key: self.key()?,
                iv,
                salt,
            },
            CipherSuite::TLS13_AES_256_GCM_SHA384 => ConnectionTrafficSecrets::Aes256Gcm {
                key: self.key()?,
                iv,
                salt,
            },
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => {
                ConnectionTrafficSecrets::Chacha20Poly1305 {
                    key: self.key()?,
                    iv: nonce,
                    salt: [],
                }
            }
            _ => return None,
        };
        nonce.zeroize();
        TlsCryptoInfoTx::new(ProtocolVersion::TLSv1_3, secrets, sequence).ok()
    }

    /// The next generation (RFC 8446 §7.2).
    pub(super) fn update(&mut self) -> Option<()> {
        let mut next = Zeroizing::new(vec![0; self.secret.len()]);
        self.expand(b"traffic upd", &mut next)?;
        self.secret = next;
        Some(())
    }

    fn key<const N: usize>(&self) -> Option<AeadKey<N>> {
        let mut key = Zeroizing::new([0; N]);
        self.expand(b"key", key.as_mut())?;
        Some(AeadKey::new(*key))
    }

    /// HKDF-Expand-Label with an empty context (RFC 8446 §7.1).
    fn expand(&self, label: &[u8], output: &mut [u8]) -> Option<()> {
        let length = u16::try_from(output.len()).ok()?.to_be_bytes();
        let label_length = [u8::try_from(PREFIX.len() + label.len()).ok()?];
        let info = [&length[..], &label_length, PREFIX, label, &[0]];
        let expander = self
            .suite
            .hkdf_provider
            .expander_for_okm(&OkmBlock::new(&self.secret));
        expander.expand_slice(&info, output).ok()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("suite", &self.suite())
            .finish_non_exhaustive()
    }
}

/// The key log's name for the secret of the server's application data.
const LABEL: &str = "SERVER_TRAFFIC_SECRET_0";
const PREFIX: &[u8] = b"tls13 ";

#[cfg(test)]
impl Keys {
    pub(super) fn of(suite: &'static Tls13CipherSuite, secret: &[u8]) -> Self {
        Self {
            suite,
            secret: Zeroizing::new(secret.to_vec()),
        }
    }

    pub(super) fn expanded<const N: usize>(&self, label: &[u8]) -> [u8; N] {
        let mut output = [0; N];
        self.expand(label, &mut output).unwrap();
        output
    }
}
