//! `herald demo`: needs no root, no files and no configuration. Makes a throw-away CA, starts an
//! origin and two Heralds before it (one that forwards failed certificates, one that requires good
//! ones), lets a set of callers try their luck, and shows what the origin saw.

mod answer;
mod pki;
mod rows;
mod table;

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use thiserror::Error;

use self::answer::Answer;
use self::pki::Pki;
use self::rows::Outcome;
use crate::app::{App, StartError};
use crate::config::{Config, Mistakes};
use crate::trial::{Caller, Origin};

/// Why the demonstration could not be held.
#[derive(Debug, Error)]
pub enum DemoError {
    /// A certificate could not be made.
    #[error("can't make the throw-away certificates: {0}")]
    Pki(#[from] rcgen::Error),
    /// A file, a socket or the terminal.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Herald's own start.
    #[error("Herald did not start: {0}")]
    Start(#[from] StartError),
    /// The demonstration's own flags: a fault of ours.
    #[error("the demonstration's configuration is wrong: {0}")]
    Config(Mistakes),
}

/// Holds the demonstration. Returns whether every row was right; without `once` it serves on until
/// Ctrl-C.
pub fn run(once: bool, out: &mut impl Write) -> Result<bool, DemoError> {
    let folder = tempfile::Builder::new().prefix("herald-demo-").tempdir()?;
    writeln!(out, "Making a throw-away CA and its certificates ...")?;
    let pki = Pki::make(folder.path())?;
    let origin = Origin::start(http::HeaderMap::new())?.http1;
    writeln!(
        out,
        "Starting an origin on {origin} and two Heralds before it ..."
    )?;
    let forwarding = herald(folder.path(), origin, "forward-failed")?;
    let requiring = herald(folder.path(), origin, "required")?;
    let (forwarding_at, requiring_at) = (first(&forwarding)?, first(&requiring)?);
    writeln!(
        out,
        "  {forwarding_at}  --client-auth forward-failed: the origin decides, on headers it can trust"
    )?;
    writeln!(
        out,
        "  {requiring_at}  --client-auth required: only good certificates pass\n"
    )?;

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut outcomes = Vec::new();
    for row in rows::all() {
        let address = if row.required {
            requiring_at
        } else {
            forwarding_at
        };
        let answer = runtime.block_on(async {
            let caller = Caller {
                server_name: Some("localhost"),
                own: pki.own(row.presents),
                roots: Some(&pki.roots),
                from: Ipv4Addr::LOCALHOST,
            };
            caller.ask(address, &row.says.question()).await
        });
        let answer = answer.map(|answer| Answer::of(&answer));
        outcomes.push(Outcome::of(row, answer));
    }
    table::write(out, &outcomes)?;
    let right = outcomes.iter().all(Outcome::is_right);
    if !once {
        curl_lines(out, folder.path(), forwarding_at, requiring_at)?;
        out.flush()?;
        forwarding.run()?;
    }
    // What is left open belongs to callers that are gone; the process ends here.
    drop(requiring);
    Ok(right)
}

/// Starts a Herald as a user would, by flags.
fn herald(folder: &Path, origin: SocketAddr, client_auth: &str) -> Result<App, DemoError> {
    let file = |name: &str| folder.join(name).display().to_string();
    let config = Config::from_flags([
        "--listen".to_owned(),
        "127.0.0.1:0".to_owned(),
        "--cert".to_owned(),
        file("server.crt"),
        "--key".to_owned(),
        file("server.key"),
        "--client-ca".to_owned(),
        file("ca.crt"),
        "--upstream".to_owned(),
        format!("http://{origin}"),
        "--client-auth".to_owned(),
        client_auth.to_owned(),
        "--workers".to_owned(),
        "1".to_owned(),
    ])
    .map_err(DemoError::Config)?;
    Ok(App::start_as_is(&config)?)
}

fn first(app: &App) -> io::Result<SocketAddr> {
    app.bound()
        .first()
        .copied()
        .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

fn curl_lines(
    out: &mut impl Write,
    folder: &Path,
    forwarding: SocketAddr,
    requiring: SocketAddr,
) -> io::Result<()> {
    let folder = folder.display();
    writeln!(
        out,
        "\nGo on playing (Ctrl-C ends it and removes the certificates):\n"
    )?;
    for (what, address, rest) in [
        ("nobody", forwarding, ""),
        (
            "a good certificate",
            forwarding,
            " --cert FOLDER/good.crt --key FOLDER/good.key",
        ),
        (
            "an expired one, forwarded with its verdict",
            forwarding,
            " --cert FOLDER/expired.crt --key FOLDER/expired.key",
        ),
        (
            "an expired one, refused",
            requiring,
            " --cert FOLDER/expired.crt --key FOLDER/expired.key",
        ),
        (
            "a liar",
            forwarding,
            " -H 'X-CERT-VERIFY: SUCCESS' -H 'x_cert_verify: SUCCESS'",
        ),
        (
            "the same in HTTP/1.1",
            forwarding,
            " --http1.1 -H 'X-CERT-VERIFY: SUCCESS'",
        ),
    ] {
        let rest = rest.replace("FOLDER", &folder.to_string());
        writeln!(
            out,
            "  # {what}\n  curl --cacert {folder}/ca.crt https://localhost:{}/{rest}",
            address.port()
        )?;
    }
    Ok(())
}
