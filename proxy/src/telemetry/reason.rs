//! The closed vocabulary of records and metrics: the same words in the access log, in labels and
//! in `respond.rs`. Enums with a label and an index each; nothing here is ever text of a peer.

/// An enum whose variants have a label and a place in an array of counters.
macro_rules! labelled {
    ($(#[$outer:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $label:literal,)+ }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
        }

        impl $name {
            /// Every variant, in the order of its index.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// How many variants there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The word in records and labels.
            pub fn label(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)+
                }
            }

            /// The place in an array of [`Self::COUNT`] entries.
            pub fn index(self) -> usize {
                self as usize
            }
        }
    };
}

labelled! {
    /// Why a request was not served, or not to its end.
    Reason {
        /// `Host`, `:authority` and an absolute target differ.
        AuthorityConflict = "authority_conflict",
        /// Not `host[:port]`.
        AuthorityInvalid = "authority_invalid",
        /// No authority at all.
        AuthorityMissing = "authority_missing",
        /// A path that rules can't be matched against.
        PathAmbiguous = "path_ambiguous",
        /// A policy, or that none allows.
        DeniedByPolicy = "denied_by_policy",
        /// The connection is not for the request's host.
        Misdirected = "misdirected",
        /// The CONNECT method.
        Connect = "connect",
        /// Several Host lines.
        HostRepeated = "host_repeated",
        /// No path.
        TargetInvalid = "target_invalid",
        /// A Transfer-Encoding other than one `chunked`.
        TransferEncoding = "transfer_encoding",
        /// A Connection header with bytes that are no token.
        ConnectionBytes = "connection_bytes",
        /// A Connection header that names a protected field.
        ConnectionNamesProtected = "connection_names_protected",
        /// A Connection header with too many options.
        ConnectionTooLong = "connection_too_long",
        /// A trusted forwarder's X-Forwarded-Client-Cert that is malformed or too long.
        ForwardedIdentity = "forwarded_identity",
        /// A head that is not HTTP/1; the server library answered 400.
        HeadMalformed = "head_malformed",
        /// A head beyond its limits; the server library answered 431.
        HeadTooLarge = "head_too_large",
        /// A target beyond 64 KiB; the server library answered 414.
        TargetTooLong = "target_too_long",
        /// A head that did not end in time; the connection was closed.
        HeadTimeout = "head_timeout",
        /// No certificate, and one is required.
        NoCertificate = "no_certificate",
        /// A certificate that did not verify.
        CertificateFailed = "certificate_failed",
        /// The client went away before it was answered.
        ClientGone = "client_gone",
        /// The client's body failed.
        ClientBody = "client_body",
        /// The client's body is larger than is taken.
        BodyTooLarge = "body_too_large",
        /// The client's body was shorter than declared.
        ClientBodyShort = "client_body_short",
        /// The client's body was longer than declared.
        ClientBodyLong = "client_body_long",
        /// The client stopped sending its body.
        ClientStalled = "client_stalled",
        /// Neither body moved for too long.
        Idle = "idle",
        /// The origin's name has no address.
        Resolve = "resolve",
        /// No address of the origin accepts.
        ConnectFailed = "connect_failed",
        /// The TLS handshake with the origin failed.
        OriginTls = "origin_tls",
        /// Connecting took too long.
        ConnectTimeout = "connect_timeout",
        /// The connection broke under the request.
        OriginWrite = "origin_write",
        /// The connection broke under the response.
        OriginRead = "origin_read",
        /// Closed before an answer.
        OriginClosed = "origin_closed",
        /// Closed inside a response body.
        OriginTruncated = "origin_truncated",
        /// No answer in time.
        ResponseTimeout = "response_timeout",
        /// A response that breaks HTTP/1.1 or a limit.
        BadResponse = "bad_response",
        /// A 101 nobody asked for.
        UnexpectedUpgrade = "unexpected_upgrade",
    }
}

/// Who ended a request that was not served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// Herald refused it.
    Herald,
    /// The client broke it off, or broke its own framing.
    Client,
    /// The origin, or the network before it.
    Origin,
}

impl Reason {
    /// Who ended the request.
    pub fn side(self) -> Side {
        match self {
            Self::ClientGone
            | Self::ClientBody
            | Self::ClientBodyShort
            | Self::ClientBodyLong
            | Self::ClientStalled => Side::Client,
            Self::Resolve
            | Self::ConnectFailed
            | Self::ConnectTimeout
            | Self::OriginTls
            | Self::OriginWrite
            | Self::OriginRead
            | Self::OriginClosed
            | Self::OriginTruncated
            | Self::ResponseTimeout
            | Self::BadResponse
            | Self::UnexpectedUpgrade => Side::Origin,
            _ => Side::Herald,
        }
    }
}

labelled! {
    /// Why a handshake did not complete.
    HandshakeFailure {
        /// It took too long.
        Timeout = "timeout",
        /// The client sent too much.
        TooLarge = "too_large",
        /// The connection broke, or closed before the end.
        Io = "io",
        /// The client sent an alert: it does not like Herald's certificate, mostly.
        ClientAlert = "client_alert",
        /// No version, suite, group or protocol in common.
        Incompatible = "incompatible",
        /// The client's certificate, or its proof of possession, was refused.
        Certificate = "certificate",
        /// Bytes that are not TLS, or not in its order.
        Protocol = "protocol",
        /// Refused after a resumed handshake: the certificate no longer verifies.
        NotAdmitted = "not_admitted",
        /// Not begun: the source had as many connections as it may.
        SourceLimit = "source_limit",
        /// Anything else.
        Other = "other",
    }
}

labelled! {
    /// The conclusion on a caller's certificate.
    VerdictKind {
        /// It verified.
        Success = "success",
        /// It did not.
        Failed = "failed",
        /// There was none.
        None = "none",
    }
}

labelled! {
    /// What the client speaks.
    Protocol {
        /// HTTP/1.0 and 1.1.
        Http1 = "http1",
        /// HTTP/2.
        Http2 = "http2",
    }
}

labelled! {
    /// How an exchange ended.
    Ending {
        /// With the last byte of the answer.
        Complete = "complete",
        /// With a cut: the origin or the client's body failed under way.
        Failed = "failed",
        /// The client went away before the last byte.
        ClientGone = "client_gone",
    }
}

labelled! {
    /// How a client connection ended.
    ConnectionEnd {
        /// In order.
        Closed = "closed",
        /// Its handshake did not complete.
        HandshakeFailed = "handshake_failed",
        /// A request head that hyper refused, or that never ended.
        HeadRefused = "head_refused",
        /// Nothing was asked for too long.
        Idle = "idle",
        /// It broke, or the client broke its rules.
        Broken = "broken",
        /// Herald stopped before it was over.
        Stopped = "stopped",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_distinct_words_of_the_prometheus_kind() {
        let mut labels: Vec<_> = Reason::ALL.iter().map(|reason| reason.label()).collect();
        assert!(
            labels
                .iter()
                .all(|label| label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
        );
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), Reason::COUNT);
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), index);
        }
    }
}
