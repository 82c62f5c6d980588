"""PEP 3333, clause by clause, seen from inside (apps/probe.py) and on the wire."""

from __future__ import annotations

import json
import os

import apps.probe as probe
import pytest
from support.server import eventually
from support.wire import Malformed, Wire, chunked


@pytest.fixture
def server(serve_module):
    """One for the module; a new one if a test brought it down, so that only that test fails."""
    if not serve_module.running or serve_module.running[-1].returncode is not None:
        serve_module("probe:application", "--workers", "1")
    return serve_module.running[-1]


@pytest.fixture
def wire(server):
    with Wire(server.address) as wire:
        yield wire


def events(server) -> list[str]:
    with Wire(server.address) as wire:
        return json.loads(wire.get("/events").body)


@pytest.fixture(autouse=True)
def forget_events(server):
    events(server)


# Environ


def environ(wire, path="/environ", *fields, method="GET", body=None):
    reply = json.loads(wire.request(method, path, *fields, body=body).body)
    assert reply["exact"] and not reply["shared"], reply
    return {k: v for k, (_, v) in reply["environ"].items()}, {k: t for k, (t, _) in reply["environ"].items()}


def test_environ_has_what_the_pep_demands(server, wire):
    values, types = environ(wire, "/environ/a%20b%C3%A9?x=%20&y=1", "X-Custom: caf\xe9", "Cookie: a=1", "Cookie: b=2",
                            "X-Twice: 1", "X-Twice: 2", "Content-Type: text/x")
    assert values["REQUEST_METHOD"] == "GET"
    assert values["SCRIPT_NAME"] == ""
    assert values["PATH_INFO"] == "/environ/a b\xc3\xa9"
    assert values["QUERY_STRING"] == "x=%20&y=1"
    assert values["RAW_URI"] == "/environ/a%20b%C3%A9?x=%20&y=1"
    assert values["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert values["SERVER_PORT"] == str(server.port)
    assert values["SERVER_NAME"]
    assert values["REMOTE_ADDR"] == "127.0.0.1"
    assert 0 < int(values["REMOTE_PORT"]) < 65536
    assert values["SERVER_SOFTWARE"]
    assert values["CONTENT_TYPE"] == "text/x"
    assert "HTTP_CONTENT_TYPE" not in values and "HTTP_CONTENT_LENGTH" not in values
    assert values["HTTP_HOST"] == "test"
    assert values["HTTP_X_CUSTOM"] == "caf\xe9"
    assert values["HTTP_X_TWICE"] in ("1,2", "1, 2")
    assert values["HTTP_COOKIE"] == "a=1; b=2"
    assert values["wsgi.version"] == [1, 0] and types["wsgi.version"] == "tuple"
    assert values["wsgi.url_scheme"] == "http"
    assert values["wsgi.multithread"] is False and types["wsgi.multithread"] == "bool"
    assert values["wsgi.multiprocess"] is False
    assert values["wsgi.run_once"] is False
    assert values["wsgi.input_terminated"] is True
    assert "wsgi.file_wrapper" in values
    for name, kind in types.items():
        if name.isupper():
            assert kind == "str", (name, kind)


def test_environ_is_fresh_for_each_request_of_a_connection(wire):
    for _ in range(3):
        environ(wire)


def test_environ_follows_the_request_and_not_the_one_before_it(wire):
    first, _ = environ(wire, "/environ?one", "X-Only-First: 1", "Content-Type: text/plain", method="POST", body=b"abc")
    second, _ = environ(wire, "/environ?two", "X-Only-Second: 1")
    assert first["HTTP_X_ONLY_FIRST"] == "1" and first["CONTENT_LENGTH"] == "3"
    assert "HTTP_X_ONLY_FIRST" not in second and second["HTTP_X_ONLY_SECOND"] == "1"
    assert second.get("CONTENT_LENGTH", "") in ("", "0") and second.get("CONTENT_TYPE", "") == ""
    assert second["REQUEST_METHOD"] == "GET" and second["QUERY_STRING"] == "two"


def test_multiprocess_is_true_with_several_workers(serve):
    server = serve("probe:application", "--workers", "2")
    with Wire(server.address) as wire:
        assert environ(wire)[0]["wsgi.multiprocess"] is True


def test_names_with_underscores_cannot_spoof_others(wire):
    values, _ = environ(wire, "/environ", "X_Real_Ip: 6.6.6.6", "X-Real-Ip: 1.2.3.4", "REMOTE_ADDR: 6.6.6.6")
    assert values["HTTP_X_REAL_IP"] == "1.2.3.4" and "HTTP_REMOTE_ADDR" not in values


@pytest.mark.parametrize("target, path, query", [
    ("/environ", "/environ", ""),
    ("/environ?", "/environ", ""),
    ("/environ?a?b", "/environ", "a?b"),
    ("/environ/%2F/..//x;y=1", "/environ///..//x;y=1", ""),
    ("/environ/100%", "/environ/100%", ""),
    ("/environ/%zz", "/environ/%zz", ""),
    ("http://other.example:81/environ?q", "/environ", "q"),
])
def test_targets(wire, target, path, query):
    values, _ = environ(wire, target)
    assert (values["PATH_INFO"], values["QUERY_STRING"]) == (path, query)


# Input


LINES = b"first\nsecond\r\n\nlast without end"


@pytest.mark.parametrize("do, expected", [
    ("read", [LINES.decode()]),
    ("read:-1", [LINES.decode()]),
    ("read:None", [LINES.decode()]),
    ("read:3,read:0,read:4,read", ["fir", "", "st\ns", LINES[7:].decode()]),
    ("read,read,read:5,readline,readlines,iter", [LINES.decode(), "", "", "", [], []]),
    ("readline,readline,readline,readline,readline", ["first\n", "second\r\n", "\n", "last without end", ""]),
    ("readline:3,readline:100,readline:0,readline:-1,readline:None", ["fir", "st\n", "", "second\r\n", "\n"]),
    ("readlines", [["first\n", "second\r\n", "\n", "last without end"]]),
    ("readline,readlines", ["first\n", ["second\r\n", "\n", "last without end"]]),
    ("readlines:None", [["first\n", "second\r\n", "\n", "last without end"]]),
    ("iter", [["first\n", "second\r\n", "\n", "last without end"]]),
    ("next,read:2,iter", ["first\n", "se", ["cond\r\n", "\n", "last without end"]]),
])
@pytest.mark.parametrize("coding", ["length", "chunked"])
def test_input(wire, do, expected, coding):
    head = f"POST /input?do={do} HTTP/1.1\r\nHost: test\r\n"
    if coding == "length":
        wire.send(f"{head}Content-Length: {len(LINES)}\r\n\r\n".encode() + LINES)
    else:
        wire.send(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunked(LINES[:4], LINES[4:9], LINES[9:]))
    assert json.loads(wire.reply().body) == expected


def test_the_hint_of_readlines_is_only_a_hint(wire):
    first, rest = json.loads(wire.request("POST", "/input?do=readlines:7,iter", body=LINES).body)
    assert first[:2] == ["first\n", "second\r\n"]
    assert first + rest == ["first\n", "second\r\n", "\n", "last without end"]


@pytest.mark.parametrize("do", ["read", "read:5", "readline", "readlines", "iter"])
def test_input_is_empty_without_a_body(wire, do):
    assert json.loads(wire.get(f"/input?do={do}").body) == [[] if do in ("readlines", "iter") else ""]


def test_chunked_body_is_handed_over_decoded(wire):
    wire.send(b"POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"hello ", b"world"))
    reply = wire.reply()
    assert (reply.body, reply.get("X-Length-Seen"), reply.get("X-Coding-Seen"), reply.get("X-Terminated")) == \
        (b"hello world", "11", "absent", "True")


@pytest.mark.parametrize("size", [0, 1, 8191, 65536, 3_000_001])
@pytest.mark.parametrize("coding", ["length", "chunked"])
def test_bodies_of_every_size_arrive_whole(wire, size, coding):
    data = probe.block(size)
    for _ in range(2):
        if coding == "length":
            reply = wire.request("POST", "/echo", body=data)
        else:
            blocks = [data[i:i + 10_000] for i in range(0, size, 10_000)]
            wire.send(b"POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(*blocks))
            reply = wire.reply()
        assert reply.body == data


def test_an_unread_body_does_not_become_the_next_request(wire):
    for _ in range(3):
        smuggled = b"GET /pid HTTP/1.1\r\nHost: test\r\n\r\n"
        assert json.loads(wire.request("POST", "/ignore", body=smuggled * 1000).body) == "not read"


def test_errors_stream_reaches_the_log(server, wire):
    assert wire.get("/errors").status == 200
    for line in ("probe: one line", "probe: two parts", "probe: caf\u00e9 \u2603", "probe: printed", "probe: no newline"):
        server.log.wait(line)


# start_response and write()


def test_write_comes_before_the_iterable(server, wire):
    assert wire.get("/write").body == b"first then last"
    assert wire.get("/write?length=1").body == b"first then last"
    assert events(server) == ["closed write"] * 2
    assert wire.get("/write-only").body == b"written"


def test_exc_info_replaces_what_was_not_sent(wire):
    reply = wire.get("/replace")
    assert (reply.status, reply.reason, reply.body) == (503, "Sorry", b"replaced")
    assert reply.all("X-First") == [] and reply.get("X-Second") == "yes" and reply.get("Content-Type") == "text/plain"


def test_empty_blocks_send_nothing(wire):
    reply = wire.get("/replace-late")
    assert (reply.status, reply.body) == (503, b"replaced late")


def test_exc_info_is_raised_again_after_the_headers(server, wire):
    with pytest.raises(Malformed, match="ended in"):
        wire.get("/reraise")
    assert events(server) == ["came back: too late"]


def test_a_second_start_response_without_exc_info_is_an_error(server, wire):
    assert wire.get("/twice").status == 500
    assert events(server)[0].startswith("refused")


def test_start_response_must_be_called(server, wire):
    assert wire.get("/never").status == 500


def test_start_response_may_come_with_the_first_block(wire):
    reply = wire.get("/lazy")
    assert (reply.body, reply.get("X-Lazy")) == (b"lazy", "yes")


@pytest.mark.parametrize("kind", [
    "cr", "lf", "crlf", "nul", "name-space", "name-colon", "name-empty", "name-lf", "name-bytes", "value-bytes", "value-int",
    "value-snowman", "length-word", "length-two", "status-word", "status-short", "status-lf",
    "status-bytes", "status-int", "not-pairs",
])
def test_headers_that_would_break_the_response_are_a_500(wire, kind):
    reply = wire.get(f"/headers?kind={kind}")
    assert reply.status == 500 and reply.all("Injected") == [] and b"ok" != reply.body


@pytest.mark.parametrize("kind", ["hop-connection", "hop-te", "hop-upgrade"])
def test_hop_by_hop_headers_of_the_application_never_reach_the_client(wire, kind):
    reply = wire.get(f"/headers?kind={kind}")
    assert reply.status == 500 or reply.body == b"ok"
    assert reply.all("Upgrade") == []
    if not reply.closes:
        assert json.loads(wire.get("/pid").body), "the connection is still in step"


def test_the_log_names_the_header_at_fault(server, wire):
    assert wire.get("/headers?kind=crlf").status == 500
    server.log.wait("X-Bad")


def test_unusual_but_allowed_headers_pass(wire):
    reply = wire.get("/fine")
    assert (reply.status, reply.reason, reply.body) == (299, "Fine \xe9", b"fine")
    assert reply.get("X-Latin") == "caf\xe9" and reply.get("X-Lower") == "1" and reply.get("X-Empty") == ""
    assert reply.all("X-Twice") == ["a", "b"] and reply.all("Set-Cookie") == ["a=1", "b=2"]


def test_every_reply_has_one_date_and_one_server(wire):
    for path in ("/pid", "/replace", "/never"):
        reply = wire.get(path)
        assert reply.get("Date") and reply.get("Server")


# Bodies and framing, in every combination


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("client", ["1.1", "1.1 close", "1.0", "1.0 keep-alive"])
@pytest.mark.parametrize("length", ["", "&length=1"])
@pytest.mark.parametrize("kind", list(probe.BODIES))
def test_framing(server, kind, length, client, method):
    whole = probe.BODIES[kind][1]
    version, _, option = client.partition(" ")
    connection = f"Connection: {option}\r\n" if option else ""
    with Wire(server.address) as wire:
        wire.send(f"{method} /body?kind={kind}{length} HTTP/{version}\r\nHost: test\r\n{connection}\r\n")
        reply = wire.reply(method)
        assert reply.status == 200
        assert reply.body == (b"" if method == "HEAD" else whole)
        if version == "1.0":
            assert reply.framing != "chunked"
        if length:
            assert reply.get("Content-Length") == str(len(whole))
        elif kind in ("one", "large-list") and method == "GET":
            assert reply.get("Content-Length") == str(len(whole)), "one block in a list: its length is known"
        if client in ("1.1 close", "1.0"):
            assert reply.closes or version == "1.0"
            wire.expect_end()
        elif client == "1.1":
            assert not reply.closes
            assert json.loads(wire.get("/pid").body)
        elif reply.closes:
            wire.expect_end()
        else:
            assert reply.get("Connection", "").lower() == "keep-alive"
            assert json.loads(wire.get("/pid").body)


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
@pytest.mark.parametrize("kind", ["one", "many", "generator", "empty-list"])
def test_statuses_without_a_body(wire, status, kind):
    from urllib.parse import quote

    reply = wire.get(f"/body?kind={kind}&status={quote(status)}")
    assert reply.status == int(status[:3]) and reply.body == b""
    assert json.loads(wire.get("/pid").body), "the connection is still in step"


def test_a_body_longer_than_content_length_is_cut(server, wire):
    assert wire.get("/long").body == b"01234"
    eventually(lambda: "closed long" in events(server), "the iterable is closed")


def test_a_body_shorter_than_content_length_ends_the_connection(server, wire):
    with pytest.raises(Malformed, match="10 of 20"):
        wire.get("/short")
    eventually(lambda: "closed short" in events(server), "the iterable is closed")


def test_each_block_is_sent_before_the_next_is_asked_for(server, wire, tmp_path):
    fifo = tmp_path / "gate"
    os.mkfifo(fifo)
    wire.send(f"GET /gate?fifo={fifo} HTTP/1.1\r\nHost: test\r\n\r\n")
    wire.head()
    assert wire.chunk() == b"before", "the block is here while the application still waits"
    with open(fifo, "wb"):
        pass
    assert wire.chunk() == b"after"
    assert wire.chunk() == b""


# close()


def test_close_runs_once_after_the_body(server, wire):
    assert wire.get("/body?kind=closing").body == b"0123456789"
    assert events(server) == ["closed body"]


def test_close_runs_for_head_too(server, wire):
    wire.get("/body?kind=closing", method="HEAD")
    eventually(lambda: events(server) == ["closed body"], "closed")


def test_close_runs_once_when_the_client_leaves(server):
    with Wire(server.address) as wire:
        wire.send(b"GET /endless HTTP/1.1\r\nHost: test\r\n\r\n")
        wire.head()
    seen = []
    eventually(lambda: seen.extend(events(server)) or seen, "close() after a disconnect")
    assert seen + events(server) == ["closed endless"]


@pytest.mark.parametrize("when", ["first", "mid"])
def test_close_runs_after_a_failure(server, wire, when):
    try:
        wire.get(f"/fail?how=ValueError&when={when}")
    except Malformed:
        pass
    assert events(server) == ["closed failing"]


def test_a_failing_close_does_not_harm_the_response(server, wire):
    assert wire.get("/fail?how=ValueError&when=close").body == b"whole body"
    server.log.wait(r"close\(\) fails")
    assert events(server) == ["closed failing"]


# Failures


FAILURES = ["ValueError", "OSError", "EPIPE", "ECONNRESET", "TimeoutError", "FileNotFoundError", "SystemExit", "KeyboardInterrupt",
            "GeneratorExit", "StopIteration", "MemoryError", "RecursionError", "Surrogates"]


@pytest.mark.parametrize("when", ["call", "started"])
@pytest.mark.parametrize("how", FAILURES)
def test_a_failure_before_the_headers_is_a_500(server, how, when):
    with Wire(server.address) as wire:
        pid = json.loads(wire.get("/pid").body)
    with Wire(server.address) as wire:
        reply = wire.get(f"/fail?how={how}&when={when}")
        assert reply.status == 500 and b"probe" not in reply.body
    with Wire(server.address) as wire:
        assert json.loads(wire.get("/pid").body) == pid, "the worker lives on"


@pytest.mark.parametrize("how", ["ValueError", "EPIPE", "SystemExit", "KeyboardInterrupt"])
def test_a_failure_in_the_body_is_visible_to_the_client(server, how):
    with Wire(server.address) as wire, pytest.raises(Malformed, match="ended in"):
        wire.get(f"/fail?how={how}&when=mid")
    with Wire(server.address) as wire:
        assert json.loads(wire.get("/pid").body)


@pytest.mark.parametrize("when", ["call", "mid"])
def test_a_failure_is_logged_with_traceback_method_and_path(serve, when):
    server = serve("probe:application")
    with Wire(server.address) as wire:
        try:
            wire.get(f"/fail?how=ValueError&when={when}")
        except Malformed:
            pass
    server.log.wait("^ValueError: probe failed")
    assert server.log.find(rf"GET /fail\?how=ValueError&when={when}")
    assert server.log.find(r"^Traceback \(most recent call last\)")
    assert server.log.find(r"probe\.py\", line \d+, in " + ("fail" if when == "call" else "__next__"))


@pytest.mark.parametrize("kind", ["none", "str", "str-block", "int", "int-block", "none-block"])
def test_bodies_that_are_not_bytes_are_a_500(wire, kind):
    assert wire.get(f"/wrong?kind={kind}").status == 500


# wsgi.file_wrapper


SIZE = 300_000


@pytest.mark.parametrize("kind", ["real", "bytesio", "closing"])
@pytest.mark.parametrize("seek, length", [(0, None), (0, SIZE), (1000, None), (1000, 5000), (SIZE, None), (299_999, 1)])
def test_file_wrapper(wire, kind, seek, length):
    query = f"size={SIZE}&kind={kind}&seek={seek}" + (f"&length={length}" if length else "")
    expected = probe.block(SIZE)[seek:][:length]
    assert wire.get(f"/file?{query}").body == expected
    assert wire.get(f"/file?{query}", method="HEAD").status == 200
    assert json.loads(wire.get("/pid").body), "the connection is still in step"


def test_file_wrapper_closes_the_file(server, wire):
    assert wire.get("/file?size=10&kind=closing").body == probe.block(10)
    eventually(lambda: "closed file" in events(server), "the file's close()")


def test_file_wrapper_with_a_block_size(wire):
    assert wire.get("/file?size=100000&kind=bytesio&block=1000").body == probe.block(100_000)


def test_file_wrapper_can_be_iterated_by_a_middleware(wire):
    assert wire.get("/file-iterated").body == probe.block(100_000)


def test_file_wrapper_to_an_old_client(server):
    with Wire(server.address) as wire:
        wire.send(b"GET /file?size=100000&kind=real HTTP/1.0\r\n\r\n")
        assert wire.reply().body == probe.block(100_000)
