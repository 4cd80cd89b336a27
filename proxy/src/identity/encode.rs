//! Encodings of bytes as header text: hexadecimal, percent, base64, PEM, and serial numbers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Appends upper-case hexadecimal without separators.
pub(super) fn hex_upper(out: &mut Vec<u8>, bytes: &[u8]) {
    hex(out, bytes, b"0123456789ABCDEF");
}

/// Appends lower-case hexadecimal without separators.
pub(super) fn hex_lower(out: &mut Vec<u8>, bytes: &[u8]) {
    hex(out, bytes, b"0123456789abcdef");
}

/// Appends `bytes` with every byte that `keep` refuses as `%XX` (RFC 3986 §2.1, upper case).
pub(crate) fn percent(out: &mut Vec<u8>, bytes: &[u8], keep: impl Fn(u8) -> bool) {
    for byte in bytes {
        if keep(*byte) {
            out.push(*byte);
        } else {
            out.push(b'%');
            hex_upper(out, &[*byte]);
        }
    }
}

/// Bytes that stand for themselves in a template or a list. `*` is for wildcard names, `:` and `/`
/// for URIs and IPv6; neither `,` nor `;` nor `=` nor a quote can come out of a certificate.
pub(crate) fn is_template_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~@:/*".contains(&byte)
}

/// Bytes that stand for themselves in certPEM (nginx's NGX_ESCAPE_URI_COMPONENT).
pub(super) fn is_component_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// An INTEGER's content as `i2a_ASN1_INTEGER` prints it, but at most [`SERIAL_MAX`] bytes of the
/// magnitude: after them `...` says that there is more. (OpenSSL breaks the line after 35 bytes,
/// which in a header is a way to inject one.) None if there is no content.
pub(super) fn serial(content: &[u8]) -> Option<Vec<u8>> {
    let (first, rest) = content.split_first()?;
    let negative = first & 0x80 != 0;
    let mut magnitude = content.to_vec();
    if negative {
        // Two's complement: invert from the left down to the last byte that is not zero.
        let last = magnitude.iter().rposition(|byte| *byte != 0).unwrap_or(0);
        for (index, byte) in magnitude.iter_mut().enumerate().take(last + 1) {
            *byte = if index == last {
                byte.wrapping_neg()
            } else {
                !*byte
            };
        }
    }
    // One byte of DER padding (`c2i_ibuf`): 00 before a set bit, or FF made 00 by the inversion.
    let pad = !rest.is_empty() && magnitude.first() == Some(&0);
    let magnitude = magnitude.get(usize::from(pad)..)?;
    let mut out = Vec::with_capacity(2 * SERIAL_MAX + 4);
    if negative {
        out.push(b'-');
    }
    hex_upper(&mut out, magnitude.get(..SERIAL_MAX).unwrap_or(magnitude));
    if magnitude.len() > SERIAL_MAX {
        out.extend_from_slice(b"...");
    }
    Some(out)
}

/// Standard base64 with padding and no line breaks.
pub(super) fn base64(bytes: &[u8]) -> Vec<u8> {
    STANDARD.encode(bytes).into_bytes()
}

/// An RFC 8941 byte sequence, as RFC 9440 §2.1 wants a certificate.
pub(super) fn byte_sequence(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b':');
    out.extend_from_slice(&base64(bytes));
    out.push(b':');
}

/// The length of [`byte_sequence`] without making it.
pub(super) fn byte_sequence_len(bytes: &[u8]) -> usize {
    bytes.len().div_ceil(3) * 4 + 2
}

/// PEM as OpenSSL writes it (64 columns, LF, a last LF), percent-encoded: nginx's
/// `$ssl_client_escaped_cert`.
pub(super) fn escaped_pem(der: &[u8]) -> Vec<u8> {
    let mut pem = b"-----BEGIN CERTIFICATE-----\n".to_vec();
    for line in base64(der).chunks(64) {
        pem.extend_from_slice(line);
        pem.push(b'\n');
    }
    pem.extend_from_slice(b"-----END CERTIFICATE-----\n");
    let mut out = Vec::with_capacity(pem.len() + pem.len() / 8);
    percent(&mut out, &pem, is_component_byte);
    out
}

fn hex(out: &mut Vec<u8>, bytes: &[u8], digits: &[u8; 16]) {
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            out.extend(digits.get(usize::from(nibble)));
        }
    }
}

/// Bytes of a serial number's magnitude that are printed (RFC 5280 §4.1.2.2 allows no more).
pub(super) const SERIAL_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_never_break_the_line() {
        let text = |content: &[u8]| String::from_utf8(serial(content).unwrap()).unwrap();
        assert_eq!(text(&[0]), "00");
        assert_eq!(text(&[0x0a, 0x0b]), "0A0B");
        assert_eq!(text(&[0xe1]), "-1F");
        assert_eq!(text(&[0xff]), "-01");
        assert_eq!(text(&[0xff, 0]), "-0100");
        assert_eq!(text(&[0xff, 0x7f]), "-81");
        assert_eq!(text(&[0x80]), "-80");
        assert_eq!(text(&[0, 0x80]), "80");
        assert_eq!(text(&[0x11; 20]), "11".repeat(20));
        assert_eq!(text(&[0x11; 40]), format!("{}...", "11".repeat(20)));
        assert_eq!(serial(&[]), None);
    }
}
