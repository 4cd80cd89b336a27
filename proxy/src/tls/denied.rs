//! An operator's own list of certificates that are not to pass, whatever their CA says: one a line,
//! by serial number, fingerprint or public key. Takes text, refuses any line that is not understood.

use std::collections::HashSet;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::facts::Facts;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Denied {
    serials: HashSet<Box<[u8]>>,
    /// SHA-1 and SHA-256 of certificates.
    fingerprints: HashSet<Box<[u8]>>,
    /// SHA-256 of public keys (SubjectPublicKeyInfo).
    keys: HashSet<Box<[u8]>>,
}

impl Denied {
    /// Adds the lines of `text`.
    ///
    /// # Errors
    /// The first line that is not understood, counted from 1.
    pub(super) fn add(&mut self, text: &str) -> Result<(), usize> {
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() {
                self.add_line(line).ok_or(number + 1)?;
            }
        }
        Ok(())
    }

    fn add_line(&mut self, line: &str) -> Option<()> {
        let (kind, hex) = line.split_once(':')?;
        let octets = octets(hex)?;
        let set = match (kind.trim(), octets.len()) {
            ("serial", 1..=40) => {
                let start = octets.iter().position(|octet| *octet != 0);
                let bare = start
                    .and_then(|start| octets.get(start..))
                    .unwrap_or_default();
                self.serials.insert(bare.into());
                return Some(());
            }
            ("sha1", 20) | ("sha256", 32) => &mut self.fingerprints,
            ("spki", 32) => &mut self.keys,
            _ => return None,
        };
        set.insert(octets.into());
        Some(())
    }

    pub(super) fn names(&self, certificate: &Facts) -> bool {
        let is_in = |set: &HashSet<Box<[u8]>>, digest: &dyn Fn() -> Vec<u8>| {
            !set.is_empty() && set.contains(&*digest())
        };
        let serial = || {
            let serial = &certificate.serial;
            let start = serial.iter().position(|octet| *octet != 0);
            start
                .and_then(|start| serial.get(start..))
                .unwrap_or_default()
                .to_vec()
        };
        is_in(&self.serials, &serial)
            || is_in(&self.fingerprints, &|| {
                Sha256::digest(&certificate.der).to_vec()
            })
            || is_in(&self.fingerprints, &|| {
                Sha1::digest(&certificate.der).to_vec()
            })
            || is_in(&self.keys, &|| Sha256::digest(&certificate.spki).to_vec())
    }

    pub(super) fn len(&self) -> usize {
        self.serials.len() + self.fingerprints.len() + self.keys.len()
    }
}

/// Hexadecimal with or without colons and spaces between.
fn octets(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = hex
        .chars()
        .filter(|character| !matches!(character, ':' | ' '))
        .map(|character| character.to_digit(16))
        .collect();
    let mut digits = digits?;
    if digits.len() % 2 == 1 {
        digits.insert(0, 0);
    }
    let octet = |pair: &[u32]| match pair {
        [high, low] => u8::try_from(high * 16 + low).ok(),
        _ => None,
    };
    digits.chunks(2).map(octet).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_understood_is_told_by_its_line() {
        let digest = "ab".repeat(32);
        let mut denied = Denied::default();
        let text = format!(
            "# lost laptops\n\nserial: 00:0A:0B  # one\nserial:A0B\nsha256:{digest}\nsha1: {}\nspki:{digest}\n",
            "cd ".repeat(20)
        );
        assert_eq!(denied.add(&text), Ok(()));
        assert_eq!(denied.len(), 4, "the two serials are one number");
        for (line, text) in [
            (1, "0A0B"),
            (2, "serial:1\nserial:"),
            (1, "serial:xyz"),
            (3, "#\n\nsha256:abcd"),
            (1, "md5:00"),
            (1, &format!("sha256:{}", "ab".repeat(20))),
        ] {
            assert_eq!(Denied::default().add(text), Err(line), "{text}");
        }
    }
}
