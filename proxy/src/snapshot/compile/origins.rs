//! The origins of the configuration as `upstream` knows them.

use std::net::SocketAddr;

use http::HeaderValue;

use crate::config::{self, Config, Isolate, Mistake, Mistakes, Place, UpstreamAddr};
use crate::upstream::{Balance, Limits, Origin, Settings, Speaks, UpstreamTarget};

/// Each origin, in the order of the configuration.
pub(super) fn compile(config: &Config) -> Vec<Origin> {
    let origins = config.upstream.upstream.iter();
    origins
        .map(|address| Origin {
            target: target(address),
            speaks: Speaks::Http1,
        })
        .collect()
}

/// What all of them have in common.
pub(super) fn settings(config: &Config) -> Settings {
    let flags = &config.upstream;
    Settings {
        balance: match flags.upstream_balance {
            config::Balance::RoundRobin => Balance::RoundRobin,
            config::Balance::LeastRequests => Balance::LeastRequests,
            config::Balance::Fingerprint => Balance::Fingerprint,
        },
        isolate: flags.upstream_isolate == Isolate::Identity,
        limits: Limits {
            connect_timeout: flags.upstream_connect_timeout.0,
            response_timeout: flags.upstream_response_timeout.0,
            idle_timeout: flags.upstream_idle_timeout.0,
            max_idle: flags.upstream_idle_max,
            ..Limits::default()
        },
    }
}

/// What stands in for the `Host` that an HTTP/1.0 client may leave out: the first origin's.
pub(super) fn authority(config: &Config) -> Result<HeaderValue, Mistakes> {
    let first = config.upstream.upstream.first();
    let authority = first.map_or_else(String::new, UpstreamAddr::authority);
    HeaderValue::from_str(&authority).map_err(|error| {
        let origin = config.origin("upstream", 0);
        let mistake = Mistake::new(origin, error.to_string(), "http://HOST:PORT");
        Mistakes(vec![mistake])
    })
}

fn target(address: &UpstreamAddr) -> UpstreamTarget {
    match address.place() {
        Place::Unix(path) => UpstreamTarget::Unix(path.clone()),
        Place::Tcp { host, port } => match host.parse() {
            Ok(address) => UpstreamTarget::Address(SocketAddr::new(address, *port)),
            Err(_name) => UpstreamTarget::Name {
                host: host.clone(),
                port: *port,
            },
        },
    }
}
