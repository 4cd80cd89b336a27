//! From the operator's choice of presets and free templates to the header block of one caller.
//!
//! A mapping is compiled and checked once; rendering makes one buffer of lines. Refused: names that
//! are no plain token, and names by which the message is framed, routed, authorised or handed on.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderName;

use super::block::HeaderBlock;
use super::families::family_names;
use super::names::canonical_key;
use super::preset::{Form, Preset};
use super::template::Template;
use super::xfcc;
use crate::identity::{self, Values, Variable, VariableSet, XfccBy};

#[cfg(test)]
mod tests;

/// Which headers are sent, and what they are made of.
#[derive(Clone, Debug)]
pub struct Mapping {
    entries: Box<[Entry]>,
    /// Theirs, in their order.
    names: Arc<[HeaderName]>,
    wanted: VariableSet,
    /// What begins an element of `x-forwarded-client-cert`: Herald's own URIs.
    by: XfccBy,
    /// Which entry is such an element, if any, and of what it tells in which format.
    element: Option<(usize, xfcc::Told, xfcc::Format)>,
    /// Whether it may come behind a forwarder's.
    appends: bool,
}

#[derive(Clone, Debug)]
struct Entry {
    /// As the operator or the preset spells it.
    spelling: Box<str>,
    name: HeaderName,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Template(Template),
    Boolean(Variable),
    Verified(Variable),
    Base64(Variable),
}

/// A mistake in one of the free entries.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MappingError {
    /// Index of the entry among the free ones.
    pub entry: usize,
    /// What is wrong, and what is allowed.
    pub message: String,
}

impl Mapping {
    /// Compiles presets and free entries (name, template). Without either, it is the preset
    /// `cloudflare-worker`. A free entry replaces a preset's header of the same canonical name.
    ///
    /// # Errors
    /// All mistakes of all free entries.
    pub fn compile(
        presets: &[Preset],
        free: &[(String, String)],
    ) -> Result<Self, Vec<MappingError>> {
        let default: &[Preset] = &[Preset::CloudflareWorker];
        let presets = if presets.is_empty() && free.is_empty() {
            default
        } else {
            presets
        };
        Self::grown(preset_entries(presets), free)
    }

    /// This mapping with the headers of `presets` and the free entries added; each takes the place of
    /// one with the same canonical name.
    ///
    /// # Errors
    /// All mistakes of all free entries.
    pub fn extended(
        &self,
        presets: &[Preset],
        free: &[(String, String)],
    ) -> Result<Self, Vec<MappingError>> {
        let mut entries = self.entries.to_vec();
        for entry in preset_entries(presets) {
            put(&mut entries, entry);
        }
        Self::grown(entries, free).map(|grown| grown.like(self))
    }

    fn grown(
        mut entries: Vec<Entry>,
        free: &[(String, String)],
    ) -> Result<Self, Vec<MappingError>> {
        let mut errors = Vec::new();
        for (index, (name, template)) in free.iter().enumerate() {
            let earlier = free.iter().take(index).position(|(other, _)| {
                canonical_key(other.as_bytes()) == canonical_key(name.as_bytes())
            });
            match free_entry(name, template, earlier) {
                Ok(entry) => put(&mut entries, entry),
                Err(messages) => errors.extend(messages.into_iter().map(|message| MappingError {
                    entry: index,
                    message,
                })),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self::made_of(entries))
    }

    /// One preset and nothing else.
    pub(super) fn of(preset: Preset) -> Self {
        Self::made_of(preset_entries(&[preset]))
    }

    fn made_of(entries: Vec<Entry>) -> Self {
        let wanted = entries
            .iter()
            .map(|entry| entry.source.wanted())
            .fold(VariableSet::EMPTY, VariableSet::union);
        Self {
            element: entries.iter().enumerate().find_map(Entry::element),
            names: entries.iter().map(|entry| entry.name.clone()).collect(),
            entries: entries.into(),
            wanted,
            by: XfccBy::default(),
            appends: false,
        }
    }

    /// The same with Herald's own URIs in elements of `x-forwarded-client-cert`; these may come behind a
    /// forwarder's if it `appends`, and are then rendered in both formats.
    pub fn by(mut self, by: &XfccBy, appends: bool) -> Self {
        self.by = by.clone();
        self.appends = appends;
        if let Some((_, told, _)) = self.element.filter(|_| appends) {
            for (variable, _) in told.variables() {
                self.wanted.insert(variable);
            }
        }
        self
    }

    /// The same with such elements as `other` has.
    pub fn like(self, other: &Self) -> Self {
        self.by(&other.by, other.appends)
    }

    /// Whether it has `x-forwarded-client-cert` in one of Envoy's formats.
    pub fn has_elements(&self) -> bool {
        self.element.is_some()
    }

    /// The names it may send, as they are spelled. They are protected from clients.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| &*entry.spelling)
    }

    /// The variables that [`Mapping::render`] reads.
    pub fn wanted(&self) -> VariableSet {
        self.wanted
    }

    /// Renders the headers of one caller. `values` must hold [`Mapping::wanted`]; what it lacks is
    /// absent.
    pub fn render(&self, values: &Values) -> HeaderBlock {
        let mut lines = Vec::with_capacity(USUAL_BLOCK);
        let mut element = None;
        for (number, entry) in self.entries.iter().enumerate() {
            let line = lines.len();
            lines.extend_from_slice(entry.spelling.as_bytes());
            lines.extend_from_slice(b": ");
            let start = lines.len();
            let own = self.element.filter(|(at, ..)| *at == number);
            let is_there = match own {
                Some((_, told, format)) => {
                    let value = told.value(format, values, &self.by);
                    lines.extend_from_slice(value.as_deref().unwrap_or_default());
                    value.is_some()
                }
                None => entry.source.render(values, &mut lines),
            };
            if is_there {
                if let Some((_, told, _)) = own.filter(|_| self.appends) {
                    element = Some(told.element(start..lines.len(), values, &self.by));
                }
                lines.extend_from_slice(b"\r\n");
            } else {
                lines.truncate(line);
            }
        }
        // It is kept for long: no larger than it must be.
        let lines = Bytes::copy_from_slice(&lines);
        let mut block = HeaderBlock::new(lines, Arc::clone(&self.names));
        block.element = element;
        if self.wanted.contains(Variable::DaysRemaining) {
            block.holds_until = values.holds_until;
        }
        block
    }
}

impl Entry {
    /// What it tells, with its place, if it is `x-forwarded-client-cert` in one of Envoy's formats.
    fn element((at, entry): (usize, &Self)) -> Option<(usize, xfcc::Told, xfcc::Format)> {
        let template = match &entry.source {
            Source::Template(template) if entry.name == xfcc::NAME => template,
            _ => return None,
        };
        xfcc::Told::ALL.into_iter().find_map(|told| {
            let mut variables = told.variables().into_iter();
            let (_, format) = variables.find(|(variable, _)| template.is_only(*variable))?;
            Some((at, told, format))
        })
    }
}

impl Source {
    fn wanted(&self) -> VariableSet {
        match self {
            Self::Template(template) => template.wanted(),
            Self::Boolean(variable) | Self::Base64(variable) => [*variable].into_iter().collect(),
            Self::Verified(variable) => [*variable, Variable::Verified].into_iter().collect(),
        }
    }

    fn render(&self, values: &Values, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Template(template) => template.render(values, out),
            Self::Boolean(variable) => {
                let value = values.get(*variable);
                let truth = matches!(value, Some(b"1" | identity::SUCCESS));
                out.extend_from_slice(if truth { b"true" } else { b"false" });
                value.is_some()
            }
            Self::Verified(variable) => {
                let verified = values.get(Variable::Verified) == Some(identity::SUCCESS);
                let value = values.get(*variable).filter(|_| verified);
                out.extend_from_slice(value.unwrap_or_default());
                value.is_some()
            }
            Self::Base64(variable) => {
                let value = values.get(*variable);
                out.extend(identity::encode::base64(value.unwrap_or_default()));
                value.is_some()
            }
        }
    }
}

impl fmt::Display for MappingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for MappingError {}

fn preset_entries(presets: &[Preset]) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (spelling, variable, form) in presets.iter().flat_map(|preset| preset.rows()) {
        let source = match form {
            Form::Plain => Source::Template(Template::of(*variable)),
            Form::Boolean => Source::Boolean(*variable),
            Form::Verified => Source::Verified(*variable),
            Form::Base64 => Source::Base64(*variable),
        };
        if let Ok(name) = HeaderName::from_bytes(spelling.as_bytes()) {
            put(
                &mut entries,
                Entry {
                    spelling: (*spelling).into(),
                    name,
                    source,
                },
            );
        }
    }
    entries
}

/// Adds an entry, in the place of one whose name an origin cannot tell from it.
fn put(entries: &mut Vec<Entry>, entry: Entry) {
    let key = canonical_key(entry.spelling.as_bytes());
    match entries
        .iter_mut()
        .find(|old| canonical_key(old.spelling.as_bytes()) == key)
    {
        Some(old) => *old = entry,
        None => entries.push(entry),
    }
}

fn free_entry(name: &str, template: &str, earlier: Option<usize>) -> Result<Entry, Vec<String>> {
    let mut messages = Vec::new();
    let shown = name.escape_default();
    let token = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let parsed = HeaderName::from_bytes(name.as_bytes())
        .ok()
        .filter(|_| token && name.len() <= MAX_NAME);
    if parsed.is_none() {
        messages.push(format!(
            "`{shown}` is no header name; allowed are 1 to {MAX_NAME} letters, digits and `-`"
        ));
    } else if let Some(reason) = forbidden(&canonical_key(name.as_bytes())) {
        messages.push(format!(
            "`{shown}` {reason}; choose a name of your own, such as X-Client-Name"
        ));
    }
    if let Some(earlier) = earlier {
        messages.push(format!(
            "`{shown}` is set twice: entry {} has the same name",
            earlier + 1
        ));
    }
    let template = Template::parse(template)
        .map_err(|error| messages.push(format!("`{shown}`: template {error}")));
    match (parsed, template) {
        (Some(name), Ok(template)) if messages.is_empty() => Ok(Entry {
            spelling: shown.to_string().into(),
            name,
            source: Source::Template(template),
        }),
        _ => Err(messages),
    }
}

/// Why no certificate value may be put on this (canonical) name.
fn forbidden(key: &[u8]) -> Option<&'static str> {
    // Some products put certificates on names that look like forwarding headers.
    if family_names().any(|family| *canonical_key(family.as_bytes()) == *key) {
        return None;
    }
    FORBIDDEN
        .iter()
        .find(|(names, _)| {
            names.iter().any(|name| match name.strip_suffix('*') {
                Some(prefix) => key.starts_with(prefix.as_bytes()),
                None => key == name.as_bytes(),
            })
        })
        .map(|(_, reason)| *reason)
}

/// Longest header name of a free entry, in bytes.
const MAX_NAME: usize = 128;

/// Canonical names, `*` for any ending, and why they are refused.
const FORBIDDEN: &[(&[&str], &str)] = &[
    (
        &[
            "content-length",
            "transfer-encoding",
            "content-*",
            "trailer",
            "expect",
        ],
        "frames or describes the body (RFC 9112 §6, RFC 9110 §8)",
    ),
    (
        &[
            "connection",
            "keep-alive",
            "proxy-*",
            "te",
            "upgrade",
            "http2-settings",
        ],
        "is hop-by-hop (RFC 9110 §7.6.1)",
    ),
    (
        &[
            "host",
            "authority",
            "path",
            "method",
            "scheme",
            "protocol",
            "status",
            "max-forwards",
            "alt-used",
        ],
        "routes the request (RFC 9110 §7.2)",
    ),
    (
        &[
            "authorization",
            "cookie",
            "set-cookie",
            "origin",
            "sec-*",
            "early-data",
        ],
        "carries the caller's own credentials or origin",
    ),
    (
        &[
            "forwarded",
            "x-forwarded-*",
            "x-real-ip",
            "via",
            "x-request-id",
            "traceparent",
            "tracestate",
        ],
        "tells the origin where the request came from, which Herald sets itself",
    ),
    (
        &[
            "accept*",
            "range",
            "if-*",
            "cache-control",
            "pragma",
            "vary",
            "date",
            "user-agent",
            "x-http-method*",
            "x-method-override",
            "x-original-url",
            "x-rewrite-url",
        ],
        "changes what the request asks for",
    ),
];

/// Room for most blocks, in bytes.
const USUAL_BLOCK: usize = 1024;
