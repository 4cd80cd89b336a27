//! PEM files into anchors: strictly, naming the file and block of the first thing that is wrong.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::DistinguishedName;
use rustls::pki_types::CertificateDer;
use thiserror::Error;
use x509_parser::pem::Pem;

use super::{Anchor, TrustStore};
use crate::tls::constraints::for_webpki;
use crate::tls::facts::{CaStanding, Facts};

/// Why a trust store could not be made. Blocks are counted from 1.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No file was named.
    #[error("trust store {store}: no CA file is named")]
    Empty {
        /// The store's name.
        store: String,
    },
    /// A file without any PEM block.
    #[error("{}: no PEM certificate in this file", file.display())]
    NoCertificate {
        /// The file's name.
        file: PathBuf,
    },
    /// A PEM block that cannot be read.
    #[error("{}: block {block}: not readable as PEM: {why}", file.display())]
    BrokenPem {
        /// The file's name.
        file: PathBuf,
        /// Which block.
        block: usize,
        /// What is wrong with it.
        why: String,
    },
    /// A PEM block of another kind.
    #[error("{}: block {block}: a {label}, where only CERTIFICATE is expected", file.display())]
    OtherBlock {
        /// The file's name.
        file: PathBuf,
        /// Which block.
        block: usize,
        /// Its label.
        label: String,
    },
    /// A certificate that cannot be an anchor.
    #[error("{}: block {block}: {why}", file.display())]
    Unusable {
        /// The file's name.
        file: PathBuf,
        /// Which block.
        block: usize,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl TrustStore {
    /// Adds every certificate of a PEM file.
    pub(super) fn add_file(&mut self, file: &Path, pem: &[u8]) -> Result<(), StoreError> {
        let mut blocks = 0;
        for parsed in Pem::iter_from_buffer(pem) {
            blocks += 1;
            let block = parsed.map_err(|error| StoreError::BrokenPem {
                file: file.to_owned(),
                block: blocks,
                why: error.to_string(),
            })?;
            if block.label != "CERTIFICATE" && block.label != "X509 CERTIFICATE" {
                return Err(StoreError::OtherBlock {
                    file: file.to_owned(),
                    block: blocks,
                    label: block.label,
                });
            }
            self.add_certificate(block.contents)
                .map_err(|why| StoreError::Unusable {
                    file: file.to_owned(),
                    block: blocks,
                    why,
                })?;
        }
        // A header the reader passed over as a comment (indented, say) is a certificate its
        // operator believes to be in the store.
        let headers = pem
            .windows(BEGIN.len())
            .filter(|window| *window == BEGIN)
            .count();
        if headers > blocks {
            return Err(StoreError::BrokenPem {
                file: file.to_owned(),
                block: blocks + 1,
                why: "its BEGIN line does not stand at the start of a line of text".to_owned(),
            });
        }
        if blocks == 0 {
            return Err(StoreError::NoCertificate {
                file: file.to_owned(),
            });
        }
        Ok(())
    }

    fn add_certificate(&mut self, der: Vec<u8>) -> Result<(), &'static str> {
        let certificate = CertificateDer::from(der);
        let facts = Facts::read(&certificate).ok_or("not an X.509 certificate")?;
        if !facts.is_version_3() {
            return Err("a version 1 certificate, which cannot say that it is a CA");
        }
        if facts.extensions.invalid {
            return Err("a certificate with an extension that cannot be read");
        }
        match (facts.ca_standing(), facts.extensions.basic_constraints) {
            (CaStanding::Ca, _) => {}
            (_, Some(basic)) if basic.ca => {
                return Err("a CA certificate whose key usage lacks keyCertSign");
            }
            _ => return Err("not a CA certificate (basicConstraints does not say CA:TRUE)"),
        }
        if !facts.key.is_loadable() {
            return Err("a CA certificate with a key of an unknown kind");
        }
        if self
            .anchors
            .iter()
            .any(|anchor| *anchor.certificate == certificate)
        {
            return Ok(());
        }
        let mut anchor = webpki::anchor_from_trusted_cert(&certificate)
            .map_err(|_unreadable| "a CA certificate that cannot be used as a trust anchor")?
            .to_owned();
        let left = anchor.name_constraints.as_deref().and_then(for_webpki);
        if let Some(left) = left {
            anchor.name_constraints = (!left.is_empty()).then(|| left.into());
        }
        self.webpki_anchors.push(anchor);
        self.anchors.push(Anchor {
            subject: DistinguishedName::in_sequence(&facts.subject_der),
            certificate: Arc::new(certificate),
        });
        self.known.add(&facts.key);
        self.facts.push(facts);
        Ok(())
    }
}

const BEGIN: &[u8] = b"-----BEGIN ";
