#!/usr/bin/env python3
"""Asks the local libcrypto (OpenSSL 3.0) for what Herald must reproduce. Run from this directory:

    python3 openssl.py objects > ../../proxy/src/identity/objects.tsv   # OID (DER, hex), short name
    python3 openssl.py vectors > vectors.tsv                            # odd certificates as printed

Both outputs are committed: tests need neither Python nor OpenSSL. Certificates are made here byte by
byte, because no tool issues the odd ones; the signatures are empty bit strings, for nothing here verifies.
"""
import ctypes, ctypes.util, random, sys

C = ctypes.CDLL(ctypes.util.find_library("crypto"))
P = ctypes.c_void_p
for name, res, args in [
    ("OBJ_nid2obj", P, [ctypes.c_int]), ("OBJ_obj2nid", ctypes.c_int, [P]), ("OBJ_nid2sn", ctypes.c_char_p, [ctypes.c_int]),
    ("OBJ_length", ctypes.c_size_t, [P]), ("OBJ_get0_data", P, [P]), ("OBJ_new_nid", ctypes.c_int, [ctypes.c_int]),
    ("d2i_X509", P, [P, ctypes.POINTER(ctypes.c_char_p), ctypes.c_long]), ("X509_free", None, [P]),
    ("X509_get_subject_name", P, [P]), ("X509_get_issuer_name", P, [P]), ("X509_get_serialNumber", P, [P]),
    ("X509_get0_notBefore", P, [P]), ("X509_get0_notAfter", P, [P]), ("BIO_new", P, [P]), ("BIO_s_mem", P, []),
    ("BIO_ctrl", ctypes.c_long, [P, ctypes.c_int, ctypes.c_long, P]), ("BIO_free", ctypes.c_int, [P]),
    ("BIO_read", ctypes.c_int, [P, P, ctypes.c_int]),
    ("X509_NAME_print_ex", ctypes.c_int, [P, P, ctypes.c_int, ctypes.c_ulong]), ("X509_NAME_oneline", P, [P, P, ctypes.c_int]),
    ("i2a_ASN1_INTEGER", ctypes.c_int, [P, P]), ("ASN1_TIME_print", ctypes.c_int, [P, P]), ("ERR_clear_error", None, []),
]:
    f = getattr(C, name); f.restype = res; f.argtypes = args
RFC2253 = 0x1 | 0x2 | 0x4 | 0x10 | 0x100 | 0x200 | (1 << 16) | (1 << 20) | (1 << 24)


def tlv(tag, body):
    n = len(body)
    if n < 128: head = bytes([n])
    else:
        b = n.to_bytes((n.bit_length() + 7) // 8, "big"); head = bytes([0x80 | len(b)]) + b
    return bytes([tag]) + head + body


def seq(*parts): return tlv(0x30, b"".join(parts))


def oid(text):
    a = [int(x) for x in text.split(".")]; out = b""
    for v in [a[0] * 40 + a[1]] + a[2:]:
        s = bytes([v & 0x7F]); v >>= 7
        while v: s = bytes([0x80 | v & 0x7F]) + s; v >>= 7
        out += s
    return tlv(6, out)


def name(*rdns):  # each RDN is a list of (oid, tag, bytes)
    return seq(*[tlv(0x31, b"".join(seq(oid(o), tlv(t, v)) for o, t, v in rdn)) for rdn in rdns])


PLAIN = name([("2.5.4.3", 12, b"ca")])
T0, T1 = (23, b"260101000000Z"), (23, b"271231235959Z")
SPKI = seq(seq(oid("1.3.101.112")), tlv(3, b"\0" + bytes(32)))


def cert(subject=PLAIN, issuer=PLAIN, serial=b"\x07", nb=T0, na=T1, v3=True, exts=b""):
    alg = seq(oid("1.3.101.112"))
    tbs = seq(tlv(0xA0, tlv(2, b"\2")) if v3 else b"", tlv(2, serial), alg, issuer, seq(tlv(*nb), tlv(*na)), subject, SPKI, exts)
    return seq(tbs, alg, tlv(3, b"\0"))


def odd_certificates():
    r = random.Random(9440); cn, types = "2.5.4.3", [18, 19, 20, 22, 12, 30, 28, 3, 16, 7, 8, 9, 11, 13, 14, 15, 29]
    oids = [cn, "2.5.4.6", "2.5.4.10", "2.5.4.11", "1.2.840.113549.1.9.1", "0.9.2342.19200300.100.1.25", "2.5.4.5", "1.3.6.1.4.1.311.60.2.1.3",
            "2.5.29.17", "1.2.3.4.5", "2.999.1", "1.3.6.1.4.1.99999.7", "2.5.4.97", "1.2.840.113549.1.1.11", "2.23.133.2.3"]
    for v in [b" ", b"#", b"  ", b"##", b"#a", b" #", b"a ", b"a  ", b"\\", b"", b"=", b"a=b,c", b'"<>;+,', b"/+/", b"\0", b"\x7f", b"\x80\xff", b"# "]:
        for t in (12, 19, 22, 20) if v != b"\x80\xff" else (19, 22, 20): yield cert(name([(cn, t, v)]))
    for text in [" J\u00fcrgen ", "#\u0416", "\u65e5\u672c ", "a\U0001f600b", "\u00ff", "\ufeffx", "\0a", " "]:
        yield cert(name([(cn, 12, text.encode())])); yield cert(name([(cn, 28, text.encode("utf-32-be"))]))
        yield cert(name([(cn, 30, text.encode("utf-16-be"))]))
    yield cert(name([(cn, 30, b"\xd8\x3d")])); yield cert(name([(cn, 28, b"\0\x11\0\0")])); yield cert(name([(cn, 12, b"\xff")]))
    yield cert(name([(cn, 12, "\ud83d".encode("utf-8", "surrogatepass"))])); yield cert(name([(cn, 12, b"\xc0\x80")])); yield cert(name([(cn, 30, b"abc")]))
    yield cert(name()); yield cert(name([])); yield cert(name([], [(cn, 12, b"x")], [])); yield cert(name([(cn, 12, b"a"), (cn, 12, b"b"), ("2.5.4.10", 19, b"c")]))
    for t in range(1, 31):
        for v in [b"abcd", b"\0\0\0a\0\0\0b", b"\0abc", b"\4\xf0", b"\3\xff"]: yield cert(name([(cn, t, v)]))
    yield cert(name([(cn, 0x30, tlv(12, b"in/side"))])); yield cert(name([("1.2.3.4.5", 0x30, tlv(12, b"in"))]))
    for o in ["1.2.3." + ".".join(str(10**k) for k in range(24)), "2.%d.1" % 2**70, "1.3.%d" % 2**64, "1.3.%d" % (2**64 - 1), "2.%d" % (2**62),
              "2.47", "2.48", "2.39", "0.0", "1.39.0", "1.3.%d" % 2**300, "1.2." + ".".join(["7"] * 38), "1.2." + ".".join(["7"] * 39), "1.2." + "1" * 75,
              "1.2." + "1" * 74 + ".5", "1.2." + "1" * 74 + ".56", "1." + "39." + ".".join(["3"] * 580), "1.39." + ".".join(["3"] * 590)]:
        yield cert(name([(o, 12, b"v/+ \x01")]))
    for s in [b"", b"\0", b"\1", b"\x7f", b"\0\x80", b"\x80", b"\xff", b"\xff\x7f", b"\xff\0", b"\xff\0\0", b"\x80\0", b"\0\1", b"\xff\xff", b"\xe1",
              bytes(range(1, 21)), b"\0" + bytes(range(129, 149)), b"\x0a\x0b", b"\xf0" + bytes(19), b"\0\xff" + bytes(18)]: yield cert(serial=s)
    for t in ["491231235959Z", "500101000000Z", "9912312359Z", "260101000000", "2601010000Z", "26010100Z", "260229000000Z", "240229000000Z", "261301000000Z",
              "260100000000Z", "260132000000Z", "260101240000Z", "260101006000Z", "260101000060Z", "260101000059+0130", "2601010000-0230", "260101000000+1300",
              "260101000000+1200", "260101000000-0000", "260101000000+00", "260101000000z", "26010100000Z", "", "Z", "260101000000ZZ", "2601010000000Z", "260101000000.5Z",
              "700101000000+0001", "500101000000+0001", "491231235959-0001", "26010100000\0Z", "2601 1000000Z", " 60101000000Z"]: yield cert(nb=(23, t.encode()))
    for t in ["19491231235959Z", "20500101000000Z", "99991231235959Z", "00000101000000Z", "00010203040506Z", "19000101000000+0001", "19000101000100+0001", "18990101000000Z",
              "18990101000000+0000", "18990101000000+0001", "99991231235959-0001", "20260101000000.5Z", "20260101000000.123456789Z", "20260101000000.Z", "20260101000000.5",
              "20260101000000.5+0100", "20260101000000", "202601010000Z", "2026010100Z", "202601010000.5Z", "21000229000000Z", "20000229000000Z", "20260101000000,5Z", "1900022900Z",
              "20260101000000-1200", "20260101000000+1201", "20260101000000+1259", "20260101000000+0060", "202601010000+0100", "20260229000000Z", "", "20260101000000.0Z"]: yield cert(na=(24, t.encode()))
    yield cert(v3=False); yield cert(nb=(22, b"260101000000Z")); yield cert(exts=tlv(0xA3, seq(seq(oid("1.2.3"), tlv(1, b"\xff"), tlv(4, b"\5\0")))))
    yield cert(exts=tlv(0xA3, seq(*[seq(oid("2.5.29.14"), tlv(4, tlv(4, b"\xab\xcd")))] * 2))); yield cert(exts=tlv(0x81, b"\0\1") + tlv(0x82, b"\0\2"))
    for n in (126, 127, 128, 200, 255, 256, 300): yield cert(name([("1.2.3.4.5", 12, b"x" * n)], [(cn, 3, b"\3" + b"y" * n)]))
    def raw(value): return seq(tlv(0x31, seq(oid(cn), value)), tlv(0x31, seq(oid("1.2.3.4"), value)))  # BER, not DER
    for v in ["0c810161", "0c82000161", "0c80610000", "2c800c016100000000", "2c060c01610c0162", "2c03040161", "2c052c030c0161", "2c00", "3e080c0201040c020042", "23070302000103020ff0",
              "308004016100" + "00", "30800c01610000", "30810161", "1f0c0161", "1f1f0161", "3381020102", "8c0161", "2c80040161040162" + "0000", "2c092c072c052c030c0161", "2c0d2c0b2c092c072c052c030c0161"]:
        yield cert(raw(bytes.fromhex(v)))
    plain = cert(); head = plain[0] == 0x30 and 2 + (plain[1] & 0x7F if plain[1] & 0x80 else 0)
    yield b"\x30\x80" + plain[head:] + b"\0\0"; yield b"\x30\x83" + (len(plain) - head).to_bytes(3, "big") + plain[head:]
    for _ in range(220):
        def value():
            t = r.choice(types); k = r.randrange(0, 9)
            if t == 12: return t, "".join(chr(r.choice([32, 35, 43, 47, 65, 92, 44, 0, 127, 0xE9, 0x3A9, 0x65E5, 0x1F600])) for _ in range(k)).encode()
            if t == 16: return 0x30, tlv(12, bytes(r.randrange(256) for _ in range(k)))
            if t == 30: return t, bytes(b for _ in range(k) for b in (r.choice([0, 0, 4, 0x65]), r.randrange(256)))
            if t == 28: return t, bytes(b for _ in range(k) for b in (0, r.choice([0, 0, 1]), r.choice([0, 4]), r.randrange(256)))
            if t == 3: return t, bytes([r.randrange(8)]) + bytes(r.randrange(256) for _ in range(k + 1))
            return t, bytes(r.choice([32, 35, 43, 47, 61, 65, 92, 44, 34, 0, 9, 10, 13, 127, 128, 255, 122]) for _ in range(k))
        def rdn(): return [(r.choice(oids), *value()) for _ in range(r.choice([1, 1, 1, 2, 3]))]
        yield cert(name(*[rdn() for _ in range(r.randrange(5))]), name(*[rdn() for _ in range(r.randrange(4))]), serial=bytes([r.randrange(1, 128)]) + r.randbytes(r.randrange(20)))


def printed(call, *args):
    bio = C.BIO_new(C.BIO_s_mem()); ok = call(bio, *args); buf = ctypes.create_string_buffer(1 << 20)
    n = C.BIO_read(bio, buf, len(buf)); C.BIO_free(bio); C.ERR_clear_error()
    return ok, buf.raw[: max(n, 0)]


def vectors():
    print("# certificate (hex)\tsubject\tissuer\tsubject legacy\tissuer legacy\tserial\tnot before\tnot after. A certificate that OpenSSL refuses has only '-'.")
    for der in dict.fromkeys(odd_certificates()):
        p = ctypes.c_char_p(der); x = C.d2i_X509(None, ctypes.byref(p), len(der)); C.ERR_clear_error()
        if not x: print(der.hex(), "-", sep="\t"); continue
        fields, subject, issuer = [], C.X509_get_subject_name(x), C.X509_get_issuer_name(x)
        for n in (subject, issuer):
            ok, text = printed(C.X509_NAME_print_ex, n, 0, RFC2253); fields.append(text if ok >= 0 else b"!")
        for n in (subject, issuer): fields.append(ctypes.string_at(C.X509_NAME_oneline(n, None, 0)))
        fields.append(printed(C.i2a_ASN1_INTEGER, C.X509_get_serialNumber(x))[1])
        fields += [printed(C.ASN1_TIME_print, t(x))[1] for t in (C.X509_get0_notBefore, C.X509_get0_notAfter)]
        assert all(32 <= b < 127 for f in fields for b in f), fields
        print(der.hex(), *[f.decode() for f in fields], sep="\t"); C.X509_free(x)


def objects():
    rows = {}
    for nid in range(1, C.OBJ_new_nid(0)):
        o = C.OBJ_nid2obj(nid); C.ERR_clear_error()
        if not o or not C.OBJ_length(o): continue
        der = ctypes.string_at(C.OBJ_get0_data(o), C.OBJ_length(o)); sn = C.OBJ_nid2sn(C.OBJ_obj2nid(o))
        if C.OBJ_obj2nid(o) and sn: rows[der.hex().upper()] = sn.decode()
    for row in sorted(rows.items()): print(*row, sep="\t")


{"objects": objects, "vectors": vectors}[sys.argv[1]]()
