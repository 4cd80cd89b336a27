//! Configurations of other proxies that do Herald's job: mutual TLS, and headers of their own variables for one origin.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::pki::{Key, Pki};

/// Herald's own certificate, its key, and the CA of callers.
pub fn files() -> [PathBuf; 3] {
    let (cert, key) = Pki::shared().server(Key::Ec);
    [cert, key, Pki::shared().path("ca.pem")]
}

/// Headers and HAProxy's samples.
pub fn haproxy(headers: &[(&str, &str)], origin: SocketAddr, dir: &Path, at: SocketAddr) -> String {
    let [cert, key, ca] = files();
    let both = [cert, key]
        .map(|path| fs::read_to_string(path).unwrap())
        .concat();
    let pem = dir.join("both.pem");
    fs::write(&pem, both).unwrap();
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("http-request set-header {name} {value}\n"))
        .collect();
    format!(
        "defaults\nmode http\ntimeout client 10s\ntimeout server 10s\ntimeout connect 10s\nfrontend tls\n\
         bind {at} ssl crt {} verify required ca-file {}\n{headers}default_backend origin\nbackend origin\nserver o {origin}\n",
        pem.display(),
        ca.display()
    )
}

/// Headers and httpd's variables.
pub fn apache(headers: &[(&str, &str)], origin: SocketAddr, dir: &Path, at: SocketAddr) -> String {
    let [cert, key, ca] = files().map(|path| path.display().to_string());
    let modules: String = [
        "mpm_event",
        "authz_core",
        "headers",
        "proxy",
        "proxy_http",
        "ssl",
    ]
    .iter()
    .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
    .collect();
    let headers: String = headers
        .iter()
        .map(|(name, variable)| format!("RequestHeader set {name} \"%{{{variable}}}s\"\n"))
        .collect();
    let dir = dir.display();
    format!(
        "{modules}ServerName localhost\nListen {at}\nPidFile {dir}/pid\nErrorLog {dir}/error.log\nDefaultRuntimeDir {dir}\n\
         User www-data\nGroup www-data\nSSLEngine on\nSSLCertificateFile {cert}\nSSLCertificateKeyFile {key}\n\
         SSLCACertificateFile {ca}\nSSLVerifyClient require\nSSLVerifyDepth 10\nSSLSessionCache none\n\
         SSLOptions +StdEnvVars +ExportCertData\n{headers}ProxyPass / http://{origin}/\n"
    )
}

/// All that `passTLSClientCert` can tell. The routes are in a file of their own.
pub fn traefik(origin: SocketAddr, dir: &Path, at: SocketAddr) -> String {
    let [cert, key, ca] = files().map(|path| path.display().to_string());
    let routes = dir.join("routes.yaml");
    let name = "{ commonName: true, country: true, domainComponent: true, locality: true, organization: true, \
                province: true, serialNumber: true";
    let text = format!(
        r#"
tls:
  stores: {{ default: {{ defaultCertificate: {{ certFile: "{cert}", keyFile: "{key}" }} }} }}
  options: {{ default: {{ clientAuth: {{ caFiles: ["{ca}"], clientAuthType: RequireAndVerifyClientCert }} }} }}
http:
  routers: {{ all: {{ rule: "PathPrefix(`/`)", service: origin, middlewares: [certificate], tls: {{}} }} }}
  services: {{ origin: {{ loadBalancer: {{ servers: [{{ url: "http://{origin}" }}] }} }} }}
  middlewares:
    certificate:
      passTLSClientCert:
        pem: true
        info: {{ notAfter: true, notBefore: true, sans: true, serialNumber: true,
          subject: {name}, organizationalUnit: true }}, issuer: {name} }} }}
"#
    );
    fs::write(&routes, text).unwrap();
    let routes = routes.display();
    format!(
        "global: {{ checkNewVersion: false, sendAnonymousUsage: false }}\nlog: {{ filePath: \"{}\" }}\n\
         entryPoints: {{ tls: {{ address: \"{at}\" }} }}\nproviders: {{ file: {{ filename: \"{routes}\" }} }}\n",
        dir.join("error.log").display()
    )
}

/// Headers and Caddy's placeholders below `http.request.tls.client`.
pub fn caddy(headers: &[(&str, &str)], origin: SocketAddr, dir: &Path, at: SocketAddr) -> String {
    let [cert, key, ca] = files().map(|path| path.display().to_string());
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("header_up {name} {{http.request.tls.client.{value}}}\n"))
        .collect();
    let (dir, port) = (dir.display(), at.port());
    format!(
        "{{\nadmin off\nauto_https off\npersist_config off\nstorage file_system {dir}\nlog {{\noutput file {dir}/error.log\n}}\n}}\n\
         https://:{port} {{\nbind {}\ntls {cert} {key} {{\nclient_auth {{\nmode require_and_verify\n\
         trust_pool file {ca}\n}}\n}}\nreverse_proxy http://{origin} {{\n{headers}}}\n}}\n",
        at.ip()
    )
}

/// Headers and nginx's variables.
pub fn nginx(headers: &[(&str, &str)], origin: SocketAddr, dir: &Path, at: SocketAddr) -> String {
    let [cert, key, ca] = files().map(|path| path.display().to_string());
    let dir = dir.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {dir}/{kind};\n"))
        .collect();
    let headers: String = headers
        .iter()
        .map(|(name, variable)| format!("proxy_set_header {name} {variable};\n"))
        .collect();
    format!(
        "daemon off;\nmaster_process off;\npid {dir}/pid;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}\
         server {{\nlisten {at} ssl;\nssl_certificate {cert};\nssl_certificate_key {key};\n\
         ssl_client_certificate {ca};\nssl_verify_client on;\nlocation / {{\nproxy_pass http://{origin};\n{headers}}}\n}}\n}}\n"
    )
}
