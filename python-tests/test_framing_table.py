"""What is made of each variant of a request, byte for byte, with the clause it rests on.

Every row is sent to the server itself, whole and byte by byte, with another request (the canary)
behind it on the same connection. A row that is refused has to be answered once, with its status,
and the connection has to end: the canary is never seen. A row that is taken is answered with what
the application read, and the canary after it, unless the row ends the connection. So whatever a
row makes of the end of its message, no byte of it can come up as another request.

Clauses are those of RFC 9112 where no other is named. Where a clause leaves a choice ("MAY") the
row is there to say which was made: in doubt refused, and closed.
"""

from __future__ import annotations

import contextlib
import json

import pytest

from support.wire import Wire, assert_refusal

CANARY = b"GET /canary HTTP/1.1\r\nHost: a\r\n\r\n"
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"


def line(text: bytes, *fields: bytes) -> bytes:
    return b"\r\n".join([text, b"Host: a", *fields, b"", b""])


def get(*fields: bytes) -> bytes:
    return line(b"GET /x HTTP/1.1", *fields)


def post(*fields: bytes, body: bytes = b"") -> bytes:
    return line(b"POST /x HTTP/1.1", *fields) + body


def target(text: bytes, method: bytes = b"GET") -> bytes:
    return line(method + b" " + text + b" HTTP/1.1")


def host(*values: bytes, version: bytes = b"1.1", of: bytes = b"/x") -> bytes:
    return b"\r\n".join([b"GET " + of + b" HTTP/" + version, *(b"Host: " + v for v in values), b"", b""])


def length(*values: bytes, body: bytes = b"hello") -> bytes:
    return post(*(b"Content-Length: " + v for v in values), body=body)


def coding(*values: bytes, body: bytes = b"5\r\nhello\r\n0\r\n\r\n") -> bytes:
    return post(*(b"Transfer-Encoding: " + v for v in values), body=body)


def chunks(body: bytes) -> bytes:
    return coding(b"chunked", body=body)


X = ["GET", "/x", ""]
HELLO = ["POST", "/x", "hello"]
EMPTY = ["POST", "/x", ""]


def seen(path: str, method: str = "GET") -> list[str]:
    return [method, path, ""]


class Last(list):
    """Taken, and the connection ends with it."""


#: Clause, bytes, and the status of the refusal or what the application sees.
REQUEST_LINES = [
    ("3", get(), X),
    ("2.2: one empty line before is ignored", b"\r\n" + get(), X),
    ("2.2: bare LF before", b"\n" + get(), 400),
    ("2.2: bare CR before", b"\r" + get(), 400),
    ("2.2: space before", b" " + get(), 400),
    ("3: one space", line(b"GET  /x HTTP/1.1"), 400),
    ("3: one space", line(b"GET /x  HTTP/1.1"), 400),
    ("3: space, not tab", line(b"GET\t/x HTTP/1.1"), 400),
    ("3: space, not tab", line(b"GET /x\tHTTP/1.1"), 400),
    ("3: space, not form feed", line(b"GET\x0c/x HTTP/1.1"), 400),
    ("3: nothing behind the version", line(b"GET /x HTTP/1.1 "), 400),
    ("3: nothing behind the version", line(b"GET /x HTTP/1.1 x"), 400),
    ("3: no target", line(b"GET HTTP/1.1"), 400),
    ("3: no version (HTTP/0.9)", line(b"GET /x"), 400),
    ("3: no words", line(b""), 400),
    ("2.2: CR inside the line", line(b"GET /x\rHTTP/1.1"), 400),
    ("2.2: CR twice at its end", b"GET /x HTTP/1.1\r\r\nHost: a\r\n\r\n", 400),
    ("2.2: LF alone at its end", b"GET /x HTTP/1.1\nHost: a\r\n\r\n", 400),
    ("2.2: LF alone everywhere", b"GET /x HTTP/1.1\nHost: a\n\n", 400),
    ("2.2: NUL", line(b"GET /x\0 HTTP/1.1"), 400),
    ("2.2: a byte order mark", b"\xef\xbb\xbf" + get(), 400),
    ("3.1: case matters", line(b"get /x HTTP/1.1"), 400),
    ("9110 9.1: token", line(b"G@T /x HTTP/1.1"), 400),
    ("9110 9.1: token", line(b"G\xc9T /x HTTP/1.1"), 400),
    ("9110 9.1: token", line(b"G\0T /x HTTP/1.1"), 400),
    ("9110 9.1: token", line(b"GET: /x HTTP/1.1"), 400),
    ("9110 9.1: extension methods", target(b"/x", b"PROPFIND"), seen("/x", "PROPFIND")),
    ("9110 9.1: extension methods", target(b"/x", b"M-SEARCH"), seen("/x", "M-SEARCH")),
    ("9110 9.1: longer than any registered", target(b"/x", b"A" * 21), 400),
    ("9110 9.3.6: nothing is read behind CONNECT", target(b"a:443", b"CONNECT"), Last(seen("a:443", "CONNECT"))),
    ("9110 9.3.6: CONNECT names host and port", target(b"/x", b"CONNECT"), 400),
    ("9110 9.3.6: CONNECT needs a port", target(b"a", b"CONNECT"), 400),
    ("9110 9.3.8: TRACE is the application's", target(b"/x", b"TRACE"), seen("/x", "TRACE")),
]

VERSIONS = [
    ("2.3: a later minor is served as 1.1", line(b"GET /x HTTP/1.2"), X),
    ("2.3: a later minor is served as 1.1", line(b"GET /x HTTP/1.9"), X),
    ("9.3: 1.0 closes", line(b"GET /x HTTP/1.0"), Last(X)),
    ("9.3: 1.0 with keep-alive", line(b"GET /x HTTP/1.0", b"Connection: keep-alive"), X),
    ("9.3: close wins", get(b"Connection: keep-alive, close"), Last(X)),
    ("9.3: close in any case, in any line", get(b"Connection: foo", b"Connection: bar, CLOSE"), Last(X)),
    ("2.3: 1*DIGIT once", line(b"GET /x HTTP/1.10"), 400),
    ("2.3: 1*DIGIT once", line(b"GET /x HTTP/01.1"), 400),
    ("2.3: both numbers", line(b"GET /x HTTP/1"), 400),
    ("2.3: both numbers", line(b"GET /x HTTP/1."), 400),
    ("2.3: both numbers", line(b"GET /x HTTP/.1"), 400),
    ("2.3: digits", line(b"GET /x HTTP/a.b"), 400),
    ("2.3: digits", line(b"GET /x HTTP/-1.1"), 400),
    ("2.3: digits", line(b"GET /x HTTP/1,1"), 400),
    ("2.3: case matters", line(b"GET /x http/1.1"), 400),
    ("2.3: another name", line(b"GET /x HTTPS/1.1"), 400),
    ("2.3: no slash", line(b"GET /x HTTP1.1"), 400),
    ("9110 15.6.6", line(b"GET /x HTTP/0.9"), 505),
    ("9110 15.6.6", line(b"GET /x HTTP/2.0"), 505),
    ("9110 15.6.6", line(b"GET /x HTTP/3.0"), 505),
    ("9113 3.4: HTTP/2's preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
]

TARGETS = [
    ("3.2.1", target(b"/x?q"), seen("/x?q")),
    ("3.2.1: an empty query", target(b"/x?"), seen("/x?")),
    ("3.2.1: not merged", target(b"//x/../y"), seen("//x/../y")),
    ("3986 2.1: invalid escapes are kept", target(b"/x%zz%4"), seen("/x%zz%4")),
    ("3986 2.1: escaped slashes and NUL pass", target(b"/x%2F%00"), seen("/x%2F%00")),
    ("3986 2.2: bytes browsers send", target(b"/x?a[]=|^`{}\"<>\\"), seen("/x?a[]=|^`{}\"<>\\")),
    ("3.2.1: starts with a slash", target(b"x"), 400),
    ("3.2.1: starts with a slash", target(b"?x"), 400),
    ("3.2: no fragment", target(b"/x#y"), 400),
    ("3.2: control", target(b"/x\x01"), 400),
    ("3.2: control", target(b"/x\x7f"), 400),
    ("3.2: not ASCII", target(b"/x\xe9"), 400),
    ("3.2: not ASCII", target("/é".encode()), 400),
    ("3.2.2: absolute-form", target(b"http://a/x"), seen("http://a/x")),
    ("3.2.2: the authority wins over Host", target(b"http://b/x"), seen("http://b/x")),
    ("3.2.2: no path", target(b"http://a"), seen("http://a")),
    ("9110 4.2.1: no host", target(b"http:///x"), 400),
    ("9110 4.2.4: userinfo", target(b"http://u@a/x"), 400),
    ("9110 7.4: https without TLS", target(b"https://a/x"), 421),
    ("3.2.2: another scheme", target(b"ftp://a/x"), 400),
    ("3.2.4", target(b"*", b"OPTIONS"), seen("*", "OPTIONS")),
    ("3.2.4: for OPTIONS only", target(b"*"), 400),
    ("3.2.3: for CONNECT only", target(b"a:443"), 400),
]

HOSTS = [
    ("3.2: missing", host(), 400),
    ("3.2: missing is well in 1.0", host(version=b"1.0"), Last(X)),
    ("3.2: twice, different", host(b"a", b"b"), 400),
    ("3.2: twice, equal", host(b"a", b"a"), 400),
    ("3.2: twice in 1.0", host(b"a", b"a", version=b"1.0"), 400),
    ("3.2: a list", host(b"a, b"), 400),
    ("3.2: a list", host(b"a,b"), 400),
    ("9110 7.2: empty", host(b""), X),
    ("9110 7.2: a port", host(b"a:80"), X),
    ("9110 7.2: an empty port", host(b"a:"), X),
    ("9110 7.2: IPv6", host(b"[::1]:80"), X),
    ("9110 7.2: IPv6 without brackets", host(b"::1"), 400),
    ("9110 7.2: IPv6 unclosed", host(b"[::1"), 400),
    ("9110 7.2: port", host(b"a:b"), 400),
    ("9110 7.2: port", host(b"a:65536"), 400),
    ("9110 7.2: port", host(b"a:-1"), 400),
    ("9110 7.2: port alone", host(b":80"), 400),
    ("9110 7.2: space", host(b"a b"), 400),
    ("9110 7.2: tab", host(b"a\tb"), 400),
    ("9110 7.2: path", host(b"a/b"), 400),
    ("9110 7.2: userinfo", host(b"u@a"), 400),
    ("9110 7.2: not ASCII", host(b"\xe9"), 400),
    ("3.2: beside an absolute target, missing", host(of=b"http://a/x"), 400),
    ("3.2: beside an absolute target, invalid", host(b"a b", of=b"http://a/x"), 400),
]

FIELDS = [
    ("5: no space needed", get(b"X-A:b"), X),
    ("5: white space around", get(b"X-A: \t b \t"), X),
    ("5.5: empty", get(b"X-A:"), X),
    ("9110 5.5: obs-text", get(b"X-A: \x80\xff"), X),
    ("5.1: space before the colon", get(b"X-A : b"), 400),
    ("5.1: tab before the colon", get(b"X-A\t: b"), 400),
    ("5.1: space before the colon of Content-Length", length(b"5").replace(b"th:", b"th :"), 400),
    ("5.1: space before the colon of Transfer-Encoding", coding(b"chunked").replace(b"ng:", b"ng :"), 400),
    ("5: no colon", get(b"X-A"), 400),
    ("5: no name", get(b": b"), 400),
    ("9110 5.1: token", get(b"X A: b"), 400),
    ("9110 5.1: token", get(b"X(A): b"), 400),
    ("9110 5.1: token", get(b"X\0A: b"), 400),
    ("9110 5.1: token", get(b"X\xe9: b"), 400),
    ("9110 5.1: token", get(b"\"X\": b"), 400),
    ("5.2: folded by space", get(b"X-A: b", b" c"), 400),
    ("5.2: folded by tab", get(b"X-A: b", b"\tc"), 400),
    ("5.2: folded length", length(b"5").replace(b"th: ", b"th:\r\n "), 400),
    ("5.2: folded coding", coding(b"chunked").replace(b"ng: ", b"ng:\r\n "), 400),
    ("2.2: white space before the first field", b"GET /x HTTP/1.1\r\n X-A: b\r\nHost: a\r\n\r\n", 400),
    ("9110 5.5: NUL", get(b"X-A: b\0c"), 400),
    ("9110 5.5: bell", get(b"X-A: b\x07c"), 400),
    ("9110 5.5: DEL", get(b"X-A: b\x7fc"), 400),
    ("2.2: bare CR", get(b"X-A: b\rc"), 400),
    ("2.2: bare CR before a coding", post(b"X-A: b\rTransfer-Encoding: chunked"), 400),
    ("2.2: bare CR before CRLF", get(b"X-A: b\r"), 400),
    ("2.2: bare LF", get(b"X-A: b\nX-B: c"), 400),
    ("2.2: bare LF before a length", post(b"X-A: b\nContent-Length: 5", body=b"hello"), 400),
    ("2.2: bare LF ends no head", b"GET /x HTTP/1.1\r\nHost: a\r\n\n" + HIDDEN, 400),
    ("2.2: LF CR ends no head", b"GET /x HTTP/1.1\r\nHost: a\r\n\n\r" + HIDDEN, 400),
    ("9110 5.3: Content-Type once", get(b"Content-Type: a/b", b"Content-Type: c/d"), 400),
    ("9110 10.1.1: unknown", post(b"Expect: x", b"Content-Length: 0"), 417),
    ("9110 7.8: an upgrade may be ignored", get(b"Connection: upgrade", b"Upgrade: h2c"), X),
]

LENGTHS = [
    ("6.3 rule 7: neither field", post(), EMPTY),
    ("6.3 rule 6", length(b"5"), HELLO),
    ("6.3 rule 6: none", length(b"0", body=b""), EMPTY),
    ("6.3 rule 6: of any method", line(b"GET /x HTTP/1.1", b"Content-Length: 5") + b"hello", ["GET", "/x", "hello"]),
    ("6.3 rule 6: what follows is the next request", length(b"3", body=b"hel"), ["POST", "/x", "hel"]),
    ("9110 8.6: leading zeros are digits", length(b"0005"), HELLO),
    ("5.5: white space around", length(b" \t5\t "), HELLO),
    *((f"9110 8.6: {value!r}", length(value), 400) for value in (
        b"", b"+5", b"-5", b"-0", b"0x5", b"5 5", b"5_0", b"5.0", b"5e0", b"\"5\"", b"5;", b"5,", b",5", b"\x0b5", b"\x0c5",
        b"\xa05", b"5\xa0", b"\xd9\xa5", b"five", b"5\0", b"9223372036854775808", b"18446744073709551621", b"9" * 100)),
    ("6.3 rule 5: list, equal", length(b"5, 5"), 400),
    ("6.3 rule 5: list, different", length(b"5, 6"), 400),
    ("6.3 rule 5: twice, equal", length(b"5", b"5"), 400),
    ("6.3 rule 5: twice, different", length(b"5", b"0"), 400),
    ("6.3 rule 5: twice, one invalid", length(b"5", b"x"), 400),
    ("6.3 rule 5: twice, in other case", post(b"content-length: 5", b"CONTENT-LENGTH: 6", body=b"hello"), 400),
    ("9110 5.1: another name is no length", post(b"Content_Length: 5", b"X-Content-Length: 5"), EMPTY),
]

BOTH = [
    ("6.3 rule 3", post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + HIDDEN), 400),
    ("6.3 rule 3", post(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n" + HIDDEN), 400),
    ("6.3 rule 3: even if they agree", post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
    ("6.3 rule 3: with an unknown coding", post(b"Content-Length: 5", b"Transfer-Encoding: x", body=b"hello"), 400),
    ("6.3 rule 3: with identity", post(b"Content-Length: 5", b"Transfer-Encoding: identity", body=b"hello"), 400),
    ("6.3 rule 3: with an empty coding", post(b"Content-Length: 5", b"Transfer-Encoding:", body=b"hello"), 400),
    ("6.3 rule 3: with an invalid length", post(b"Content-Length: x", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
    ("6.1: both in 1.0", line(b"POST /x HTTP/1.0", b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
]

CODINGS = [
    ("7: chunked", coding(b"chunked"), HELLO),
    ("7: in any case", coding(b"cHuNkEd"), HELLO),
    ("5.5: white space around", coding(b" \tchunked\t "), HELLO),
    ("6.1: in 1.0", line(b"POST /x HTTP/1.0", b"Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
    ("6.1: in 1.0, with keep-alive", line(
        b"POST /x HTTP/1.0", b"Connection: keep-alive", b"Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
    ("6.1: not understood", coding(b"gzip, chunked"), 501),
    ("6.1: not understood, two lines", coding(b"gzip", b"chunked"), 501),
    *((f"6.3 rule 4: {values!r}", coding(*values), 400) for values in (
        (b"",), (b"gzip",), (b"identity",), (b"identity, chunked",), (b"chunked, identity",), (b"chunked, gzip",),
        (b"chunked, chunked",), (b"chunked", b"chunked"), (b"chunked", b"identity"), (b"chunked", b""), (b"", b"chunked"),
        (b"chunked,",), (b",chunked",), (b"chunked;q=1",), (b"chunked ;",), (b"xchunked",), (b"chunkedx",), (b"chunke",),
        (b"chunk ed",), (b"chunked chunked",), (b"\"chunked\"",), (b"'chunked'",), (b"\x0bchunked",), (b"chunked\x0c",),
        (b"\xa0chunked",), (b"chunked\0",), (b"chunked\xff",), (b"ch\xc3\xbcnked",), (b"trailers",))),
    ("9110 5.1: another name is no coding", post(b"Transfer_Encoding: chunked", b"X-Transfer-Encoding: x"), EMPTY),
    ("10.1.4 (9110): TE says nothing of the request", post(b"TE: trailers, chunked;q=0"), EMPTY),
]

CHUNKS = [
    ("7.1: none", chunks(b"0\r\n\r\n"), EMPTY),
    ("7.1: several", chunks(b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"), HELLO),
    ("7.1: hexadecimal in any case", chunks(b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n"), ["POST", "/x", "0123456789" * 2]),
    ("7.1: leading zeros", chunks(b"0005\r\nhello\r\n000\r\n\r\n"), HELLO),
    ("7.1: CRLF as data", chunks(b"2\r\n\r\n\r\n0\r\n\r\n"), ["POST", "/x", "\r\n"]),
    ("7.1: a request as data", chunks(b"%x\r\n%s\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)), ["POST", "/x", HIDDEN.decode()]),
    ("7.1.1: a name", chunks(b"5;a\r\nhello\r\n0;b\r\n\r\n"), HELLO),
    ("7.1.1: a value", chunks(b"5;a=b;c=d\r\nhello\r\n0\r\n\r\n"), HELLO),
    ("7.1.1: a quoted value", chunks(b"5;a=\"b;\\\"\xe9 c\"\r\nhello\r\n0\r\n\r\n"), HELLO),
    ("7.1.1: bad white space", chunks(b"5 ; a = b\r\nhello\r\n0\r\n\r\n"), HELLO),
    *((f"7.1: size {size!r}", chunks(size + b"\r\nhello\r\n0\r\n\r\n"), 400) for size in (
        b"", b" 5", b"5 ", b"\t5", b"5\t", b"+5", b"-5", b"0x5", b"0_5", b"5h", b"g", b"5.", b"5,5", b"5 5", b"5\0", b"5\x0b",
        b"\xa05", b"\xef\xbc\x95", b"10000000000000005", b"FFFFFFFFFFFFFFFF", b"8000000000000000", b"0" * 5000 + b"5")),
    *((f"7.1.1: extension {text!r}", chunks(b"5" + text + b"\r\nhello\r\n0\r\n\r\n"), 400) for text in (
        b";", b";;a", b";=b", b";a=", b";a b", b";a=b c", b";a=b=c", b";a=\"b", b";a=\"b\"c", b";a=\"\\", b";\0", b";a=\"\0\"",
        b";a\r;b", b";a\nb", b";a=\"\n\"", b";" + b"a" * 20_000)),
    ("7.1.1: extensions in total", chunks(b"1;abcdefghijklmnop\r\nx\r\n" * 3000 + b"0\r\n\r\n"), 400),
    ("2.2: bare LF behind a size", chunks(b"5\nhello\r\n0\r\n\r\n"), 400),
    ("2.2: bare CR behind a size", chunks(b"5\rhello\r\n0\r\n\r\n"), 400),
    ("2.2: CR CR LF behind a size", chunks(b"5\r\r\nhello\r\n0\r\n\r\n"), 400),
    ("7.1: bare LF behind data", chunks(b"5\r\nhello\n0\r\n\r\n"), 400),
    ("7.1: bare CR behind data", chunks(b"5\r\nhello\r0\r\n\r\n"), 400),
    ("7.1: nothing behind data", chunks(b"5\r\nhello0\r\n\r\n"), 400),
    ("7.1: more data than its size", chunks(b"5\r\nhello!\r\n0\r\n\r\n"), 400),
    ("7.1: CRLF twice behind data", chunks(b"5\r\nhello\r\n\r\n0\r\n\r\n"), 400),
    ("2.2: bare LF behind the last chunk", chunks(b"0\n\n" + HIDDEN), 400),
    ("2.2: bare LF as the last line", chunks(b"0\r\n\n" + HIDDEN), 400),
    ("2.2: bare CR as the last line", chunks(b"0\r\n\rX" + HIDDEN), 400),
    ("7.1: no last chunk", chunks(b"0x0\r\n\r\n"), 400),
    ("7.1: no last chunk", chunks(b"-0\r\n\r\n"), 400),
]

TRAILERS = [
    ("7.1.2", chunks(b"5\r\nhello\r\n0\r\nX-T: 1\r\nX-U:\r\n\r\n"), HELLO),
    ("6.5.1 (9110): framing in trailers is dropped", chunks(
        b"5\r\nhello\r\n0\r\nContent-Length: 100\r\nTransfer-Encoding: gzip\r\nHost: b\r\n\r\n"), HELLO),
    ("7.1.2: a request line", chunks(b"0\r\n" + HIDDEN), 400),
    ("7.1.2: no colon", chunks(b"0\r\nX-T\r\n\r\n"), 400),
    ("7.1.2: no name", chunks(b"0\r\n: x\r\n\r\n"), 400),
    ("5.1: space before the colon", chunks(b"0\r\nX-T : x\r\n\r\n"), 400),
    ("5.2: folded", chunks(b"0\r\nX-T: x\r\n y\r\n\r\n"), 400),
    ("2.2: white space first", chunks(b"0\r\n X-T: x\r\n\r\n"), 400),
    ("2.2: bare LF", chunks(b"0\r\nX-T: x\n\r\n"), 400),
    ("2.2: bare LF", chunks(b"0\r\nX-T: x\nX-U: y\r\n\r\n"), 400),
    ("2.2: bare CR", chunks(b"0\r\nX-T: x\ry\r\n\r\n"), 400),
    ("9110 5.5: NUL", chunks(b"0\r\nX-T: \0\r\n\r\n"), 400),
    ("9110 5.1: token", chunks(b"0\r\nX\0T: x\r\n\r\n"), 400),
    ("9110 5.4: many", chunks(b"0\r\n" + b"X-T: x\r\n" * 10_000 + b"\r\n"), 431),
    ("9110 5.4: long", chunks(b"0\r\nX-T: " + b"x" * 100_000 + b"\r\n\r\n"), 431),
]

ROWS = [*REQUEST_LINES, *VERSIONS, *TARGETS, *HOSTS, *FIELDS, *LENGTHS, *BOTH, *CODINGS, *CHUNKS, *TRAILERS]


def names():
    """The clauses, numbered where one has several rows."""
    count: dict[str, int] = {}
    for clause, _, _ in ROWS:
        count[clause] = number = count.get(clause, 0) + 1
        yield f"{clause} #{number}" if number > 1 else clause


@pytest.fixture(scope="module")
def server(serve_module):
    # Nobody vouches for us: loopback is trusted by default.
    return serve_module("echo_request", "--forwarded-allow-ips", "192.0.2.1")


def send(wire: Wire, data: bytes, piecewise: bool) -> None:
    """A refused peer may be told so, and cut off, before all of it is sent."""
    step = 1 if piecewise else len(data)
    with contextlib.suppress(ConnectionError):
        for start in range(0, len(data), step):
            wire.send(data[start:start + step])


@pytest.mark.parametrize("clause, data, expected", ROWS, ids=names())
def test_row(server, clause, data, expected):
    # Long rows are long by repetition: nothing is gained by sending them in thousands of pieces.
    for piecewise in (False, True) if len(data) < 2000 else (False,):
        with Wire(server.address, timeout=10) as wire:
            send(wire, data + CANARY, piecewise)
            if isinstance(expected, int):
                assert_refusal(wire.reply(), expected)
                wire.expect_end()
                continue
            reply = wire.reply(expected[0])
            assert reply.status == 200, reply
            assert json.loads(reply.body) == expected, clause
            if isinstance(expected, Last):
                wire.expect_end()
            else:
                assert json.loads(wire.reply().body) == seen("/canary"), clause


@pytest.mark.parametrize("clause, data, expected", [row for row in ROWS if row[2] == 400], ids=[
    name for name, row in zip(names(), ROWS) if row[2] == 400])
def test_a_refused_row_behind_a_good_request(server, clause, data, expected):
    """The reply before it is whole; what stands behind is as dead as on a connection of its own."""
    with Wire(server.address, timeout=10) as wire:
        send(wire, CANARY + data + CANARY, False)
        assert json.loads(wire.reply().body) == seen("/canary")
        assert_refusal(wire.reply(), expected)
        wire.expect_end()
