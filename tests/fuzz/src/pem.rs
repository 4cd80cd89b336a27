//! An operator's CA file: any bytes, and either a store or a mistake that names file and block.

use std::path::PathBuf;

use herald::tls::TrustStore;

pub(crate) fn run(bytes: &[u8]) {
    match TrustStore::load("fuzz", &[(PathBuf::from("ca.pem"), bytes.to_vec())]) {
        Ok(store) => assert!(!store.is_empty() && store.certificates().count() == store.len()),
        Err(error) => assert!(error.to_string().contains("ca.pem")),
    }
}
