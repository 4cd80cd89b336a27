//! Chain to verdict: nothing panics, and nothing but what a CA signed is ever `SUCCESS`.

use std::path::PathBuf;
use std::sync::LazyLock;

use herald::tls::{TrustStore, Verdict, fuzz};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::der;
use crate::input::Input;

/// Certificates, each raw behind a length or in parts.
pub(crate) fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut chain = Vec::new();
    while !input.is_empty() && chain.len() < 12 {
        let certificate = match input.byte() {
            choice @ 0..=0x1f => KNOWN[usize::from(choice) % KNOWN.len()].to_vec(),
            0x20..=0x7f => der::certificate(&mut input),
            0x80..=0xff => input.long_piece().to_vec(),
        };
        chain.push(CertificateDer::from(certificate));
    }
    if let Verdict::Success(_) = STORE.judge(&chain, NOW).verdict {
        let signed = KNOWN
            .iter()
            .any(|known| tbs(known).is_some() && tbs(known) == tbs(&chain[0]));
        assert!(signed, "a chain that nobody signed verified");
    }
    fuzz::path(&chain, i64::try_from(NOW).unwrap());
}

/// What a signature covers. The signature itself may have a second spelling (ECDSA's -s).
fn tbs(certificate: &[u8]) -> Option<&[u8]> {
    let inside = certificate.strip_prefix(&[0x30, 0x82])?.get(2..)?;
    let length = inside.strip_prefix(&[0x30, 0x82])?;
    let length = usize::from(u16::from_be_bytes([*length.first()?, *length.get(1)?]));
    inside.get(..length + 4)
}

static STORE: LazyLock<TrustStore> = LazyLock::new(|| {
    let pem = include_bytes!("../../golden/caA.crt").to_vec();
    TrustStore::load("fuzz", &[(PathBuf::from("caA.crt"), pem)]).unwrap()
});

static KNOWN: LazyLock<Vec<CertificateDer<'static>>> = LazyLock::new(|| {
    let pems: [&[u8]; 20] = [
        include_bytes!("../../golden/caA.crt"),
        include_bytes!("../../golden/caB.crt"),
        include_bytes!("../../golden/crlf.crt"),
        include_bytes!("../../golden/dup.crt"),
        include_bytes!("../../golden/expired.crt"),
        include_bytes!("../../golden/future.crt"),
        include_bytes!("../../golden/hash.crt"),
        include_bytes!("../../golden/inj.crt"),
        include_bytes!("../../golden/lead.crt"),
        include_bytes!("../../golden/leaf.pem"),
        include_bytes!("../../golden/longserial.crt"),
        include_bytes!("../../golden/multi.crt"),
        include_bytes!("../../golden/nul.crt"),
        include_bytes!("../../golden/plain.crt"),
        include_bytes!("../../golden/plainB.crt"),
        include_bytes!("../../golden/self.crt"),
        include_bytes!("../../golden/special.crt"),
        include_bytes!("../../golden/srv.crt"),
        include_bytes!("../../golden/tab.crt"),
        include_bytes!("../../golden/utf8.crt"),
    ];
    pems.map(|pem| CertificateDer::from_pem_slice(pem).unwrap())
        .to_vec()
});

/// Inside the validity of the golden certificates that have one.
const NOW: u64 = 1_795_000_000;
