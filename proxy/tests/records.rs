//! What a record costs in allocations: nothing, once the buffers are there.

use std::rc::Rc;

use herald::config::{Config, LogFormat};
use herald::telemetry::identity::Certificate;
use herald::telemetry::reason::{Ending, VerdictKind};
use herald::telemetry::{ConnectionRecord, Identity, Record, Scope, Telemetry};
use http::Request;

#[test]
fn a_record_allocates_nothing_on_the_steady_path() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("access.log");
    let flags = [
        "--listen=127.0.0.1:0",
        "--cert=none",
        "--key=none",
        "--client-auth=off",
        "--upstream=127.0.0.1:1",
        "--workers=1",
        &format!("--access-log={}", log.display()),
    ]
    .map(str::to_owned);
    let config = Config::from_flags(flags).expect("a configuration");
    let telemetry = Telemetry::start(&config).expect("a log");
    let ledger = telemetry.ledger(0);
    let connection = ConnectionRecord::begin(&ledger, ([127, 0, 0, 1], 4711).into());
    let identity = identity();
    let request = Request::get("/some/path?with=query")
        .header("host", "app.example.com")
        .body(())
        .expect("a request");
    // The first ones make the buffers, of the line and of the batch.
    for _ in 0..BATCH {
        record(connection.scope(), &identity, &request);
    }
    ledger.flush();
    record(connection.scope(), &identity, &request);
    let counted = allocation_counter::measure(|| {
        for _ in 0..BATCH / 2 {
            record(connection.scope(), &identity, &request);
        }
    });
    assert_eq!(counted.count_total, 0, "{counted:?}");
    drop(connection);
    drop(ledger);
    telemetry.stop_logs();
    let text = std::fs::read_to_string(log).expect("the log");
    let states = telemetry.logs();
    let written: u64 = states.iter().map(|state| state.written).sum();
    assert_eq!(written, text.lines().count() as u64);
    assert_eq!(written, (BATCH + 1 + BATCH / 2) as u64);
}

fn record(scope: &Rc<Scope>, identity: &Identity, request: &Request<()>) {
    let mut record = Record::begin(scope, identity, request);
    record.request_id(b"0123456789abcdef");
    record.forwarding();
    record.upstream(Some("http://10.0.0.1:8080"));
    record.answered(200);
    record.bodies(0, 256);
    record.finish(Ending::Complete);
}

fn identity() -> Identity {
    let certificate = Certificate {
        subject: Some(b"CN=client.example,O=Example,C=DE"),
        serial: Some(b"0A1B2C3D4E5F"),
        fingerprint: Some(&[b'a'; 64]),
        trust_store: Some(b"partners"),
        root: Some(b"CN=Partners' CA,O=Example,C=DE"),
    };
    Identity::rendered(
        VerdictKind::Success,
        LogFormat::Json,
        b"SUCCESS",
        certificate,
    )
}

/// Fewer records than a batch holds.
const BATCH: usize = 40;
