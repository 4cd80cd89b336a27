//! nginx from Debian, set up to say in nine headers what it thinks of a client's certificate.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::pki::{Key, Pki};
use crate::wait;

/// A running nginx, killed on drop.
#[derive(Debug)]
pub struct Nginx {
    child: Child,
    address: SocketAddr,
    dir: TempDir,
}

impl Nginx {
    /// Forwards to `origin`, trusting the CAs in `client_ca`, PEM. All else is as Debian's packages have it: OpenSSL's
    /// security level stays 2.
    ///
    /// # Panics
    ///
    /// When it does not start, with its log.
    pub fn start(origin: SocketAddr, client_ca: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("clients.pem"), client_ca).unwrap();
        for _ in 0..ATTEMPTS_MAX {
            // nginx cannot tell which port it got, so a free one is looked for first; another program may be quicker.
            let address = TcpListener::bind("127.0.0.1:0")
                .and_then(|l| l.local_addr())
                .unwrap();
            if let Some(child) = spawn(dir.path(), address, origin) {
                return Self {
                    child,
                    address,
                    dir,
                };
            }
        }
        let log = fs::read_to_string(dir.path().join("error.log")).unwrap_or_default();
        panic!("nginx does not start:\n{log}");
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it wrote to its error log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("error.log")).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // An error means that it ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// True when nginx is here and linked with OpenSSL 3.0, whose words the table of docs/validation.md quotes.
pub fn is_here() -> bool {
    let version = Command::new(BINARY).arg("-V").output();
    version.is_ok_and(|output| {
        let text = String::from_utf8_lossy(&output.stderr);
        text.contains("OpenSSL 3.0.") && text.contains("TLS SNI support enabled")
    })
}

/// nginx, once it listens at `address`.
fn spawn(dir: &Path, address: SocketAddr, origin: SocketAddr) -> Option<Child> {
    let file = dir.join("nginx.conf");
    fs::write(&file, configuration(dir, address, origin)).unwrap();
    let mut child = Command::new(BINARY)
        .arg("-p")
        .arg(dir)
        .arg("-e")
        .arg(dir.join("error.log"))
        .arg("-c")
        .arg(&file)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let listens = wait::until("nginx to listen or to end", || {
        match child.try_wait().unwrap() {
            Some(_) => Some(false),
            None => TcpStream::connect(address).ok().map(|_| true),
        }
    });
    listens.then_some(child)
}

fn configuration(dir: &Path, address: SocketAddr, origin: SocketAddr) -> String {
    let (certificate, key) = Pki::shared().server(Key::Ec);
    let (dir, certificate, key) = (dir.display(), certificate.display(), key.display());
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("  {kind}_temp_path {dir}/{kind};\n"))
        .collect();
    let headers: String = HEADERS
        .iter()
        .map(|(name, variable)| format!("      proxy_set_header {name} {variable};\n"))
        .collect();
    let forward =
        format!("      proxy_pass http://{origin};\n      proxy_http_version 1.1;\n{headers}");
    format!(
        "daemon off;\nmaster_process off;\npid {dir}/pid;\nevents {{}}\nhttp {{\n  access_log off;\n{temporary}\
         server {{\n    listen {address} ssl;\n    ssl_certificate {certificate};\n    ssl_certificate_key {key};\n    \
         ssl_protocols TLSv1.2 TLSv1.3;\n    ssl_client_certificate {dir}/clients.pem;\n    \
         ssl_verify_client optional_no_ca;\n    ssl_verify_depth 10;\n    error_page 495 496 = @forward;\n    \
         location / {{\n{forward}    }}\n    location @forward {{\n{forward}    }}\n  }}\n}}\n"
    )
}

/// The nine headers of Cloudflare's Worker example and nginx's variables for them.
pub const HEADERS: [(&str, &str); 9] = [
    ("X-CERT-ISSUER-DN", "$ssl_client_i_dn"),
    ("X-CERT-SUBJECT-DN", "$ssl_client_s_dn"),
    ("X-CERT-ISSUER-DN-L", "$ssl_client_i_dn_legacy"),
    ("X-CERT-SUBJECT-DN-L", "$ssl_client_s_dn_legacy"),
    ("X-CERT-SERIAL", "$ssl_client_serial"),
    ("X-CERT-FINGER", "$ssl_client_fingerprint"),
    ("X-CERT-NOTBE", "$ssl_client_v_start"),
    ("X-CERT-NOTAF", "$ssl_client_v_end"),
    ("X-CERT-VERIFY", "$ssl_client_verify"),
];
const ATTEMPTS_MAX: usize = 3;
const BINARY: &str = "/usr/sbin/nginx";
