//! Name constraints (RFC 5280 §4.2.1.10) as OpenSSL's `NAME_CONSTRAINTS_check` applies them, which
//! is to more names than webpki does: the leaf's common name counts as a host name where no dNSName
//! is there, and e-mail addresses in the subject count too. webpki refuses whatever lies below a
//! constraint on a directoryName or an e-mail address. Those of an anchor are ours to evaluate:
//! [`for_webpki`] leaves them out of what webpki is told of the anchor, and each path it then finds is
//! asked here. Those of an intermediate are in a certificate that a CA signed, which webpki reads
//! itself: there the intermediate stands in for an anchor (`store/constrained.rs`).

use std::borrow::Cow;

use super::der::{self, Reader, SEQUENCE, explicit};
use super::extensions::{
    DIRECTORY_NAME, DNS, EMAIL, GeneralName, IP_ADDRESS, NameConstraints, OTHER_NAME, Subtree, URI,
};
use super::facts::Facts;
use super::name::{CanonicalName, IA5_STRING, attribute_values, utf8};
use super::reason::Reason;

/// What in `certificate` offends against `constraints`, which some certificate above it carries.
pub(super) fn offence(
    certificate: &Facts,
    constraints: &NameConstraints,
    is_leaf: bool,
) -> Option<Reason> {
    let names = certificate.subject.attribute_count() + certificate.extensions.alt_names.len();
    let subtrees = constraints.permitted.len() + constraints.excluded.len();
    if names.saturating_mul(subtrees) > COMPARISONS_MAX {
        return Some(Reason::Unspecified);
    }
    check(certificate, constraints, is_leaf).err()
}

fn check(certificate: &Facts, constraints: &NameConstraints, is_leaf: bool) -> Result<(), Reason> {
    if !certificate.subject.is_empty() {
        let subject = Cow::Borrowed(&certificate.subject);
        constraints.admit(&Subject::Directory(Some(subject)))?;
        for (tag, address) in attribute_values(&certificate.subject_der, EMAIL_ADDRESS) {
            if tag != IA5_STRING {
                return Err(Reason::UnsupportedNameSyntax);
            }
            constraints.admit(&Subject::Email(address))?;
        }
    }
    let alt_names = &certificate.extensions.alt_names;
    let subtrees = || constraints.permitted.iter().chain(&constraints.excluded);
    let are_addresses_limited = subtrees().any(|subtree| subtree.base.tag == EMAIL);
    for name in alt_names {
        // RFC 9598 §6: constraints on e-mail are meant for these addresses too.
        let is_address = name.tag == OTHER_NAME && name.body.starts_with(UTF8_MAILBOX);
        if is_address && are_addresses_limited {
            return Err(Reason::UnsupportedNameSyntax);
        }
        constraints.admit(&Subject::from(name))?;
    }
    if is_leaf && !alt_names.iter().any(|name| name.tag == DNS) {
        for (tag, value) in attribute_values(&certificate.subject_der, COMMON_NAME) {
            if let Some(host) = host_name(tag, value)? {
                constraints.admit(&Subject::Dns(host.as_bytes()))?;
            }
        }
    }
    Ok(())
}

/// A name that constraints are applied to.
enum Subject<'a> {
    /// Nothing where the name cannot be read.
    Directory(Option<Cow<'a, CanonicalName>>),
    Email(&'a [u8]),
    Dns(&'a [u8]),
    Alternative(&'a GeneralName),
}

impl<'a> From<&'a GeneralName> for Subject<'a> {
    fn from(name: &'a GeneralName) -> Self {
        match name.tag {
            DNS => Self::Dns(&name.body),
            EMAIL => Self::Email(&name.body),
            // Read once here and once for each subtree, not once for each comparison.
            DIRECTORY_NAME => Self::Directory(name.directory().map(Cow::Owned)),
            _ => Self::Alternative(name),
        }
    }
}

impl Subject<'_> {
    fn tag(&self) -> u8 {
        match self {
            Self::Directory(_) => DIRECTORY_NAME,
            Self::Email(_) => EMAIL,
            Self::Dns(_) => DNS,
            Self::Alternative(name) => name.tag,
        }
    }

    /// Whether the name lies under the base of `subtree`, which has the same kind.
    fn is_under(&self, subtree: &Subtree) -> Result<bool, Reason> {
        let base = &subtree.base.body;
        match self {
            // What can't be read is in no subtree, and might be in an excluded one.
            Self::Directory(name) => match (name, &subtree.directory) {
                (Some(name), Some(base)) => Ok(name.is_within(base)),
                (None, _) => Err(Reason::UnsupportedNameSyntax),
                (_, None) => Err(Reason::UnsupportedConstraintSyntax),
            },
            Self::Dns(host) => Ok(host_is_under(host, base)),
            Self::Email(address) => email_is_under(address, base),
            Self::Alternative(name) => match name.tag {
                URI => uri_is_under(&name.body, base),
                IP_ADDRESS => address_is_under(&name.body, base),
                _ => Err(Reason::UnsupportedConstraintType),
            },
        }
    }
}

impl NameConstraints {
    /// `nc_match`: under one of the permitted subtrees of its kind if there are any, and under no
    /// excluded one.
    fn admit(&self, subject: &Subject<'_>) -> Result<(), Reason> {
        let mut permitted = None;
        for subtree in self.permitted.iter().filter(|s| concerns(s, subject)) {
            let under = permitted == Some(true) || is_under(subject, subtree)?;
            permitted = Some(under);
        }
        if permitted == Some(false) {
            return Err(Reason::PermittedViolation);
        }
        for subtree in self.excluded.iter().filter(|s| concerns(s, subject)) {
            if is_under(subject, subtree)? {
                return Err(Reason::ExcludedViolation);
            }
        }
        Ok(())
    }
}

fn concerns(subtree: &Subtree, subject: &Subject<'_>) -> bool {
    if subtree.base.tag != subject.tag() {
        return false;
    }
    match subject {
        // Different kinds of otherName are told apart by the OID they begin with.
        Subject::Alternative(name) if name.tag == OTHER_NAME => {
            fn kind(body: &[u8]) -> Option<&[u8]> {
                let length = body.get(1).map_or(0, |length| usize::from(*length) + 2);
                body.get(..length)
            }
            kind(&name.body) == kind(&subtree.base.body)
        }
        _ => true,
    }
}

fn is_under(subject: &Subject<'_>, subtree: &Subtree) -> Result<bool, Reason> {
    if subtree.has_distance {
        return Err(Reason::SubtreeMinMax);
    }
    subject.is_under(subtree)
}

/// `nc_dns`: labels may be added on the left; an empty base holds everything.
fn host_is_under(host: &[u8], base: &[u8]) -> bool {
    let Some(split) = host.len().checked_sub(base.len()) else {
        return false;
    };
    let (left, right) = host.split_at(split);
    base.is_empty()
        || right.eq_ignore_ascii_case(base)
            && (left.is_empty() || left.ends_with(b".") || base.starts_with(b"."))
}

/// `nc_email`: a whole address, a host, or with a leading dot every host of a domain.
fn email_is_under(address: &[u8], base: &[u8]) -> Result<bool, Reason> {
    let (local, host) = split_at_sign(address).ok_or(Reason::UnsupportedNameSyntax)?;
    Ok(match split_at_sign(base) {
        None if base.starts_with(b".") => {
            address.len() > base.len() && ends_with_ignore_case(address, base)
        }
        None => host.eq_ignore_ascii_case(base),
        Some((base_local, base_host)) => {
            (base_local.is_empty() || base_local == local) && host.eq_ignore_ascii_case(base_host)
        }
    })
}

/// `nc_uri`: the host between `://` and the port or path.
fn uri_is_under(uri: &[u8], base: &[u8]) -> Result<bool, Reason> {
    let colon = uri.iter().position(|byte| *byte == b':');
    let host = colon
        .and_then(|at| uri.get(at..)?.strip_prefix(b"://"))
        .map(|rest| {
            let end_at = |stop| rest.iter().position(|byte| *byte == stop);
            let end = end_at(b':').or_else(|| end_at(b'/')).unwrap_or(rest.len());
            rest.get(..end).unwrap_or(rest)
        })
        .filter(|host| !host.is_empty())
        .ok_or(Reason::UnsupportedNameSyntax)?;
    Ok(if base.starts_with(b".") {
        host.len() > base.len() && ends_with_ignore_case(host, base)
    } else {
        host.eq_ignore_ascii_case(base)
    })
}

/// `nc_ip`: address and mask, four or sixteen octets each.
fn address_is_under(address: &[u8], base: &[u8]) -> Result<bool, Reason> {
    if !matches!(address.len(), 4 | 16) || !matches!(base.len(), 8 | 32) {
        return Err(Reason::UnsupportedNameSyntax);
    }
    let (network, mask) = base.split_at(base.len() / 2);
    Ok(address.len() == network.len()
        && address
            .iter()
            .zip(network.iter().zip(mask))
            .all(|(octet, (network, mask))| octet & mask == network & mask))
}

/// `cn2dnsid`: the common name where it looks like a host name of two labels or more.
fn host_name(tag: u8, value: &[u8]) -> Result<Option<String>, Reason> {
    let text = utf8(tag, value).ok_or(Reason::Unspecified)?;
    let text = text.trim_end_matches('\0');
    if text.contains('\0') {
        return Err(Reason::UnsupportedNameSyntax);
    }
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    };
    let is_host = text.contains('.') && text.split('.').all(is_label);
    Ok(is_host.then(|| text.to_owned()))
}

fn split_at_sign(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.iter().rposition(|byte| *byte == b'@')?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

fn ends_with_ignore_case(text: &[u8], end: &[u8]) -> bool {
    text.len()
        .checked_sub(end.len())
        .and_then(|at| text.get(at..))
        .is_some_and(|tail| tail.eq_ignore_ascii_case(end))
}

/// The content of an anchor's NameConstraints without the subtrees that webpki can't evaluate and
/// [`offence`] can; nothing where it can't be read. What is left webpki enforces as ever.
pub(super) fn for_webpki(constraints: &[u8]) -> Option<Vec<u8>> {
    let mut lists = Reader::new(constraints);
    let mut left = Vec::new();
    for tag in [explicit(0), explicit(1)] {
        let Some(list) = lists.optional(tag)? else {
            continue;
        };
        let mut subtrees = Reader::new(list.body);
        let mut kept = Vec::new();
        while !subtrees.is_empty() {
            let subtree = subtrees.expect(SEQUENCE)?;
            if !is_evaluated_here(subtree.body) {
                kept.extend_from_slice(subtree.whole);
            }
        }
        if !kept.is_empty() {
            left.push(tag);
            left.extend(der::length(kept.len()));
            left.extend(kept);
        }
    }
    lists.is_empty().then_some(left)
}

/// A base that can be read, and no distances: those are webpki's to refuse.
fn is_evaluated_here(subtree: &[u8]) -> bool {
    let mut fields = Reader::new(subtree);
    let Some(base) = fields.read().filter(|_| fields.is_empty()) else {
        return false;
    };
    match base.tag {
        DIRECTORY_NAME => der::only(base.body, SEQUENCE)
            .and_then(CanonicalName::read)
            .is_some(),
        // An empty one would hold no address.
        EMAIL => !base.body.is_empty(),
        _ => false,
    }
}

/// Names times subtrees that are compared for one certificate; chains come from peers.
const COMPARISONS_MAX: usize = 1 << 16;
/// 2.5.4.3
pub(super) const COMMON_NAME: &[u8] = &[0x55, 4, 3];
/// How an otherName of 1.3.6.1.5.5.7.8.9, SmtpUTF8Mailbox, begins.
const UTF8_MAILBOX: &[u8] = &[0x06, 8, 0x2b, 6, 1, 5, 5, 7, 8, 9];
/// 1.2.840.113549.1.9.1
const EMAIL_ADDRESS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1];

#[cfg(test)]
mod tests {
    use super::{
        address_is_under, email_is_under, for_webpki, host_is_under, host_name, uri_is_under,
    };
    use crate::tls::reason::Reason;

    #[test]
    fn hosts_are_matched_by_whole_labels() {
        assert!(host_is_under(b"a.example.com", b"Example.com"));
        assert!(host_is_under(b"example.com", b"example.com"));
        assert!(host_is_under(b"a.example.com", b".example.com"));
        assert!(host_is_under(b"anything", b""));
        assert!(!host_is_under(b"badexample.com", b"example.com"));
        assert!(!host_is_under(b"com", b"example.com"));
    }

    #[test]
    fn addresses_are_matched_by_host_domain_or_whole() {
        assert_eq!(email_is_under(b"a@h.example", b"h.example"), Ok(true));
        assert_eq!(email_is_under(b"a@h.example", b".example"), Ok(true));
        assert_eq!(email_is_under(b"a@h.example", b"a@H.example"), Ok(true));
        assert_eq!(email_is_under(b"A@h.example", b"a@h.example"), Ok(false));
        assert_eq!(
            email_is_under(b"h.example", b"h.example"),
            Err(Reason::UnsupportedNameSyntax)
        );
    }

    #[test]
    fn uris_are_matched_by_their_host() {
        assert_eq!(
            uri_is_under(b"spiffe://td.example/a", b"td.example"),
            Ok(true)
        );
        assert_eq!(
            uri_is_under(b"https://td.example:1/a", b".example"),
            Ok(true)
        );
        assert_eq!(
            uri_is_under(b"https://other/td.example", b"td.example"),
            Ok(false)
        );
        assert_eq!(
            uri_is_under(b"urn:x", b"x"),
            Err(Reason::UnsupportedNameSyntax)
        );
        assert_eq!(
            uri_is_under(b"x:///", b"x"),
            Err(Reason::UnsupportedNameSyntax)
        );
    }

    #[test]
    fn ip_addresses_are_matched_under_their_mask() {
        let net = [10, 0, 0, 0, 255, 0, 0, 0];
        assert_eq!(address_is_under(&[10, 9, 8, 7], &net), Ok(true));
        assert_eq!(address_is_under(&[11, 9, 8, 7], &net), Ok(false));
        assert_eq!(address_is_under(&[0; 16], &net), Ok(false));
        assert_eq!(
            address_is_under(&[10, 9], &net),
            Err(Reason::UnsupportedNameSyntax)
        );
    }

    #[test]
    fn only_plausible_host_names_count_in_a_common_name() {
        let host = |text: &str| host_name(0x0c, text.as_bytes());
        assert_eq!(host("a.example"), Ok(Some("a.example".to_owned())));
        assert_eq!(host("a.example\0"), Ok(Some("a.example".to_owned())));
        assert_eq!(host("James Royal"), Ok(None));
        assert_eq!(host("single"), Ok(None));
        assert_eq!(host("a-.example"), Ok(None));
        assert_eq!(host("a.\0example"), Err(Reason::UnsupportedNameSyntax));
    }

    #[test]
    fn webpki_keeps_what_it_can_evaluate() {
        let subtree = |body: &[u8]| tlv(0x30, body);
        let name = |body: &[u8]| subtree(&tlv(0xa4, body));
        let (dns, email) = (subtree(b"\x82\x01a"), subtree(b"\x81\x01a"));
        // Empty, with a distance, not a name: none is for us.
        let theirs = [
            dns,
            subtree(b"\x81\0"),
            subtree(b"\x81\x01a\x80\x01\x01"),
            name(b"\x02\0"),
            subtree(b"\x86\x01a"),
        ]
        .concat();
        let ours = [email, name(b"\x30\0")].concat();
        for tag in [0xa0, 0xa1] {
            let both = tlv(tag, &[&ours[..], &theirs].concat());
            assert_eq!(for_webpki(&both), Some(tlv(tag, &theirs)));
            assert_eq!(for_webpki(&tlv(tag, &ours)), Some(Vec::new()));
        }
        let twice = [tlv(0xa0, &ours), tlv(0xa1, &theirs)].concat();
        assert_eq!(for_webpki(&twice), Some(tlv(0xa1, &theirs)));
        let long = [theirs.repeat(5), ours].concat();
        assert_eq!(
            for_webpki(&[&[0xa0, 0x81, u8::try_from(long.len()).unwrap()], &long[..]].concat()),
            Some([&[0xa0, 0x81, 140], &theirs.repeat(5)[..]].concat())
        );
        for broken in [
            &b"\x30\0"[..],
            b"\xa0\x01",
            b"\xa0\x02\x05\0",
            b"\xa1\0\xa0\0",
        ] {
            assert_eq!(for_webpki(broken), None);
        }
    }

    fn tlv(tag: u8, body: &[u8]) -> Vec<u8> {
        [&[tag, u8::try_from(body.len()).unwrap()], body].concat()
    }
}
