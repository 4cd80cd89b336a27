//! Fuzz targets for everything that parses bytes of a peer or an operator. One binary, built once;
//! `HERALD_FUZZ_TARGET` names the target, the arguments are libFuzzer's. `cargo xtask fuzz` runs it.
//!
//! A target returns normally for every input or has found a mistake: a panic, an overflow, or a
//! property that does not hold.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

mod canary;
mod certificate;
mod chain;
mod config;
mod der;
mod fields;
mod forwarded;
mod input;
mod mapping;
mod pem;
mod request;
mod response;
mod upstream;

/// A target takes any bytes.
type Target = fn(&[u8]);

/// All targets. The last one must crash: it shows that coverage guides the search.
const TARGETS: [(&str, Target); 10] = [
    ("certificate", certificate::run),
    ("chain", chain::run),
    ("config", config::run),
    ("forwarded", forwarded::run),
    ("mapping", mapping::run),
    ("pem", pem::run),
    ("request", request::run),
    ("response", response::run),
    ("upstream", upstream::run),
    ("canary", canary::run),
];

static CHOSEN: LazyLock<Target> = LazyLock::new(|| {
    let wanted = std::env::var("HERALD_FUZZ_TARGET").expect("HERALD_FUZZ_TARGET names a target");
    let found = TARGETS.iter().find(|(name, _)| *name == wanted);
    found
        .expect("HERALD_FUZZ_TARGET names one of the targets")
        .1
});

/// For `cargo xtask fuzz`, which is to know of every target.
fn list_if_asked() {
    if std::env::var_os("HERALD_FUZZ_LIST").is_some() {
        for (name, _) in TARGETS {
            println!("{name}");
        }
        std::process::exit(0);
    }
}

fuzz_target!(init: list_if_asked(), |bytes: &[u8]| CHOSEN(bytes));
