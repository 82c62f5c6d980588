"""The PROXY protocol: who the client is, for every request of a connection."""

from __future__ import annotations

import fcntl
import json
import select
import socket
import struct
import termios

import pytest
from support.server import eventually
from support.wire import Wire, assert_refusal

V1 = b"PROXY TCP4 192.0.2.7 198.51.100.9 4711 443\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v2(command=0x21, family=0x11, block=None):
    if block is None:
        block = socket.inet_aton("192.0.2.7") + socket.inet_aton("198.51.100.9") + struct.pack("!HH", 4711, 443)
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", len(block)) + block


@pytest.fixture(scope="module")
def proxied(serve_module):
    return serve_module("extras:application", "--proxy-protocol", "auto")


def environ(wire):
    return json.loads(wire.get("/environ").body)


def named(values):
    keys = ("REMOTE_ADDR", "REMOTE_PORT", "PROXY_PROTOCOL", "PROXY_ADDR", "PROXY_PORT")
    return [values.get(key) for key in keys]


@pytest.mark.parametrize("header", [V1, v2(), v2(block=v2()[16:] + b"\x04\x00\x01x")], ids=["v1", "v2", "v2 with TLVs"])
def test_the_client_is_known_for_the_whole_connection(proxied, header):
    with Wire(proxied.address) as wire:
        wire.send(header)
        for _ in range(4):
            assert named(environ(wire)) == ["192.0.2.7", "4711", "TCP4", "198.51.100.9", "443"]


def test_two_clients_behind_one_balancer_are_told_apart(proxied):
    with Wire(proxied.address) as one, Wire(proxied.address) as other:
        one.send(V1)
        other.send(b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n")
        for _ in range(4):
            assert named(environ(one)) == ["192.0.2.7", "4711", "TCP4", "198.51.100.9", "443"]
            assert named(environ(other)) == ["2001:db8::1", "1", "TCP6", "2001:db8::2", "2"]


@pytest.mark.parametrize("header, protocol", [
    (v2(0x20, 0, b""), "LOCAL"), (v2(0x20), "LOCAL"), (v2(0x21, 0, b""), "UNSPEC"), (b"PROXY UNKNOWN\r\n", "UNKNOWN"),
], ids=["local", "local with addresses", "unspec", "unknown"])
def test_a_balancer_that_names_no_client(proxied, header, protocol):
    with Wire(proxied.address) as wire:
        wire.send(header)
        for _ in range(3):
            expected = ["127.0.0.1", str(wire.socket.getsockname()[1]), protocol, None, None]
            assert named(environ(wire)) == expected


def test_no_header_is_a_plain_request(proxied):
    with Wire(proxied.address) as wire:
        assert named(environ(wire)) == ["127.0.0.1", str(wire.socket.getsockname()[1]), None, None, None]


def test_a_header_that_comes_in_pieces(proxied):
    with Wire(proxied.address) as wire:
        for byte in v2():
            wire.send(bytes([byte]))
        assert named(environ(wire))[0] == "192.0.2.7"


@pytest.mark.parametrize("header", [
    b"PROXY TCP4 192.0.2.7 198.51.100.9 4711\r\n", b"PROXY TCP4 192.0.2.300 198.51.100.9 1 2\r\n", b"PROXY SCTP a b 1 2\r\n",
    b"PROXY " + b"x" * 200, v2(0x11), v2(0x21, 0x12), v2(block=b"short"),
], ids=["short line", "bad address", "bad family", "endless", "version 1", "datagrams", "short block"])
def test_a_malformed_header_is_refused(proxied, header):
    with Wire(proxied.address) as wire:
        wire.send(header + b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        assert_refusal(wire.reply(), 400)
        wire.expect_end()


@pytest.mark.parametrize("header", [V1, v2(), v2(0x20, 0, b"")], ids=["v1", "v2", "local"])
def test_only_some_peers_may_speak_it(serve, header):
    server = serve("extras:application", "--proxy-protocol", "auto", "--proxy-allow-from", "10.0.0.0/8")
    with Wire(server.address) as wire:
        wire.send(header + b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        assert_refusal(wire.reply(), 403)
    with Wire(server.address) as wire:
        assert environ(wire)["REMOTE_ADDR"] == "127.0.0.1"


@pytest.mark.parametrize("mode, header", [("v1", v2()), ("v2", V1)])
def test_one_version_alone(serve, mode, header):
    server = serve("extras:application", "--proxy-protocol", mode)
    with Wire(server.address) as wire:
        wire.send(header + b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        assert_refusal(wire.reply(), 400)


def test_switched_off_it_is_no_request(serve):
    server = serve("extras:application")
    with Wire(server.address) as wire:
        wire.send(V1 + b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        assert_refusal(wire.reply(), 400)


def test_a_connection_that_was_announced_ends_like_any_other(serve, tmp_path):
    """Nothing came behind the header, so nothing is left that a client could still be sending."""
    server = serve("extras:application", "--proxy-protocol", "auto", "--linger-timeout", "60", bind=[f"unix:{tmp_path}/socket"])
    with Wire(server.address) as wire:
        wire.send(V1)
        unread = bytes(4)
        eventually(lambda: fcntl.ioctl(wire.socket, termios.TIOCOUTQ, unread) == unread, "the header read by itself")
        assert wire.get("/environ", "Connection: close").status == 200
        poll = select.poll()
        poll.register(wire.socket, 0)
        assert poll.poll(30_000) == [(wire.socket.fileno(), select.POLLHUP)]
