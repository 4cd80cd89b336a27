//! gRPC end to end: Google's own client and server for Python, with Herald between them. Unary and three kinds of
//! streaming, metadata, deadlines, trailers-only errors, cancelled calls, large messages, over h2c and over TLS.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::{env, fs};

use herald_tests::gate;
use herald_tests::herald::{Herald, Launch};
use herald_tests::pki::{Key, Pki};
use herald_tests::wire::hex;
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};

/// The interpreter, if it has grpcio.
fn python(test: &str) -> Option<String> {
    let python = env::var("HERALD_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let works = gate::succeeds(&python, &["-c", "import grpc"]);
    gate::require(test, "Python with grpcio", works).then_some(python)
}

/// A gRPC server in a process of its own.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(python: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(python)
            .args(["-c", SERVER])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.as_mut().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let port = line.trim().parse().unwrap();
        Self { child, port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs the client against Herald; its account of what it saw.
fn client(python: &str, herald: &Herald, identity: &(PathBuf, PathBuf)) -> Value {
    let output = Command::new(python)
        .args(["-c", CLIENT])
        .arg(format!("localhost:{}", herald.address().port()))
        .args([&identity.0, &identity.1, &Pki::shared().path("ca.pem")])
        // The client must not look for a proxy.
        .env("no_proxy", "localhost")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn check_calls(python: &str, herald: &Herald) {
    let pki = Pki::shared();
    let caller = pki.good();
    let finger = hex(&Sha1::digest(caller.leaf()));
    let files = caller.write(&pki.path(""), "grpc-client");
    let seen = client(python, herald, &files);
    let expected = json!({
        "unary": "echo:hello",
        "verify": ["SUCCESS"],
        "finger": [finger],
        "trailing": "42",
        "server streaming": ["0", "1", "2", "3", "4"],
        "client streaming": "one,two,three",
        "ping-pong": ["<a>", "<b>", "<c>"],
        "deadline seen": true,
        "deadline passed": "DEADLINE_EXCEEDED",
        "trailers only": ["NOT_FOUND", "no such \u{2713} thing", "why"],
        "error after messages": [["0", "1"], "RESOURCE_EXHAUSTED"],
        "unknown method": "UNIMPLEMENTED",
        "cancelled": true,
        "large": 3_000_000,
        "concurrent": 200,
    });
    assert_eq!(seen, expected, "{}", herald.log());
}

#[test]
fn grpc_calls_of_every_kind_reach_an_h2c_origin() {
    let Some(python) = python("grpc_calls_of_every_kind_reach_an_h2c_origin") else {
        return;
    };
    let server = Server::start(&python, &[]);
    let origin = format!("h2c://127.0.0.1:{}", server.port);
    check_calls(&python, &Launch::toward("required", [origin]).start());
}

#[test]
fn grpc_calls_of_every_kind_reach_a_tls_origin_that_asks_for_a_certificate() {
    let name = "grpc_calls_of_every_kind_reach_a_tls_origin_that_asks_for_a_certificate";
    let Some(python) = python(name) else {
        return;
    };
    let pki = Pki::shared();
    let (certificate, key) = pki.server(Key::Rsa);
    let ca = pki.path("ca.pem");
    let text = |path: &PathBuf| path.display().to_string();
    let server = Server::start(&python, &[&text(&certificate), &text(&key), &text(&ca)]);
    let (own, own_key) = pki.good().write(&pki.path(""), "grpc-herald");
    for file in [&own, &own_key] {
        assert!(fs::metadata(file).is_ok());
    }
    let herald = Launch::toward("required", [format!("https://127.0.0.1:{}", server.port)])
        .args(["--upstream-ca", &text(&ca)])
        .args(["--upstream-cert", &text(&own)])
        .args(["--upstream-key", &text(&own_key)])
        .start();
    check_calls(&python, &herald);
}

/// Messages are bytes: no code has to be generated. Prints its port.
const SERVER: &str = r#"
import grpc, sys, threading, time
from concurrent import futures

def unary(request, context):
    metadata = context.invocation_metadata()
    if request == b"who":
        told = [f"{k}={v}" for k, v in metadata if k.startswith(("x-cert", "x_cert"))]
        return "\n".join(told).encode()
    if request == b"fail":
        context.set_trailing_metadata((("reason", "why"),))
        context.abort(grpc.StatusCode.NOT_FOUND, "no such \u2713 thing")
    if request == b"time":
        return str(context.time_remaining()).encode()
    if request == b"slow":
        time.sleep(2)
    if request.startswith(b"large"):
        return request
    context.set_trailing_metadata((("answer", "42"), ("x-cert-verify", "FORGED")))
    return b"echo:" + request

cancelled = threading.Event()

def server_stream(request, context):
    if request == b"endless":
        context.add_callback(cancelled.set)
        while context.is_active():
            yield b"more"
            time.sleep(0.01)
        return
    if request == b"was cancelled":
        yield b"yes" if cancelled.wait(5) else b"no"
        return
    count = int(request)
    for number in range(min(count, 5)):
        if count > 5 and number == 2:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "enough")
        yield str(number).encode()

def client_stream(requests, context):
    return b",".join(requests)

def both(requests, context):
    for request in requests:
        yield b"<" + request + b">"

handlers = grpc.method_handlers_generic_handler("test.Test", {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
    "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
    "Both": grpc.stream_stream_rpc_method_handler(both),
})
server = grpc.server(futures.ThreadPoolExecutor(64))
server.add_generic_rpc_handlers((handlers,))
if len(sys.argv) > 1:
    certificate, key, ca = (open(name, "rb").read() for name in sys.argv[1:])
    credentials = grpc.ssl_server_credentials([(key, certificate)], ca, True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
else:
    port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
server.wait_for_termination()
"#;

/// Prints what it saw as JSON.
const CLIENT: &str = r#"
import grpc, json, queue, sys
from concurrent import futures

target, certificate, key, ca = sys.argv[1:]
read = lambda name: open(name, "rb").read()
credentials = grpc.ssl_channel_credentials(read(ca), read(key), read(certificate))
channel = grpc.secure_channel(target, credentials)
unary = channel.unary_unary("/test.Test/Unary")
server_stream = channel.unary_stream("/test.Test/ServerStream")
client_stream = channel.stream_unary("/test.Test/ClientStream")
both = channel.stream_stream("/test.Test/Both")
limit = {"timeout": 20}
seen = {}

answer, call = unary.with_call(b"hello", **limit)
seen["unary"] = answer.decode()
trailing = call.trailing_metadata()
seen["trailing"] = "".join(v for k, v in trailing if k in ("answer", "x-cert-verify"))
spoofed = (("x-cert-verify", "SPOOFED"), ("x_cert_verify", "SPOOFED"))
told = [line.split("=", 1) for line in unary(b"who", metadata=spoofed, **limit).decode().split("\n")]
seen["verify"] = [v for k, v in told if k in ("x-cert-verify", "x_cert_verify")]
seen["finger"] = [v for k, v in told if k == "x-cert-finger"]

seen["server streaming"] = [m.decode() for m in server_stream(b"5", **limit)]
seen["client streaming"] = client_stream(iter([b"one", b"two", b"three"]), **limit).decode()

# Each message is sent only when the one before was answered.
outgoing = queue.Queue()
answers = both(iter(outgoing.get, None), **limit)
seen["ping-pong"] = []
for message in (b"a", b"b", b"c"):
    outgoing.put(message)
    seen["ping-pong"].append(next(answers).decode())
outgoing.put(None)
assert list(answers) == []

# The timeout travels as a header, which grpc rounds up.
remaining = float(unary(b"time", timeout=9))
seen["deadline seen"] = 5 < remaining < 12 or remaining

def failure(call):
    try:
        call()
    except grpc.RpcError as error:
        return error

seen["deadline passed"] = failure(lambda: unary(b"slow", timeout=0.3)).code().name
error = failure(lambda: unary(b"fail", **limit))
reason = "".join(v for k, v in error.trailing_metadata() if k == "reason")
seen["trailers only"] = [error.code().name, error.details(), reason]
got = []
def partly():
    for message in server_stream(b"9", **limit):
        got.append(message.decode())
error = failure(partly)
seen["error after messages"] = [got, error.code().name]
error = failure(lambda: channel.unary_unary("/test.Test/Nothing")(b"", **limit))
seen["unknown method"] = error.code().name

endless = server_stream(b"endless", **limit)
next(endless)
endless.cancel()
seen["cancelled"] = next(server_stream(b"was cancelled", **limit)) == b"yes"

seen["large"] = len(unary(b"large" + bytes(2999995), **limit))
calls = [unary.future(b"%d" % n, **limit) for n in range(200)]
seen["concurrent"] = sum(call.result() == b"echo:%d" % n for n, call in enumerate(calls))
print(json.dumps(seen))
"#;
