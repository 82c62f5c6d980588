"""HTTP/1.1 and 1.0 on the wire: RFC 9112 and RFC 9110, byte for byte."""

from __future__ import annotations

import json
import socket

import apps.probe as probe
import pytest
from support.wire import Wire, assert_refusal, chunked


@pytest.fixture(scope="module")
def server(serve_module):
    return serve_module("probe:application", "--workers", "1")


@pytest.fixture
def wire(server):
    with Wire(server.address) as wire:
        yield wire


PID = b"GET /pid HTTP/1.1\r\nHost: test\r\n\r\n"


# Connections


def test_keep_alive(wire):
    assert len({wire.get("/pid").body for _ in range(50)}) == 1


@pytest.mark.parametrize("option", ["close", "Close", "foo, close", "close, foo"])
def test_connection_close(wire, option):
    reply = wire.get("/pid", f"Connection: {option}")
    assert reply.get("Connection") == "close"
    wire.expect_end()


def test_http_1_0_closes(wire):
    wire.send(b"GET /pid HTTP/1.0\r\n\r\n")
    assert wire.reply().closes
    wire.expect_end()


def test_http_1_0_keep_alive(wire):
    for _ in range(3):
        wire.send(b"GET /pid HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
        reply = wire.reply()
        assert reply.get("Connection", "").lower() == "keep-alive" and not reply.closes


def test_http_1_0_body_of_unknown_length_ends_with_the_connection(wire):
    wire.send(b"GET /body?kind=generator HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    reply = wire.reply()
    assert (reply.framing, reply.body) == ("close", b"0123456789")


def test_pipelining(wire):
    wire.send(b"".join(b"GET /path-%d HTTP/1.1\r\nHost: test\r\n\r\n" % n for n in range(200)))
    for number in range(200):
        assert json.loads(wire.reply().body) == {"path": f"/path-{number}"}


def test_pipelining_with_bodies(wire):
    wire.send(b"".join(
        b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n%s" % (n * 100, probe.block(n * 100))
        + b"POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"n", b"%d" % n)
        for n in range(20)
    ))
    for number in range(20):
        assert wire.reply().body == probe.block(number * 100)
        assert wire.reply().body == b"n%d" % number


def test_nothing_after_a_closing_request_is_answered(wire):
    wire.send(b"GET /pid HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n" + PID)
    assert wire.reply().status == 200
    wire.expect_end()


def test_a_client_that_shuts_its_side_still_gets_its_replies(wire):
    wire.send(PID * 3).half_close()
    for _ in range(3):
        assert wire.reply().status == 200
    wire.expect_end()


def test_a_large_reply_to_a_half_closed_client_is_whole(wire):
    wire.send(b"GET /body?kind=large-blocks HTTP/1.1\r\nHost: test\r\n\r\n").half_close()
    assert wire.reply().body == probe.block(65536) * 32


@pytest.mark.parametrize("part", [
    b"POST /ignore HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nshort",
    b"POST /ignore HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
])
def test_a_body_cut_off_by_the_client_never_reaches_the_application(server, wire, part):
    wire.send(part).half_close()
    rest = wire.rest()
    assert not rest or rest.startswith(b"HTTP/1.1 400 "), rest


def test_bytes_one_by_one(wire):
    whole = (b"POST /echo HTTP/1.1\r\nHost: test\r\nX-Long: " + b"x" * 100 + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
             + chunked(b"hello", b" world", trailers=b"X-Trailer: 1\r\n") + PID)
    for i in range(len(whole)):
        wire.send(whole[i:i + 1])
    assert wire.reply().body == b"hello world"
    assert wire.reply().status == 200


def test_empty_lines_before_a_request_are_passed_over(wire):
    wire.send(b"\r\n" + PID + b"\r\n" + PID)
    assert [wire.reply().status, wire.reply().status] == [200, 200]


def test_an_idle_connection_is_closed_without_a_word(serve):
    server = serve("probe:application", "--keep-alive", "1")
    with Wire(server.address) as wire:
        wire.get("/pid")
        wire.expect_end(patience=10)


def test_keep_alive_0_closes_after_each_reply(serve):
    server = serve("probe:application", "--keep-alive", "0")
    with Wire(server.address) as wire:
        assert wire.get("/pid").closes
        wire.expect_end()


# Request bodies


@pytest.mark.parametrize("coded, body", [
    (b"0\r\n\r\n", b""),
    (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    (b"5;name=value;q=\"a b\"\r\nhello\r\n0;last\r\n\r\n", b"hello"),
    (b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2),
    (b"0005\r\nhello\r\n000\r\n\r\n", b"hello"),
    (b"5\r\nhello\r\n0\r\nX-Trailer: one\r\nX-Other: two\r\n\r\n", b"hello"),
    (b"1\r\n\r\r\n1\r\n\n\r\n0\r\n\r\n", b"\r\n"),
])
def test_chunked_requests(wire, coded, body):
    wire.send(b"POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n" + coded + PID)
    assert wire.reply().body == body
    assert wire.reply().status == 200


@pytest.mark.parametrize("coding", ["chunked", "Chunked", "CHUNKED"])
def test_the_name_of_a_coding_has_no_case(wire, coding):
    wire.send(f"POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: {coding}\r\n\r\n".encode() + chunked(b"x"))
    assert wire.reply().body == b"x"


@pytest.mark.parametrize("framing, body", [("Content-Length: 5", b"hello"), ("Transfer-Encoding: chunked", chunked(b"hello"))])
def test_100_continue(wire, framing, body):
    for _ in range(2):
        wire.send(f"POST /echo HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\n{framing}\r\n\r\n")
        interim = wire.head()
        assert interim.status == 100
        wire.send(body)
        reply = wire.reply()
        assert (reply.status, reply.body, reply.interim) == (200, b"hello", [])


def test_100_continue_comes_before_the_final_status_or_not_at_all(wire):
    wire.send(b"POST /echo HTTP/1.1\r\nHost: test\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\nhello" + PID)
    assert wire.reply().body == b"hello"
    assert wire.reply().interim == []


def test_no_100_continue_to_http_1_0_or_without_a_body(wire):
    assert wire.get("/pid", "Expect: 100-continue", "Content-Length: 0").interim == []
    wire.send(b"POST /echo HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
    assert wire.reply().interim == []


def test_another_expectation_is_refused_or_ignored(wire):
    assert wire.get("/pid", "Expect: the-impossible").status in (200, 417)


# Methods and targets


@pytest.mark.parametrize("length", ["", "&length=1"])
@pytest.mark.parametrize("kind", ["one", "many", "generator"])
def test_head_has_the_headers_of_get(wire, kind, length):
    get = wire.get(f"/body?kind={kind}{length}")
    head = wire.get(f"/body?kind={kind}{length}", method="HEAD")
    # RFC 9110 section 9.3.2: what is only known by making the body may be left out.
    optional = {"date"} if length else {"date", "content-length", "transfer-encoding"}
    seen = [{(n.lower(), v) for n, v in reply.fields if n.lower() not in optional} for reply in (get, head)]
    assert seen[0] == seen[1] and head.body == b""
    assert head.get("Content-Length") in (None, get.get("Content-Length"))
    assert wire.get("/pid").status == 200


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "M-SEARCH"])
def test_methods(wire, method):
    seen = json.loads(wire.get("/environ", method=method).body)["environ"]
    assert seen["REQUEST_METHOD"][1] == method


def test_options_asterisk(wire):
    wire.send(b"OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n")
    assert wire.reply().status == 200


def test_connect_is_answered_in_some_way(wire):
    wire.send(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
    assert wire.reply().status >= 200


def test_the_authority_of_an_absolute_target_is_the_host(wire):
    wire.send(b"GET http://real.example/environ HTTP/1.1\r\nHost: other.example\r\n\r\n")
    assert json.loads(wire.reply().body)["environ"]["HTTP_HOST"][1] == "real.example"


def test_http_1_0_needs_no_host(wire):
    wire.send(b"GET /environ HTTP/1.0\r\n\r\n")
    assert "HTTP_HOST" not in json.loads(wire.reply().body)["environ"]


# Refusals


REFUSED = {
    "no host": b"GET /pid HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /pid HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "host with a path": b"GET /pid HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "no version": b"GET /pid\r\n\r\n",
    "two spaces": b"GET  /pid HTTP/1.1\r\nHost: test\r\n\r\n",
    "space in the target": b"GET /pid x HTTP/1.1\r\nHost: test\r\n\r\n",
    "control in the target": b"GET /pid\x01 HTTP/1.1\r\nHost: test\r\n\r\n",
    "lower-case version": b"GET /pid http/1.1\r\nHost: test\r\n\r\n",
    "no such version": b"GET /pid HTTP/1.x\r\nHost: test\r\n\r\n",
    "method not a token": b"GE(T /pid HTTP/1.1\r\nHost: test\r\n\r\n",
    "target without slash": b"GET pid HTTP/1.1\r\nHost: test\r\n\r\n",
    "space before the colon": b"GET /pid HTTP/1.1\r\nHost: test\r\nX-A : 1\r\n\r\n",
    "space before the name": b"GET /pid HTTP/1.1\r\n Host: test\r\n\r\n",
    "folded field": b"GET /pid HTTP/1.1\r\nHost: test\r\nX-A: 1\r\n 2\r\n\r\n",
    "no colon": b"GET /pid HTTP/1.1\r\nHost: test\r\nX-A\r\n\r\n",
    "empty name": b"GET /pid HTTP/1.1\r\nHost: test\r\n: 1\r\n\r\n",
    "NUL in a value": b"GET /pid HTTP/1.1\r\nHost: test\r\nX-A: a\0b\r\n\r\n",
    "bare CR in a value": b"GET /pid HTTP/1.1\r\nHost: test\r\nX-A: a\rb\r\n\r\n",
    "TLS to a plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "both framings": b"POST /pid HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST /pid HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "length list": b"POST /pid HTTP/1.1\r\nHost: test\r\nContent-Length: 5, 6\r\n\r\nhello",
    "length with sign": b"POST /pid HTTP/1.1\r\nHost: test\r\nContent-Length: +5\r\n\r\nhello",
    "negative length": b"POST /pid HTTP/1.1\r\nHost: test\r\nContent-Length: -5\r\n\r\nhello",
    "hex length": b"POST /pid HTTP/1.1\r\nHost: test\r\nContent-Length: 0x5\r\n\r\nhello",
    "length of many digits": b"POST /pid HTTP/1.1\r\nHost: test\r\nContent-Length: " + b"9" * 40 + b"\r\n\r\nhello",
    "empty length": b"POST /pid HTTP/1.1\r\nHost: test\r\nContent-Length:\r\n\r\nhello",
    "underscored length digits": b"POST /pid HTTP/1.1\r\nHost: test\r\nContent-Length: 1_0\r\n\r\nhello",
    "unknown coding": b"POST /pid HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked not last": b"POST /pid HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": b"POST /pid HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "coding in HTTP/1.0": b"POST /pid HTTP/1.0\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}
CHUNKED = b"POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
REFUSED |= {f"chunk: {name}": CHUNKED + coded for name, coded in {
    "size not hex": b"g\r\nhello\r\n0\r\n\r\n",
    "size with 0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "negative size": b"-5\r\nhello\r\n0\r\n\r\n",
    "size with sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "empty size": b"\r\nhello\r\n0\r\n\r\n",
    "size overflows": b"1" + b"0" * 16 + b"5\r\nhello\r\n0\r\n\r\n",
    "size with underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    "bare LF after the size": b"5\nhello\r\n0\r\n\r\n",
    "no CRLF after the data": b"5\r\nhello0\r\n\r\n",
    "longer than its size": b"5\r\nhello!\r\n0\r\n\r\n",
    "CR in an extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
}.items()}


@pytest.mark.parametrize("name", list(REFUSED))
def test_refused(server, name):
    with Wire(server.address) as wire:
        wire.send(REFUSED[name] + PID)
        assert_refusal(wire.reply(), 400, 501, 505)
        wire.expect_end()
    with Wire(server.address) as wire:
        assert wire.get("/pid").status == 200


def test_other_major_versions_are_refused(wire):
    wire.send(b"GET /pid HTTP/2.0\r\nHost: test\r\n\r\n")
    assert_refusal(wire.reply(), 505, 400)


def test_a_refusal_comes_after_the_replies_before_it(wire):
    wire.send(PID + PID + b"bad\r\n\r\n")
    assert [wire.reply().status, wire.reply().status] == [200, 200]
    assert_refusal(wire.reply(), 400)
    wire.expect_end()


def test_a_refusal_is_read_by_a_client_that_is_still_sending(server):
    """Closing with unread input would reset the connection and take the answer with it."""
    with Wire(server.address) as wire:
        wire.send(b"POST /pid HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")
        try:
            wire.send(b"x" * 200_000)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert_refusal(wire.reply(), 400)


# Limits


def head_of(size: int, field: int | None = None, count: int = 0) -> bytes:
    line = b"GET /" + b"a" * (size - len("GET / HTTP/1.1")) + b" HTTP/1.1\r\nHost: test\r\n"
    if field is not None:
        line += b"X-Long: " + b"x" * (field - len("X-Long: \r\n")) + b"\r\n"
    return line + b"".join(b"X-%d: 1\r\n" % n for n in range(count)) + b"\r\n"


@pytest.mark.parametrize("request_head, statuses", [
    (head_of(8190), {200}), (head_of(8191), {414}), (head_of(100_000), {414}),
    (head_of(100, field=8190), {200}), (head_of(100, field=8192), {431}), (head_of(100, field=200_000), {431}),
    (head_of(100, count=99), {200}), (head_of(100, count=100), {431}), (head_of(100, count=5000), {431}),
], ids=["line fits", "line too long", "line far too long", "field fits", "field too large", "field far too large",
        "count fits", "too many", "far too many"])
def test_limits(wire, request_head, statuses):
    try:
        wire.send(request_head)
    except (BrokenPipeError, ConnectionResetError):
        pass
    reply = wire.reply()
    if statuses == {200}:
        assert reply.status == 200
    else:
        assert_refusal(reply, *statuses)
        wire.expect_end()


def test_limits_can_be_set(serve):
    server = serve("probe:application", "--limit-request-line", "100", "--limit-request-field_size", "60", "--limit-request-fields", "5")
    for request_head, status in [(head_of(100), 200), (head_of(101), 414), (head_of(50, field=60), 200), (head_of(50, field=62), 431),
                                 (head_of(50, count=4), 200), (head_of(50, count=5), 431)]:
        with Wire(server.address) as wire:
            assert wire.send(request_head).reply().status == status


def test_a_line_that_never_ends_is_refused_before_it_ends(wire):
    try:
        wire.send(b"GET /" + b"a" * 50_000)
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert_refusal(wire.reply(), 414)


def test_a_connection_reset_in_the_middle_harms_nobody(server):
    for part in (b"GET /pid HTT", b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\nab", PID):
        wire = Wire(server.address).send(part)
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        wire.close()
    with Wire(server.address) as wire:
        assert wire.get("/pid").status == 200
