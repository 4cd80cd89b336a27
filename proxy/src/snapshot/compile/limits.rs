//! Limits of every stage, and what origins are told of the way: numbers and networks, taken over.

use crate::config::{Config, ForwardedStyle};
use crate::headers::Forwarding;
use crate::http::limits;
use crate::snapshot::Limits;
use crate::tls::HandshakeLimits;

pub(super) fn forwarding(config: &Config) -> Forwarding {
    let style = config.client.forwarded;
    Forwarding {
        x_forwarded: matches!(style, ForwardedStyle::XForwarded | ForwardedStyle::Both),
        forwarded: matches!(style, ForwardedStyle::Forwarded | ForwardedStyle::Both),
        request_id: config.client.request_id,
        trusted: config.client.trusted_proxy.clone(),
    }
}

pub(super) fn limits(config: &Config) -> Limits {
    Limits {
        handshake: HandshakeLimits {
            deadline: config.handshake_timeout,
            bytes_max: config.handshake_max,
        },
        http: limits::Limits {
            head_timeout: config.head_timeout,
            idle_timeout: config.idle_timeout,
            // Idle connections alone never make a stop a forced one.
            drain_idle_timeout: config.drain_idle_timeout.min(config.drain_timeout / 2),
            head_bytes_max: config.head_max,
            head_fields_max: config.head_fields_max,
            http2_streams_max: config.http2_streams_max,
            http2_resets_max: config.client.http2_resets_max,
            write_timeout: config.client.write_timeout.0,
            verdict_grace: config.client.verdict_grace.0,
            http2_stream_window: config.http2_stream_window,
            http2_connection_window: config.http2_connection_window,
        },
        exchange_idle: config.client.exchange_idle_timeout.0,
        tunnel_idle: config.client.tunnel_idle_timeout.0,
        body_max: config.client.body_max.0,
    }
}
