//! Keys of every kind a chain can have: modern ones in memory, those that no modern library signs with through `openssl`.

use std::fmt;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rcgen::{KeyPair, PublicKeyData as _, RsaKeySize, SigningKey as _};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use tempfile::TempDir;

use super::der::{element, oid, sequence};

/// A key that signs certificates and handshakes.
#[derive(Clone)]
pub enum Key {
    /// In memory; the second is the DER of the AlgorithmIdentifier it signs with.
    Modern(Arc<KeyPair>, Vec<u8>),
    /// In a file, for `openssl`.
    Legacy(Arc<Legacy>),
}

/// An RSA key used through `openssl dgst`.
#[derive(Debug)]
pub struct Legacy {
    dir: TempDir,
    digest: &'static str,
    public: Vec<u8>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Modern(..) => "Modern",
            Self::Legacy(_) => "Legacy",
        })
    }
}

impl Key {
    pub fn p256() -> Self {
        Self::modern(&rcgen::PKCS_ECDSA_P256_SHA256, "1.2.840.10045.4.3.2")
    }

    pub fn p384() -> Self {
        Self::modern(&rcgen::PKCS_ECDSA_P384_SHA384, "1.2.840.10045.4.3.3")
    }

    pub fn p521() -> Self {
        Self::modern(&rcgen::PKCS_ECDSA_P521_SHA512, "1.2.840.10045.4.3.4")
    }

    pub fn ed25519() -> Self {
        Self::modern(&rcgen::PKCS_ED25519, "1.3.101.112")
    }

    pub fn rsa(size: RsaKeySize) -> Self {
        let pair = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size).unwrap();
        let algorithm = sequence(&[&oid("1.2.840.113549.1.1.11"), &[5, 0]]);
        Self::Modern(Arc::new(pair), algorithm)
    }

    /// An RSA key of `bits` that signs with `digest` (`sha1`, `sha256`, `md5`).
    pub fn legacy_rsa(bits: u32, digest: &'static str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key.pem");
        run(
            Command::new("openssl")
                .args(["genrsa", "-out"])
                .arg(&key)
                .arg(bits.to_string()),
            b"",
        );
        let public = run(
            Command::new("openssl")
                .args(["rsa", "-pubout", "-outform", "DER", "-in"])
                .arg(&key),
            b"",
        );
        Self::Legacy(Arc::new(Legacy {
            dir,
            digest,
            public,
        }))
    }

    fn modern(algorithm: &'static rcgen::SignatureAlgorithm, id: &str) -> Self {
        let pair = KeyPair::generate_for(algorithm).unwrap();
        Self::Modern(Arc::new(pair), sequence(&[&oid(id)]))
    }

    /// The SubjectPublicKeyInfo.
    pub fn public(&self) -> Vec<u8> {
        match self {
            Self::Modern(pair, _) => pair.subject_public_key_info(),
            Self::Legacy(key) => key.public.clone(),
        }
    }

    /// The AlgorithmIdentifier of its signatures.
    pub fn signature_algorithm(&self) -> Vec<u8> {
        match self {
            Self::Modern(_, algorithm) => algorithm.clone(),
            Self::Legacy(key) => {
                let id = match key.digest {
                    "md5" => "1.2.840.113549.1.1.4",
                    "sha1" => "1.2.840.113549.1.1.5",
                    _ => "1.2.840.113549.1.1.11",
                };
                sequence(&[&oid(id), &element(0x05, &[])])
            }
        }
    }

    /// A signature over `message` as certificates carry it.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Modern(pair, _) => pair.sign(message).unwrap(),
            Self::Legacy(key) => key.sign(key.digest, &[], message),
        }
    }

    /// For rustls, which is to sign the handshake.
    pub fn for_handshake(&self) -> Arc<dyn SigningKey> {
        match self {
            Self::Modern(pair, _) => {
                let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pair.serialize_der()));
                aws_lc_rs::sign::any_supported_type(&der).unwrap()
            }
            Self::Legacy(key) => Arc::new(LegacySigner(Arc::clone(key))),
        }
    }
}

impl Legacy {
    fn sign(&self, digest: &str, options: &[&str], message: &[u8]) -> Vec<u8> {
        let mut command = Command::new("openssl");
        command.args(["dgst", &format!("-{digest}")]).args(options);
        run(
            command.arg("-sign").arg(self.dir.path().join("key.pem")),
            message,
        )
    }
}

/// Signs handshakes with RSA-PSS and SHA-256.
struct LegacySigner(Arc<Legacy>);

impl fmt::Debug for LegacySigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LegacySigner")
    }
}

impl SigningKey for LegacySigner {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let signer = Self(Arc::clone(&self.0));
        offered
            .contains(&SignatureScheme::RSA_PSS_SHA256)
            .then(|| Box::new(signer) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::RSA
    }
}

impl Signer for LegacySigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let options = [
            "-sigopt",
            "rsa_padding_mode:pss",
            "-sigopt",
            "rsa_pss_saltlen:digest",
        ];
        Ok(self.0.sign("sha256", &options, message))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::RSA_PSS_SHA256
    }
}

fn run(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}");
    output.stdout
}
