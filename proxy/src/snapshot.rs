//! stub
use std::sync::Arc; use crate::config::*;
#[derive(Debug)] pub struct Limits { pub handshake: crate::tls::HandshakeLimits, pub http: crate::http::serve::Limits, pub upstream: crate::upstream::Limits }
#[derive(Debug)] pub struct Snapshot { pub client_auth: ClientAuth, pub tls: Arc<rustls::ServerConfig>, pub hygiene: crate::headers::Hygiene, pub upstream: UpstreamAddr, pub fallback_authority: http::HeaderValue, pub limits: Limits }
impl Snapshot { pub fn compile(_: &Config) -> Result<Self, Mistakes> { Err(Mistakes(vec![])) } pub fn admits(&self, _: &crate::tls::Verdict) -> bool { true } }
impl crate::caller::Judge for Snapshot { fn judge(&self, _: &[rustls::pki_types::CertificateDer<'static>], _: u64) -> crate::caller::Standing { unimplemented!() } fn standings(&self) -> &crate::caller::Standings { unimplemented!() } }
