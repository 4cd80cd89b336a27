//! `Outbound` as the head of an HTTP/2 request: the same fields as over HTTP/1.1, as a map.

use bytes::{BufMut, BytesMut};
use http::header::{self, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Request, Uri, Version, uri};

use super::{Appended, Framing, Outbound, asks_for_trailers};
use crate::headers::forwarded::FieldSink;
use crate::headers::xfcc;

impl Outbound<'_> {
    /// The whole head, its map made once in its full size. `None` if the authority is none of a
    /// URI's, or the fields are more than a map can hold.
    pub fn http2_request(&self, scheme: Scheme) -> Option<Request<()>> {
        let mut request = Request::new(());
        *request.method_mut() = self.head.method().clone();
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = self.http2_uri(scheme)?;
        *request.headers_mut() = self.http2_fields()?;
        Some(request)
    }

    fn http2_uri(&self, scheme: Scheme) -> Option<Uri> {
        let target = self.head.uri();
        let mut parts = uri::Parts::default();
        parts.scheme = Some(scheme);
        parts.authority = match target.authority() {
            Some(authority) => Some(authority.clone()),
            None => Some(Authority::try_from(self.head.authority()).ok()?),
        };
        parts.path_and_query = match target.path_and_query() {
            Some(path) if !path.as_str().is_empty() => Some(path.clone()),
            _ => Some(PathAndQuery::from_static("/")),
        };
        Uri::from_parts(parts).ok()
    }

    fn http2_fields(&self) -> Option<HeaderMap> {
        let client = self.head.headers();
        let pairs = self.block.pairs();
        let own = pairs.len() + FRAMING_FIELDS + WAY_FIELDS;
        let mut fields = HeaderMap::try_with_capacity(client.len() + own).ok()?;
        for (name, value) in self.client_fields() {
            put(&mut fields, name.clone(), value.clone())?;
        }
        if self.splits_cookies() {
            for value in client.get_all(header::COOKIE) {
                put(&mut fields, header::COOKIE, value.clone())?;
            }
        }
        if let Some(names) = self.trailer_names() {
            put(&mut fields, header::TRAILER, names)?;
        }
        if asks_for_trailers(client) {
            put(
                &mut fields,
                header::TE,
                HeaderValue::from_static("trailers"),
            )?;
        }
        let mut way = MapSink {
            fields: &mut fields,
            scratch: BytesMut::with_capacity(WAY_BYTES),
            name: "",
            complete: true,
        };
        self.put_way(&mut way);
        if !way.complete {
            return None;
        }
        for (name, value) in pairs {
            let value = match &self.forwarded {
                Some(appended) if *name == xfcc::NAME => appended.value()?,
                _ => value.clone(),
            };
            put(&mut fields, name.clone(), value)?;
        }
        if let Framing::Length(length) = self.head.framing() {
            put(&mut fields, header::CONTENT_LENGTH, length.into())?;
        }
        Some(fields)
    }

    fn trailer_names(&self) -> Option<HeaderValue> {
        if self.hop.names(b"trailer") || !self.head.headers().contains_key(header::TRAILER) {
            return None;
        }
        let names = crate::headers::trailers::announced(self.head.headers(), self.hygiene);
        let names: Vec<_> = names.collect();
        let value = HeaderValue::from_bytes(&names.join(&b", "[..])).ok()?;
        (!value.is_empty()).then_some(value)
    }
}

impl Appended<'_> {
    /// Never indexed, as Herald's other values.
    fn value(&self) -> Option<HeaderValue> {
        let whole = [&self.before, self.behind].concat();
        let mut value = HeaderValue::from_bytes(&whole).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// Fields of a map, their values cut from one buffer.
struct MapSink<'a> {
    fields: &'a mut HeaderMap,
    scratch: BytesMut,
    name: &'static str,
    /// Whether every field was taken.
    complete: bool,
}

impl FieldSink for MapSink<'_> {
    fn begin(&mut self, name: &'static str) {
        self.name = name;
    }

    fn piece(&mut self, bytes: &[u8]) {
        self.scratch.put_slice(bytes);
    }

    fn end(&mut self) {
        let name = HeaderName::from_static(self.name);
        let value = HeaderValue::from_maybe_shared(self.scratch.split().freeze()).ok();
        let put = value.and_then(|value| put(self.fields, name, value));
        self.complete &= put.is_some();
    }
}

/// All callers share a connection's compression table, so secrets stay out of it: a caller could
/// guess another's by the size of what Herald sends (RFC 7541 §7.1).
fn put(fields: &mut HeaderMap, name: HeaderName, mut value: HeaderValue) -> Option<()> {
    if name == header::AUTHORIZATION || name == header::COOKIE {
        value.set_sensitive(true);
    }
    fields.try_append(name, value).ok().map(drop)
}

/// `trailer`, `te`, `content-length`.
const FRAMING_FIELDS: usize = 3;
/// `x-forwarded-*`, `forwarded`, `x-request-id`.
const WAY_FIELDS: usize = 5;
/// What their values take, as a rule.
const WAY_BYTES: usize = 256;
