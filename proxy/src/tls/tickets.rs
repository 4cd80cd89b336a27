//! Session tickets (RFC 8446 §4.6.1, RFC 5077): a session rides, sealed, with its client. The key is
//! derived (HKDF, RFC 5869) from a secret and a digest of the application's trust and mode: Heralds
//! that share the secret resume each other's sessions, and a ticket of one trust means nothing to
//! another, whatever the server name says. The verdict is not in it: it is reached again each time.
//!
//! A ticket says when the first, full handshake was, and each that follows it says the same: however
//! often a session is resumed, it ends at its time.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use rustls::server::ProducesTickets;
use thiserror::Error;
use zeroize::Zeroizing;

use super::provider::provider;
use crate::clock;

/// Secrets that ticket keys are derived from: the first makes tickets, all read them. Never empty.
#[derive(Clone)]
pub struct TicketSecrets(Arc<[Zeroizing<[u8; SECRET_LEN]>]>);

/// Why there are no secrets.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum SecretError {
    /// A line, counted from 1.
    #[error("line {0} is not 64 hexadecimal digits")]
    Line(usize),
    /// Nothing but comments, or more than anybody rotates through.
    #[error("it holds {0} secrets")]
    Count(usize),
    /// The library's generator.
    #[error("no random bytes to be had")]
    NoRandom,
    /// A key could not be made.
    #[error("no key can be derived")]
    Derive,
}

impl TicketSecrets {
    /// A secret that nobody else has.
    ///
    /// # Errors
    /// A generator that gives nothing.
    pub fn random() -> Result<Self, SecretError> {
        let mut secret = Zeroizing::new([0; SECRET_LEN]);
        let filled = provider().secure_random.fill(&mut *secret);
        filled.map_err(|_unnamed| SecretError::NoRandom)?;
        Ok(Self(Arc::from([secret])))
    }

    /// Those of a file, one a line in hexadecimal, newest first.
    ///
    /// # Errors
    /// A line that is none; none or too many of them.
    pub fn parse(text: &[u8]) -> Result<Self, SecretError> {
        let mut secrets = Vec::new();
        for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if !line.is_empty() && !line.starts_with(b"#") {
                secrets.push(secret(line).ok_or(SecretError::Line(number + 1))?);
            }
        }
        match secrets.len() {
            1..=SECRETS_MAX => Ok(Self(secrets.into())),
            count => Err(SecretError::Count(count)),
        }
    }
}

fn secret(hex: &[u8]) -> Option<Zeroizing<[u8; SECRET_LEN]>> {
    let mut secret = Zeroizing::new([0; SECRET_LEN]);
    if hex.len() != 2 * SECRET_LEN {
        return None;
    }
    for (octet, pair) in secret.iter_mut().zip(hex.chunks(2)) {
        let digits = str::from_utf8(pair).ok()?;
        if digits.starts_with('+') {
            return None;
        }
        *octet = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(secret)
}

/// The tickets of the applications of one trust and mode, shared by all workers.
#[derive(Debug)]
pub struct Tickets {
    /// At least one; the first makes tickets.
    keys: Vec<TicketKey>,
    /// From the first handshake, seconds.
    lifetime: u64,
}

struct TicketKey {
    /// Goes before each ticket.
    name: [u8; NAME_LEN],
    /// A repeated nonce of this algorithm (RFC 8452) gives away only that two tickets are the same:
    /// nonces may be random, however many workers make them.
    key: LessSafeKey,
}

impl Tickets {
    /// Derives the keys for `trust`, a digest of what decides who passes. Sessions end `lifetime`
    /// after their first handshake.
    ///
    /// # Errors
    /// A derivation that fails.
    pub fn new(
        secrets: &TicketSecrets,
        trust: &[u8; 32],
        lifetime: Duration,
    ) -> Result<Arc<Self>, SecretError> {
        let keys = secrets
            .0
            .iter()
            .map(|secret| TicketKey::derive(secret, trust));
        Ok(Arc::new(Self {
            keys: keys.collect::<Option<_>>().ok_or(SecretError::Derive)?,
            lifetime: lifetime.as_secs(),
        }))
    }

    /// What one connection seals and opens tickets with.
    pub fn of_connection(self: &Arc<Self>) -> Arc<dyn ProducesTickets> {
        Arc::new(ConnectionTickets {
            tickets: Arc::clone(self),
            born: AtomicU64::new(0),
        })
    }

    fn seal(&self, born: u64, session: &[u8]) -> Option<Vec<u8>> {
        if session.len() > SESSION_MAX {
            return None;
        }
        let TicketKey { name, key } = self.keys.first()?;
        let mut nonce = [0; NONCE_LEN];
        provider().secure_random.fill(&mut nonce).ok()?;
        let mut sealed = Zeroizing::new(Vec::with_capacity(session.len() + OVERHEAD));
        sealed.extend_from_slice(&born.to_be_bytes());
        sealed.extend_from_slice(session);
        let unique = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(unique, Aad::from(name), &mut *sealed)
            .ok()?;
        let mut ticket = Vec::with_capacity(NAME_LEN + NONCE_LEN + sealed.len());
        ticket.extend_from_slice(name);
        ticket.extend_from_slice(&nonce);
        ticket.extend_from_slice(&sealed);
        Some(ticket)
    }

    /// When the session's first handshake was, and the session.
    fn open(&self, ticket: &[u8], now: u64) -> Option<(u64, Vec<u8>)> {
        let (name, rest) = ticket.split_at_checked(NAME_LEN)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let key = &self.keys.iter().find(|key| key.name == name)?.key;
        let mut plain = sealed.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = key.open_in_place(nonce, Aad::from(name), &mut plain).ok()?;
        let (born, session) = opened.split_at_checked(size_of::<u64>())?;
        let born = u64::from_be_bytes(born.try_into().ok()?);
        // Another Herald's clock may be a little ahead.
        let age = (now + CLOCKS_APART).checked_sub(born)?;
        (age < self.lifetime + CLOCKS_APART).then(|| (born, session.to_vec()))
    }
}

impl TicketKey {
    fn derive(secret: &[u8; SECRET_LEN], trust: &[u8; 32]) -> Option<Self> {
        let secret = Salt::new(HKDF_SHA256, PURPOSE).extract(secret);
        let mut material = Zeroizing::new([0; KEY_LEN + NAME_LEN]);
        let info: [&[u8]; 1] = [trust];
        let okm = secret.expand(&info, Material).ok()?;
        okm.fill(&mut *material).ok()?;
        let (key, name) = material.split_at_checked(KEY_LEN)?;
        Some(Self {
            name: name.try_into().ok()?,
            key: LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, key).ok()?),
        })
    }
}

/// How much is derived.
struct Material;

impl KeyType for Material {
    fn len(&self) -> usize {
        KEY_LEN + NAME_LEN
    }
}

/// The tickets of one connection: what it opened decides how long what it seals is good.
#[derive(Debug)]
struct ConnectionTickets {
    tickets: Arc<Tickets>,
    /// Unix seconds of the first handshake; 0 until a ticket was opened. A ticket that was opened
    /// and then refused makes the next one end earlier, never later.
    born: AtomicU64,
}

impl ConnectionTickets {
    fn born(&self, now: u64) -> u64 {
        match self.born.load(Ordering::Relaxed) {
            0 => now,
            born => born.min(now),
        }
    }
}

impl ProducesTickets for ConnectionTickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        let now = clock::unix_now();
        let left = (self.born(now) + self.tickets.lifetime).saturating_sub(now);
        u32::try_from(left).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.tickets.seal(self.born(clock::unix_now()), plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let (born, session) = self.tickets.open(cipher, clock::unix_now())?;
        self.born.store(born, Ordering::Relaxed);
        Some(session)
    }
}

impl fmt::Debug for TicketSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketSecrets({})", self.0.len())
    }
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKey")
    }
}

const SECRET_LEN: usize = 32;
const SECRETS_MAX: usize = 16;
const KEY_LEN: usize = 32;
const NAME_LEN: usize = 16;
/// The time and the tag.
const OVERHEAD: usize = 8 + 16;
/// Larger sessions, those with larger chains, are not resumed: their clients would send the ticket
/// with every handshake.
const SESSION_MAX: usize = 32 * 1024;
/// Seconds.
const CLOCKS_APART: u64 = 5;
const PURPOSE: &[u8] = b"herald session ticket 1";

#[cfg(test)]
mod tests {
    use super::*;

    fn tickets(secrets: &TicketSecrets, trust: u8) -> Arc<Tickets> {
        Tickets::new(secrets, &[trust; 32], Duration::from_secs(100)).unwrap()
    }

    fn of(lines: &[&str]) -> TicketSecrets {
        TicketSecrets::parse(lines.join("\n").as_bytes()).unwrap()
    }

    #[test]
    fn a_ticket_is_good_for_its_trust_and_secret_alone() {
        let (old, new) = ("0a".repeat(32), "ff".repeat(32));
        let ours = tickets(&of(&[&old]), 1);
        let ticket = ours.seal(1000, b"session").unwrap();
        assert_eq!(ours.open(&ticket, 1000), Some((1000, b"session".to_vec())));
        let fleet = tickets(&of(&["# rotated", &new, "", &old]), 1);
        assert!(
            fleet.open(&ticket, 1000).is_some(),
            "another process, a rotated file"
        );
        assert!(ours.open(&fleet.seal(1000, b"s").unwrap(), 1000).is_none());
        for other in [tickets(&of(&[&old]), 2), tickets(&of(&[&new]), 1)] {
            assert!(other.open(&ticket, 1000).is_none());
        }
        for at in 0..ticket.len() {
            let mut forged = ticket.clone();
            forged[at] ^= 1;
            assert!(ours.open(&forged, 1000).is_none(), "byte {at}");
            assert!(ours.open(&ticket[..at], 1000).is_none(), "cut at {at}");
        }
    }

    #[test]
    fn however_often_it_is_resumed_a_session_ends_at_its_time() {
        let ours = tickets(&TicketSecrets::random().unwrap(), 1);
        let ticket = ours.seal(1000, b"session").unwrap();
        assert!(ours.open(&ticket, 1099).is_some());
        assert!(ours.open(&ticket, 1100).is_none());
        assert!(ours.open(&ticket, 900).is_none(), "it is from the future");
        // What a connection seals after it has opened a ticket is as old as that.
        let now = clock::unix_now();
        let connection = ours.of_connection();
        let first = ours.seal(now - 60, b"session").unwrap();
        assert_eq!(connection.decrypt(&first).unwrap(), b"session");
        let next = connection.encrypt(b"session").unwrap();
        assert_eq!(ours.open(&next, now).unwrap().0, now - 60);
        assert!((38..=40).contains(&connection.lifetime()));
        assert!(ours.of_connection().lifetime() >= 99);
    }

    #[test]
    fn huge_sessions_and_odd_secrets_are_refused() {
        let ours = tickets(&TicketSecrets::random().unwrap(), 1);
        assert!(ours.seal(0, &vec![0; SESSION_MAX + 1]).is_none());
        let good = "ab".repeat(32);
        for (text, error) in [
            (String::new(), SecretError::Count(0)),
            ("# none\n".to_owned(), SecretError::Count(0)),
            (format!("{good}\nab"), SecretError::Line(2)),
            (format!("+{}", &good[1..]), SecretError::Line(1)),
            (vec![good.as_str(); 17].join("\n"), SecretError::Count(17)),
        ] {
            assert_eq!(
                TicketSecrets::parse(text.as_bytes()).unwrap_err(),
                error,
                "{text}"
            );
        }
    }
}
