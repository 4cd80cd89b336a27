//! Envoy's configuration: mutual TLS, and `x-forwarded-client-cert` for one origin.

use std::net::SocketAddr;
use std::path::PathBuf;

/// For an origin, at an address. The files are Envoy's own certificate, its key, and the CA of callers; the other two words
/// `forward_client_cert_details`, and what an element tells beside subject, URI and DNS names.
pub fn configuration(
    files: &[PathBuf; 3],
    (forward, details): (&str, &str),
    origin: SocketAddr,
    at: SocketAddr,
) -> String {
    let [cert, key, ca] = files.each_ref().map(|path| path.display().to_string());
    let (port, host) = (at.port(), origin.port());
    format!(
        r#"
static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: true
          common_tls_context:
            tls_certificates:
            - certificate_chain: {{ filename: "{cert}" }}
              private_key: {{ filename: "{key}" }}
            validation_context: {{ trusted_ca: {{ filename: "{ca}" }} }}
      filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: x
          forward_client_cert_details: {forward}
          set_current_client_cert_details: {{ subject: true, uri: true, dns: true, {details} }}
          route_config:
            virtual_hosts:
            - name: x
              domains: ["*"]
              routes: [{{ match: {{ prefix: "/" }}, route: {{ cluster: origin }} }}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
  clusters:
  - name: origin
    type: STATIC
    load_assignment:
      cluster_name: origin
      endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {host} }} }} }} }}] }}]
"#
    )
}
