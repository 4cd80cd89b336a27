//! A TLS 1.3 client whose records are sealed by hand, for those that rustls does not send: it shakes hands and reads by
//! rustls, and writes with the secret that rustls told its key log.

use std::io::Write as _;
use std::sync::{Arc, Mutex};

use rustls::crypto::cipher::{AeadKey, Iv, MessageEncrypter, OutboundChunks, OutboundPlainMessage};
use rustls::crypto::tls13::OkmBlock;
use rustls::{CipherSuite, ContentType, KeyLog, ProtocolVersion, Tls13CipherSuite};

use crate::bulk::{Part, good};
use crate::client::Client;
use crate::herald::Herald;

/// See the module's documentation.
pub struct SealingClient {
    client: Client,
    suite: &'static Tls13CipherSuite,
    secret: Vec<u8>,
    encrypter: Box<dyn MessageEncrypter>,
    sequence: u64,
}

#[derive(Debug, Default)]
struct Caught(Mutex<Vec<u8>>);

impl KeyLog for Caught {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        if label == "CLIENT_TRAFFIC_SECRET_0" {
            *self.0.lock().unwrap() = secret.to_vec();
        }
    }
}

impl SealingClient {
    /// Connects with AES-256-GCM.
    pub fn connect(herald: &Herald) -> Self {
        let suite = CipherSuite::TLS13_AES_256_GCM_SHA384;
        let mut config = (*good().suite(suite).build()).clone();
        let caught = Arc::<Caught>::default();
        config.key_log = Arc::<Caught>::clone(&caught);
        let mut client = Client::connect(herald.address(), &Arc::new(config)).unwrap();
        let suite = client.stream().conn.negotiated_cipher_suite().unwrap();
        let suite = suite.tls13().unwrap();
        let secret = caught.0.lock().unwrap().clone();
        Self {
            encrypter: encrypter(suite, &secret),
            client,
            suite,
            secret,
            sequence: 0,
        }
    }

    /// Sends a KeyUpdate, and seals with the next keys from then on.
    pub fn update_keys(&mut self, request: u8) {
        self.send(ContentType::Handshake, &[24, 0, 0, 1, request]);
        let mut next = vec![0; self.secret.len()];
        expand(self.suite, &self.secret, b"traffic upd", &mut next);
        self.encrypter = encrypter(self.suite, &next);
        self.secret = next;
        self.sequence = 0;
    }

    /// Asks for a body of this length and checks it.
    pub fn expect_body(&mut self, length: usize) {
        let part = self.begin(&format!("/{length}"), 0);
        part.finish(&mut self.client, length);
    }

    /// Sends `GET target`, and reads so many bytes of the answer.
    pub fn begin(&mut self, target: &str, count: usize) -> Part {
        let head = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.send(ContentType::ApplicationData, head.as_bytes());
        Part::of(&mut self.client, count)
    }

    /// The reading half.
    pub fn reader(&mut self) -> &mut Client {
        &mut self.client
    }

    fn send(&mut self, typ: ContentType, payload: &[u8]) {
        let message = OutboundPlainMessage {
            typ,
            version: ProtocolVersion::TLSv1_2,
            payload: OutboundChunks::Single(payload),
        };
        let record = self.encrypter.encrypt(message, self.sequence).unwrap();
        self.sequence += 1;
        self.client
            .stream()
            .sock
            .write_all(&record.encode())
            .unwrap();
    }
}

impl std::fmt::Debug for SealingClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealingClient")
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

fn encrypter(suite: &Tls13CipherSuite, secret: &[u8]) -> Box<dyn MessageEncrypter> {
    let (mut key, mut iv) = ([0; 32], [0; 12]);
    expand(suite, secret, b"key", &mut key);
    expand(suite, secret, b"iv", &mut iv);
    suite.aead_alg.encrypter(AeadKey::from(key), Iv::from(iv))
}

/// HKDF-Expand-Label with an empty context (RFC 8446 §7.1).
fn expand(suite: &Tls13CipherSuite, secret: &[u8], label: &[u8], output: &mut [u8]) {
    let length = u16::try_from(output.len()).unwrap().to_be_bytes();
    let label_length = [u8::try_from(6 + label.len()).unwrap()];
    let info: [&[u8]; 5] = [&length, &label_length, b"tls13 ", label, &[0]];
    let expander = suite.hkdf_provider.expander_for_okm(&OkmBlock::new(secret));
    expander.expand_slice(&info, output).unwrap();
}
