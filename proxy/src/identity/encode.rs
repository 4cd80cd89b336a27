//! Encodings of bytes as header text: hexadecimal, percent, base64, PEM, and serial numbers.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

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
pub(crate) fn base64(bytes: &[u8]) -> Vec<u8> {
    STANDARD.encode(bytes).into_bytes()
}

/// Standard base64 without padding or line breaks.
pub(super) fn base64_unpadded(bytes: &[u8]) -> Vec<u8> {
    STANDARD_NO_PAD.encode(bytes).into_bytes()
}

/// An INTEGER's content as lower-case hexadecimal bytes joined by `:`, sign byte included. None
/// over [`SERIAL_MAX`] bytes and a sign.
pub(super) fn colon_hex(content: &[u8]) -> Option<Vec<u8>> {
    if content.is_empty() || content.len() > SERIAL_MAX + 1 {
        return None;
    }
    let mut out = Vec::with_capacity(3 * content.len());
    for byte in content {
        hex_lower(&mut out, &[*byte]);
        out.push(b':');
    }
    out.pop();
    Some(out)
}

/// An INTEGER's content in decimal. None over [`SERIAL_MAX`] bytes of magnitude.
pub(super) fn decimal(content: &[u8]) -> Option<Vec<u8>> {
    if content.is_empty() || content.len() > SERIAL_MAX + 1 {
        return None;
    }
    let negative = content.first()? & 0x80 != 0;
    let mut digits = vec![0_u8];
    for byte in content {
        times_and(&mut digits, 256, if negative { !*byte } else { *byte });
    }
    if negative {
        // Two's complement: the inverted bytes and one.
        times_and(&mut digits, 1, 1);
    }
    let sign = negative.then_some(b'-');
    let figures = digits.iter().rev().map(|digit| b'0' + digit);
    Some(sign.into_iter().chain(figures).collect())
}

/// Multiplies a decimal number (last digit first) and adds to it.
fn times_and(digits: &mut Vec<u8>, factor: u16, add: u8) {
    let mut carry = u16::from(add);
    for digit in digits.iter_mut() {
        carry += u16::from(*digit) * factor;
        *digit = (carry % 10) as u8;
        carry /= 10;
    }
    while carry > 0 {
        digits.push((carry % 10) as u8);
        carry /= 10;
    }
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
    let pem = pem(der, b'\n');
    let mut out = Vec::with_capacity(pem.len() + pem.len() / 8);
    percent(&mut out, &pem, is_component_byte);
    out
}

/// PEM percent-encoded as AWS does, with `+`, `=` and `/` as they are.
pub(super) fn url_pem(out: &mut Vec<u8>, der: &[u8]) {
    percent(out, &pem(der, b'\n'), |byte| {
        is_component_byte(byte) || b"+=/".contains(&byte)
    });
}

/// PEM in 64 columns whose lines, the last too, end in `end`.
pub(super) fn pem(der: &[u8], end: u8) -> Vec<u8> {
    let mut pem = b"-----BEGIN CERTIFICATE-----".to_vec();
    pem.push(end);
    for line in base64(der).chunks(64) {
        pem.extend_from_slice(line);
        pem.push(end);
    }
    pem.extend_from_slice(b"-----END CERTIFICATE-----");
    pem.push(end);
    pem
}

fn hex(out: &mut Vec<u8>, bytes: &[u8], digits: &[u8; 16]) {
    let digit = |nibble: u8| digits.get(usize::from(nibble)).copied().unwrap_or_default();
    for byte in bytes {
        out.extend_from_slice(&[byte >> 4, byte & 15].map(digit));
    }
}

/// Bytes of a serial number's magnitude that are printed (RFC 5280 §4.1.2.2 allows no more).
pub(super) const SERIAL_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_in_decimal_and_with_colons() {
        let shown = |bytes: Option<Vec<u8>>| String::from_utf8(bytes.unwrap()).unwrap();
        for (content, number) in [
            (&[0][..], "0"),
            (&[0x0a, 0x0b], "2571"),
            (&[0x7f, 0xff, 0xff, 0xff, 0xff], "549755813887"),
            (&[0, 0xff], "255"),
            (&[0xff], "-1"),
            (&[0x80], "-128"),
            (&[0xff, 0], "-256"),
            (
                &[0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                "77371252455336267181195264",
            ),
        ] {
            assert_eq!(shown(decimal(content)), number);
        }
        assert_eq!(decimal(&[1; 22]), None);
        assert_eq!(shown(colon_hex(&[0, 0xad, 0x3e])), "00:ad:3e");
        assert_eq!(colon_hex(&[]), None);
        assert_eq!(colon_hex(&[1; 22]), None);
    }

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
