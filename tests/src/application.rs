//! A herald with one application, for what its policies and workers do.

use std::fs;

use rcgen::{DnType, SanType};
use tempfile::TempDir;

use crate::client::Settings;
use crate::herald::{Herald, Launch};
use crate::origin::Origin;
use crate::pki::{Identity, Key, Pki};

/// Herald with one application, and its origin.
#[derive(Debug)]
pub struct Bench {
    /// For every host.
    pub herald: Herald,
    /// Where all requests go.
    pub origin: Origin,
    _folder: TempDir,
}

impl Bench {
    /// The status, and the target that the origin got.
    pub fn ask(
        &self,
        identity: Option<&Identity>,
        method: &str,
        target: &str,
    ) -> (u16, Option<String>) {
        let mut client = Settings::new(identity)
            .connect(self.herald.address())
            .unwrap();
        let head = format!("{method} {target} HTTP/1.1\r\nHost: app.test\r\n\r\n");
        client.send(head.as_bytes()).unwrap();
        let status = client.response_to(method).unwrap().status;
        let mut requests = self.origin.take();
        assert!(requests.len() < 2);
        let target = requests.pop().map(|request| request.target);
        (status, target)
    }
}

/// Starts it in a mode, with more keys and with tables of policies or workers.
pub fn bench(mode: &str, extra: &str, policies: &str) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let origin = Origin::echo();
    let file = folder.path().join("herald.toml");
    fs::write(&file, configuration(&origin, mode, extra, policies)).unwrap();
    let herald = Launch::bare(["run".as_ref(), "--config".as_ref(), file.as_os_str()]).start();
    Bench {
        herald,
        origin,
        _folder: folder,
    }
}

/// The file of the same.
pub fn configuration(origin: &Origin, mode: &str, extra: &str, policies: &str) -> String {
    let pki = Pki::shared();
    let (cert, key) = pki.server(Key::Ec);
    let (ca, upstream) = (pki.path("ca.pem"), origin.address());
    format!(
        "listen = \"127.0.0.1:0\"\nworkers = 1\nadmin = \"off\"\n\
         [[application]]\nname = \"app\"\nhostnames = \"*\"\ncert = {cert:?}\nkey = {key:?}\nclient_ca = {ca:?}\n\
         client_auth = \"{mode}\"\nupstream = \"http://{upstream}\"\n{extra}\n{policies}"
    )
}

/// A caller with this common name, and a DNS name made of it.
pub fn named(common_name: &str) -> Identity {
    Pki::shared().client(|params| {
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params.subject_alt_names = vec![SanType::DnsName(
            format!("{common_name}.fleet.test").try_into().unwrap(),
        )];
    })
}
