//! What is asked and what is answered: pure, from a request's head to a response.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use tokio::sync::oneshot;

use super::status::{Status, Subject, is_alive};
use crate::clock;
use crate::explain::{Question, explain};
use crate::telemetry::refusals::Refusal;
use crate::telemetry::{Telemetry, prometheus};

/// Whether the owner of the Unix socket wants another configuration.
pub(super) fn asks_for_reload<B>(request: &Request<B>, is_tcp: bool) -> bool {
    !is_tcp && *request.method() == Method::POST && request.uri().path() == "/reload"
}

/// Has the configuration reloaded: 200 with what is in force now, or 409 with why not.
pub(super) async fn reload(subject: &Subject) -> Response<Full<Bytes>> {
    let (call, answer) = oneshot::channel();
    let outcome = match subject.reloads.try_send(call) {
        Ok(()) => answer.await.ok(),
        Err(_) => None,
    };
    match outcome {
        Some(Ok(generation)) => {
            let text = format!("configuration {generation} is in force\n");
            page(StatusCode::OK, PLAIN, text)
        }
        Some(Err(why)) => page(StatusCode::CONFLICT, PLAIN, why + "\n"),
        None => {
            let text = "too many reloads are waiting, or none can be done\n".into();
            page(StatusCode::SERVICE_UNAVAILABLE, PLAIN, text)
        }
    }
}

/// Answers one request. Over TCP the Host must be an address or `localhost`: a web page whose name
/// was made to point here (DNS rebinding) must not read what it says.
pub(super) fn answer<B>(
    request: &Request<B>,
    subject: &Subject,
    is_tcp: bool,
) -> Response<Full<Bytes>> {
    if is_tcp && !names_this_host(request.headers()) {
        let text = "this address answers for itself alone\n";
        return page(StatusCode::MISDIRECTED_REQUEST, PLAIN, text.into());
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let text = "read-only: GET or HEAD; POST /reload on a Unix socket alone\n".into();
        let mut response = page(StatusCode::METHOD_NOT_ALLOWED, PLAIN, text);
        let allowed = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(header::ALLOW, allowed);
        return response;
    }
    let telemetry = &subject.telemetry;
    match request.uri().path() {
        "/metrics" => page(StatusCode::OK, PROMETHEUS, prometheus::page(telemetry)),
        "/livez" => match stuck(telemetry) {
            None => page(StatusCode::OK, PLAIN, "alive\n".into()),
            Some(worker) => {
                let text = format!("worker {worker} does not move\n");
                page(StatusCode::SERVICE_UNAVAILABLE, PLAIN, text)
            }
        },
        "/readyz" if telemetry.is_ready() => page(StatusCode::OK, PLAIN, "ready\n".into()),
        "/readyz" => {
            let text = "stopping: no new connections\n".into();
            page(StatusCode::SERVICE_UNAVAILABLE, PLAIN, text)
        }
        "/status" => match serde_json::to_string_pretty(&Status::of(subject)) {
            Ok(text) => page(StatusCode::OK, JSON, text + "\n"),
            Err(error) => page(
                StatusCode::INTERNAL_SERVER_ERROR,
                PLAIN,
                format!("{error}\n"),
            ),
        },
        // Who asks here may read what clients presented.
        "/refusals" if !is_tcp => page(StatusCode::OK, PLAIN, refusals(telemetry)),
        path if !is_tcp && path.starts_with(EXPLAIN) => {
            let id = path.strip_prefix(EXPLAIN).unwrap_or_default();
            match telemetry.refusals.find(id) {
                Some(refusal) => page(StatusCode::OK, PLAIN, explained(subject, &refusal)),
                None => {
                    let text = "no refusal of this id is among the last 1000\n";
                    page(StatusCode::NOT_FOUND, PLAIN, text.into())
                }
            }
        }
        _ => {
            let text = "there are /metrics, /livez, /readyz and /status; on a Unix socket /refusals and /explain/ID\n";
            page(StatusCode::NOT_FOUND, PLAIN, text.into())
        }
    }
}

/// A line a refusal, the newest first.
fn refusals(telemetry: &Telemetry) -> String {
    let refusals = telemetry.refusals.all().into_iter();
    let lines = refusals.map(|refusal| {
        let Refusal {
            id,
            time,
            application,
            method,
            host,
            path,
            why,
            ..
        } = &*refusal;
        let [host, path] = [host, path].map(|text| text.escape_default());
        format!("{id} {time} {application}: {method} {host}{path}: {why}\n")
    });
    lines.collect()
}

/// A refusal as it was, and what the configuration of now makes of it at that time.
fn explained(subject: &Subject, refusal: &Refusal) -> String {
    let question = Question {
        chain: &refusal.chain,
        host: &refusal.host,
        method: &refusal.method,
        path: &refusal.path,
        at: refusal.time,
    };
    let head = format!("{:<12} {}\n", "Refused", refusal.why);
    let snapshot = subject.snapshots.borrow().clone();
    head + &explain(&snapshot, &question)
}

/// A worker that has not ticked for too long.
fn stuck(telemetry: &Telemetry) -> Option<usize> {
    let now = clock::monotonic();
    telemetry
        .boards
        .iter()
        .position(|board| !is_alive(board.beat.get(), telemetry.started, now))
}

fn names_this_host(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else {
        // HTTP/1.0; no browser sends that.
        return true;
    };
    let Ok(host) = host.to_str() else {
        return false;
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

fn page(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

const EXPLAIN: &str = "/explain/";
const PLAIN: &str = "text/plain; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_host_is_answered_over_tcp() {
        let named = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            names_this_host(&headers)
        };
        for host in [
            "localhost",
            "LOCALHOST:9900",
            "127.0.0.1:9900",
            "[::1]:9900",
        ] {
            assert!(named(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:9900",
            "localhost.evil.example",
            "",
            ":9900",
        ] {
            assert!(!named(host), "{host}");
        }
        assert!(names_this_host(&HeaderMap::new()));
    }
}
