//! `herald explain`: a question to a configuration, or to a running Herald about a refusal.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::{FAILED, USAGE, print, told};
use crate::admin::client;
use crate::clock;
use crate::config::file::definition;
use crate::config::{AdminAddr, Config};
use crate::explain::{Question, explain, moment};
use crate::files::Files;
use crate::snapshot::Snapshot;

#[derive(Args, Debug)]
pub(super) struct Ask {
    /// The configuration to ask.
    #[arg(long, value_name = "FILE", required_unless_present = "request")]
    config: Option<PathBuf>,

    /// The chain that the client presents, PEM, leaf first; none is no certificate.
    #[arg(long, value_name = "PEM")]
    cert: Option<PathBuf>,

    /// The host that it asks for.
    #[arg(long, value_name = "NAME", default_value = "localhost")]
    host: String,

    /// The path that it asks for.
    #[arg(long, value_name = "PATH", default_value = "/")]
    path: String,

    /// The method.
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    method: String,

    /// When: 2027-01-31T12:00:00Z or Unix seconds; now, if left out.
    #[arg(long, value_name = "TIME", value_parser = at)]
    at: Option<u64>,

    /// Explains one of the last 1,000 refusals of a running Herald, by the request's id on its page.
    #[arg(long, value_name = "ID", conflicts_with_all = ["config", "cert", "at"])]
    request: Option<String>,

    /// The --admin address of that Herald, a Unix socket.
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "unix:/run/herald/admin.sock"
    )]
    admin: AdminAddr,
}

fn at(text: &str) -> Result<u64, &'static str> {
    moment(text).ok_or("2027-01-31T12:00:00Z, or Unix seconds")
}

pub(super) fn run(ask: &Ask) -> ExitCode {
    if let Some(id) = &ask.request {
        if !id
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"?#%".contains(&byte))
        {
            return told(
                USAGE,
                &"--request: the id of a request has no such characters",
            );
        }
        return match client::ask(&ask.admin, &format!("/explain/{id}")) {
            Ok(text) => print(&text),
            Err(error) => told(FAILED, &error),
        };
    }
    match answer(ask) {
        Ok(text) => print(text.as_bytes()),
        Err(error) => told(USAGE, &error),
    }
}

fn answer(ask: &Ask) -> Result<String, String> {
    let file = ask.config.iter().map(|path| {
        let mut flag = std::ffi::OsString::from("--config=");
        flag.push(path);
        flag
    });
    let given = definition()
        .try_get_matches_from(file)
        .map_err(|error| error.to_string())?;
    let files = Files::default();
    let snapshot = Config::load(&given, &files)
        .and_then(|config| Snapshot::compile(&config, &files, None))
        .map_err(|mistakes| mistakes.to_string())?;
    let chain = match &ask.cert {
        None => Vec::new(),
        Some(path) => {
            let cannot =
                |error: &dyn std::fmt::Display| format!("--cert: {}: {error}", path.display());
            let pem = fs::read(path).map_err(|error| cannot(&error))?;
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
            let chain = chain.map_err(|error| cannot(&error))?;
            if chain.is_empty() {
                return Err(cannot(&"there is no certificate in it"));
            }
            chain
        }
    };
    let path = ask.path.split('?').next().unwrap_or_default();
    Ok(explain(
        &snapshot,
        &Question {
            chain: &chain,
            host: &ask.host,
            method: &ask.method,
            path,
            at: ask.at.unwrap_or_else(clock::unix_now),
        },
    ))
}
