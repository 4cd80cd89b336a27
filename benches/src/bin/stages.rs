//! One stage of a request's way, so many times, for `cargo xtask bench counts`: the difference of
//! two runs under callgrind, divided by the difference of their numbers, is what one time costs in
//! instructions, exactly and without input or output.

use bytes::{Bytes, BytesMut};
use clap::{Parser, ValueEnum};
use herald::config::ClientAuth;
use herald::headers::mapping::Mapping;
use herald::headers::{Forwarding, HeaderBlock, Hygiene, Outbound, Way};
use herald::hosts::{HostPattern, Hosts};
use herald::http::RequestHead;
use herald::identity::{self, Facts, OnFailure};
use herald::policy;
use herald::telemetry::RequestIds;
use herald::tls::{ReasonStyle, Verdict};
use herald_benches::Failure;
use http::{HeaderValue, Request};
use http_body_util::Empty;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::hint::black_box;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
struct Arguments {
    stage: Stage,
    /// How often.
    times: u32,
    /// The certificate (PEM).
    certificate: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Stage {
    /// A certificate's values and their block of headers.
    Identity,
    /// The check of a request's head, what is stripped from it, what is injected, and the head
    /// written for the origin. The copy of the head to begin with is counted too.
    Rewrite,
    /// Which of 10,000 applications a host means, each with a name and all names below it. Tells the
    /// mean time of each kind of host too: memory counts here, and no instruction shows that.
    Hosts,
}

fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let leaf = CertificateDer::from_pem_file(&arguments.certificate)?;
    let mapping = Mapping::compile(&[], &[]).map_err(|problems| format!("{problems:?}"))?;
    match arguments.stage {
        Stage::Identity => {
            for _ in 0..arguments.times {
                black_box(block(&mapping, black_box(&leaf)));
            }
            Ok(())
        }
        Stage::Rewrite => rewrite(&mapping, &block(&mapping, &leaf), arguments.times),
        Stage::Hosts => hosts(arguments.times),
    }
}

fn hosts(times: u32) -> Result<(), Failure> {
    let mut hosts = Hosts::default();
    let mut asked = KINDS.map(|kind| (kind, Vec::new()));
    for number in 0..10_000 {
        let name = format!("app-{number}.example.com");
        for pattern in [name.clone(), format!("*.{name}")] {
            let parsed = HostPattern::parse(&pattern).map_err(|error| error.to_string())?;
            hosts.insert(&parsed, number);
        }
        let spellings = [
            name.clone(),
            format!("APP-{number}.Example.com:443"),
            format!("a.b.{name}"),
            format!("app-{number}.example.org"),
        ];
        for ((_, names), spelling) in asked.iter_mut().zip(spellings) {
            names.push(spelling);
        }
    }
    for (kind, names) in &asked {
        // Not in the order in which they were put there.
        let mut at = 0;
        let began = Instant::now();
        for _ in 0..times {
            at = (at + 7919) % names.len();
            if let Some(host) = names.get(at) {
                black_box(hosts.find(black_box(host.as_bytes())));
            }
        }
        let mean = began.elapsed().as_nanos() / u128::from(times.max(1));
        writeln!(io::stdout(), "{kind}: {mean} ns a host")?;
    }
    Ok(())
}

/// How a host is asked for.
const KINDS: [&str; 4] = [
    "the name itself",
    "in capitals, with a port",
    "two labels below a wildcard",
    "nobody's",
];

fn block(mapping: &Mapping, leaf: &CertificateDer<'_>) -> HeaderBlock {
    let facts = Facts {
        leaf: Some(leaf),
        verdict: &Verdict::None,
        style: ReasonStyle::Openssl1,
        on_failure: OnFailure::Send,
        now: 0,
    };
    mapping.render(&identity::values(&facts, mapping.wanted()))
}

fn rewrite(mapping: &Mapping, block: &HeaderBlock, times: u32) -> Result<(), Failure> {
    let hygiene = Hygiene::new(mapping.names(), []);
    let request = Request::get("https://a.test/path?query")
        .header("user-agent", "stages")
        .header("accept", "*/*")
        .header("x-forwarded-for", "203.0.113.9")
        .header("x-cert-verify", "SUCCESS")
        .header("x_cert_verify", "SUCCESS")
        .header("connection", "keep-alive")
        .body(Empty::<Bytes>::new())?;
    let (parts, body) = request.into_parts();
    let fallback = HeaderValue::from_static("fallback");
    let hop = Forwarding::default().hop("10.1.2.3".parse()?);
    let ids = RequestIds::new([0; 16]);
    let mut out = BytesMut::with_capacity(16 * 1024);
    for _ in 0..times {
        let parts = black_box(parts.clone());
        let id = hop.request_id(&parts.headers, &ids);
        let head = RequestHead::check(parts, &body, &fallback).map_err(|no| format!("{no:?}"))?;
        let permit =
            policy::authorize(ClientAuth::Off, &Verdict::None).map_err(|no| format!("{no:?}"))?;
        let way = Way { hop: &hop, id: &id };
        let outbound =
            Outbound::new(head, permit, &hygiene, block, way).map_err(|no| format!("{no:?}"))?;
        outbound.write_http1_head(&mut out);
        black_box(&mut out).clear();
    }
    Ok(())
}
