//! The smallest Pingora proxy that does Herald's whole job, as a peer for `cargo xtask bench`.
//!
//! Usage: `pingora-peer LISTEN UPSTREAM CERT KEY CLIENT_CA THREADS`. TLS 1.3, a client
//! certificate required and verified, nine headers computed once a connection and set on each
//! request (an incoming one of the name is replaced), keep-alive to the origin, no access log.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use pingora::http::RequestHeader;
use pingora::listeners::tls::TlsSettings;
use pingora::listeners::TlsAccept;
use pingora::prelude::*;
use pingora::protocols::tls::TlsRef;
use pingora::server::configuration::ServerConf;
use pingora::tls::hash::MessageDigest;
use pingora::tls::ssl::{SslFiletype, SslSessionCacheMode, SslVerifyMode, SslVersion};
use pingora::tls::x509::{X509NameRef, X509Ref};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What the origin is told, rendered once a connection.
struct Nine([(&'static str, String); 9]);

struct Gateway {
    upstream: String,
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(&self.upstream, false, String::new())))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        (): &mut (),
    ) -> Result<()> {
        let nine = session
            .digest()
            .and_then(|digest| digest.ssl_digest.as_ref())
            .and_then(|tls| tls.extension.get::<Nine>())
            .ok_or_else(|| Error::explain(HTTPStatus(403), "no certificate"))?;
        for (name, value) in &nine.0 {
            request.insert_header(*name, value.as_str())?;
        }
        Ok(())
    }
}

struct Reader;

#[async_trait]
impl TlsAccept for Reader {
    async fn handshake_complete_callback(
        &self,
        tls: &TlsRef,
    ) -> Option<Arc<dyn Any + Send + Sync>> {
        let certificate = tls.peer_certificate()?;
        Some(Arc::new(nine(&certificate)?))
    }
}

fn nine(certificate: &X509Ref) -> Option<Nine> {
    let issuer = entries(certificate.issuer_name());
    let subject = entries(certificate.subject_name());
    let serial = certificate.serial_number().to_bn().ok()?;
    let digest = certificate.digest(MessageDigest::sha1()).ok()?;
    let finger = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(Nine([
        ("X-CERT-ISSUER-DN", rfc2253(&issuer)),
        ("X-CERT-SUBJECT-DN", rfc2253(&subject)),
        ("X-CERT-ISSUER-DN-L", legacy(&issuer)),
        ("X-CERT-SUBJECT-DN-L", legacy(&subject)),
        ("X-CERT-SERIAL", serial.to_hex_str().ok()?.to_string()),
        ("X-CERT-FINGER", finger),
        ("X-CERT-VERIFY", "SUCCESS".to_owned()),
        ("X-CERT-NOTBE", certificate.not_before().to_string()),
        ("X-CERT-NOTAF", certificate.not_after().to_string()),
    ]))
}

/// Enough for the bench's own certificates: nothing in them needs escaping.
fn entries(name: &X509NameRef) -> Vec<String> {
    let entry = |entry: &pingora::tls::x509::X509NameEntryRef| {
        let key = entry.object().nid().short_name().unwrap_or("?").to_owned();
        let value = String::from_utf8_lossy(entry.data().as_slice()).into_owned();
        format!("{key}={value}")
    };
    name.entries().map(entry).collect()
}

fn rfc2253(entries: &[String]) -> String {
    let reversed: Vec<&str> = entries.iter().rev().map(String::as_str).collect();
    reversed.join(",")
}

fn legacy(entries: &[String]) -> String {
    entries.iter().map(|entry| format!("/{entry}")).collect()
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, upstream, certificate, key, authority, threads] = &arguments[..] else {
        return Err("usage: LISTEN UPSTREAM CERT KEY CLIENT_CA THREADS".into());
    };
    let threads: usize = threads.parse()?;
    let mut tls = TlsSettings::with_callbacks(Box::new(Reader))?;
    tls.set_certificate_chain_file(certificate)?;
    tls.set_private_key_file(key, SslFiletype::PEM)?;
    tls.set_ca_file(authority)?;
    tls.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    tls.set_min_proto_version(Some(SslVersion::TLS1_3))?;
    tls.set_session_cache_mode(SslSessionCacheMode::SERVER);
    // Without a context of its own OpenSSL refuses to resume a session that carries a certificate.
    tls.set_session_id_context(b"bench")?;
    tls.enable_h2();

    let configuration = ServerConf {
        threads,
        // One core's runtime needs no thief; with several each keeps its own queue, as Herald's do.
        work_stealing: false,
        upstream_keepalive_pool_size: 1024,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, configuration);
    server.bootstrap();
    let gateway = Gateway { upstream: upstream.clone() };
    let mut service = http_proxy_service(&server.configuration, gateway);
    service.add_tls_with_settings(listen, None, tls);
    server.add_service(service);
    server.run_forever()
}
