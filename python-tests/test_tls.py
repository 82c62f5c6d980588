"""TLS on the wire: handshakes of all sorts, bodies of all sorts, clients of all sorts."""

from __future__ import annotations

import hashlib
import json
import os
import random
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

import pytest
from support import websockets
from support.server import eventually, needs_program
from support.status import figure
from support.tls import Authority, Slowly
from support.wire import Malformed, Wire, chunked

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "apps"))
from secured import block  # noqa: E402

APP = "secured:application"
V2, V3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
LARGE = 10_000_000


@pytest.fixture(scope="module")
def server(serve_module, site):
    return serve_module(APP, *site.flags, "--threads", "4", "--header-timeout", "20")


@pytest.fixture(scope="module")
def single(serve_module, site):
    return serve_module(APP, *site.flags, "--header-timeout", "1", "--keep-alive", "10")


@pytest.fixture(params=[V2, V3], ids=["1.2", "1.3"])
def client(request, authority):
    return authority.client(request.param)


def wire(server, context, **more) -> Wire:
    return Wire(server.address, tls=context, **more)


def test_what_the_application_sees(server, authority):
    assert server.listening[0].startswith("https://127.0.0.1:")
    with wire(server, authority.client()) as it:
        said = json.loads(it.get("/a").body)
        assert (said["scheme"], said["port"], said["addr"]) == ("https", str(server.port), "127.0.0.1")
        # Loopback is trusted to say otherwise.
        assert json.loads(it.get("/a", "X-Forwarded-Proto: http").body)["scheme"] == "http"
        assert json.loads(it.get("/a").body)["scheme"] == "https"
        assert it.socket.selected_alpn_protocol() is None
    context = authority.client()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with wire(server, context) as it:
        assert it.socket.selected_alpn_protocol() == "http/1.1"


def test_an_https_target_is_right_here(serve, site, authority):
    server = serve(APP, *site.flags, "--forwarded-allow-ips", "10.0.0.1")
    with wire(server, authority.client()) as it:
        assert json.loads(it.get("https://test/b").body)["path"] == "/b"
        assert json.loads(it.get("http://test/b").body)["scheme"] == "https"


def test_curl(server, authority, tmp_path):
    body = tmp_path / "body"
    body.write_bytes(block(3_000_000))
    done = subprocess.run(
        [needs_program("curl"), "-sS", "--cacert", authority.pem, "--data-binary", f"@{body}", "-H", "Expect: 100-continue",
         f"https://localhost:{server.port}/one", "--next", "-sS", "--cacert", authority.pem,
         f"https://localhost:{server.port}/whole?100000"],
        capture_output=True, check=True)
    said, end, rest = done.stdout.partition(b"}")
    assert json.loads(said + end)["sum"] == hashlib.sha256(block(3_000_000)).hexdigest()
    assert rest == block(100_000)


def test_kept_alive_and_pipelined(server, client):
    with wire(server, client) as it:
        for number in range(40):
            assert json.loads(it.get(f"/{number}").body)["path"] == f"/{number}"
        it.send("".join(f"GET /{number} HTTP/1.1\r\nHost: test\r\n\r\n" for number in range(40)))
        assert [json.loads(it.reply().body)["path"] for _ in range(40)] == [f"/{number}" for number in range(40)]
        # One record for each byte.
        for byte in b"GET /bytes HTTP/1.1\r\nHost: test\r\n\r\n":
            it.send(bytes([byte]))
        assert json.loads(it.reply().body)["path"] == "/bytes"


def test_large_bodies(server, client):
    body = block(LARGE)
    with wire(server, client) as it:
        said = json.loads(it.request("POST", "/up", body=body).body)
        assert (said["length"], said["sum"]) == (LARGE, hashlib.sha256(body).hexdigest())
        it.send(b"POST /up HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
                + chunked(*(body[at : at + 70_001] for at in range(0, LARGE, 70_001))))
        assert json.loads(it.reply().body)["sum"] == hashlib.sha256(body).hexdigest()
        for view in ("whole", "blocks"):
            assert it.get(f"/{view}?{LARGE}").body == body
        it.send("POST /up HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert it.head().status == 100
        it.send("abc")
        assert json.loads(it.reply().body)["length"] == 3


def test_files(server, client, tmp_path):
    path = tmp_path / "file"
    for size in (0, 1, 65_536, 3_000_001):
        path.write_bytes(block(size))
        with wire(server, client) as it:
            assert it.get(f"/file?{path}").body == block(size)
            assert it.get("/").status == 200


def test_blocks_arrive_when_they_are_yielded(server, client, tmp_path):
    with wire(server, client) as it:
        it.send(f"GET /stepwise?{tmp_path}/ HTTP/1.1\r\nHost: test\r\n\r\n")
        assert it.head().status == 200
        for step in (b"one", b"two"):
            assert it.chunk() == step
            (tmp_path / step.decode()).touch()
        assert (it.chunk(), it.chunk()) == (b"end", b"")


@pytest.fixture
def large(tmp_path):
    """The request for a reply that does not fit into any buffer, by the name of its view."""
    def request(view: str) -> str:
        query = LARGE
        if view == "file":
            query = tmp_path / "file"
            query.write_bytes(block(LARGE))
        return f"GET /{view}?{query} HTTP/1.1\r\nHost: test\r\n\r\n"

    return request


@pytest.mark.parametrize("view", ["whole", "blocks", "file"])
def test_a_slow_reader_holds_up_nobody(single, client, view, large):
    with wire(single, client) as slow:
        slow.send(large(view))
        assert slow.head().status == 200
        for _ in range(3):
            with wire(single, client) as other:
                assert other.get("/").status == 200
        body = b"".join(iter(slow.chunk, b"")) if view == "blocks" else slow.take(LARGE)
        assert body == block(LARGE)


def test_replies_that_end_with_the_connection_say_so(server, client):
    """The end of a reply without a length is TLS's to tell: a FIN may be anybody's."""
    for path in ("/until-close", "/blocks?300000"):
        with socket.create_connection(server.address, 30) as raw:
            with client.wrap_socket(raw, server_hostname="test", suppress_ragged_eofs=False) as it:
                it.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
                data = b""
                while piece := it.recv(65536):
                    data += piece
                assert data.endswith(b"wend") or len(data) > 300_000


def test_a_handshake_byte_by_byte(server, client):
    with Slowly(server.address, client) as it:
        it.until(it.tls.do_handshake)
        it.tls.write(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        assert it.until(lambda: it.tls.read(65536)).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("part", [0, 1, 0.5], ids=["nothing", "a byte", "half"])
def test_half_a_handshake_waits_no_longer_than_a_head_may(single, authority, part):
    # The deadline begins later, when it is accepted.
    began = time.monotonic()
    with Slowly(single.address, authority.client()) as it:
        hello = it.hello()
        it.socket.sendall(hello[: part if part in (0, 1) else len(hello) // 2])
        with wire(single, authority.client()) as other:
            assert other.get("/").status == 200, "others are served meanwhile"
        assert it.socket.recv(1) == b""
        assert 0.5 < time.monotonic() - began < 15


def test_dripping_does_not_move_the_deadline(single, authority):
    with Slowly(single.address, authority.client()) as it:
        hello = it.hello()
        began, ended = time.monotonic(), False
        for byte in hello:
            try:
                it.socket.sendall(bytes([byte]))
            except OSError:
                ended = True
                break
            time.sleep(0.05)
        assert ended and time.monotonic() - began < 15


@pytest.mark.parametrize("view", ["whole", "file"])
def test_a_client_that_takes_nothing_is_not_waited_for(serve, site, client, view, large):
    server = serve(APP, *site.flags, "--write-timeout", "1")
    with wire(server, client) as it:
        it.send(large(view))
        server.log.wait("The client takes nothing of its reply")
        with pytest.raises((Malformed, OSError)):
            it.head()
            it.take(LARGE)


def test_a_body_that_does_not_come(serve, site, client):
    server = serve(APP, *site.flags, "--body-timeout", "1")
    with wire(server, client) as it:
        it.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhalf")
        reply = it.reply("POST")
        assert reply.status == 408 and reply.closes
        it.expect_end()


@pytest.mark.parametrize("threads", [1, 2])
def test_a_request_that_is_overdue(serve, site, client, threads):
    server = serve(APP, *site.flags, "--timeout", "1", "--threads", threads, "--timeout-grace", "5")
    with wire(server, client) as it:
        it.send("GET /nap?before HTTP/1.1\r\nHost: test\r\n\r\n")
        # A sleep in a thread beside the main one cannot be interrupted: that worker is replaced.
        try:
            assert it.reply().status == 504
        except (Malformed, OSError):
            assert threads > 1
    with wire(server, client) as it:
        it.send("GET /nap?within HTTP/1.1\r\nHost: test\r\n\r\n")
        with pytest.raises((Malformed, OSError)):
            it.reply()
    with wire(server, client) as it:
        assert it.get("/").status == 200


def test_plain_http_is_told_so(serve, site):
    server = serve(APP, *site.flags)
    with Wire(server.address) as it:
        reply = it.get("/")
        assert reply.status == 400 and reply.closes and "speaks TLS" in reply.text
        it.expect_end()
    server.log.wait(r"Invalid request from ip=127.0.0.1: Plain HTTP was sent to a port that speaks TLS")


def test_garbage_is_sent_away_and_does_not_fill_the_log(serve, site, authority):
    server = serve(APP, *site.flags, "--status-bind", "127.0.0.1:0")
    for number in range(300):
        with Wire(server.address) as it:
            it.send(bytes([number % 10, 3, 1] if number % 3 else [22, 3, 1, 0]) + b"\xff" * 600)
            try:
                assert it.rest()[:1] in (b"", b"\x15"), "an alert at most"
            except ConnectionResetError:
                pass
    with wire(server, authority.client()) as it:
        assert it.get("/").status == 200
    lines = server.log.find(r"the TLS handshake failed: \[SSL: ")
    assert 20 <= len(lines) < 200, len(lines)
    assert figure(server, "rwsgi_refused_requests_total", reason="tls_handshake") == 300


def test_records_that_are_damaged(serve, site, client):
    """After the handshake: a flipped bit, a record cut off, one put in before. Nothing of it is data."""
    server = serve(APP, *site.flags)
    chance = random.Random(4)
    for number in range(60):
        with Slowly(server.address, client) as it:
            it.until(it.tls.do_handshake, 1000)
            it.tls.write(b"GET /damaged HTTP/1.1\r\nHost: test\r\n\r\n")
            record = bytearray(it.outgoing.read())
            if number % 3 == 0:
                record[chance.randrange(5, len(record))] ^= 1 << chance.randrange(8)
            elif number % 3 == 1:
                del record[chance.randrange(1, len(record)) :]
            else:
                record[:0] = bytes([chance.choice((20, 21, 22, 23, 99)), 3, 3, 0, 2, chance.randrange(256), 0])
            it.socket.sendall(record)
            it.socket.shutdown(socket.SHUT_WR)
            try:
                while it.socket.recv(65536):
                    pass
            except ConnectionResetError:
                pass
    with wire(server, client) as it:
        assert it.get("/after").status == 200
    server.log.wait("/after with 0 bytes")
    assert not server.log.find("/damaged") and server.log.find("the TLS session failed: ")


def test_a_client_that_believes_another_authority(serve, site, tmp_path):
    server = serve(APP, *site.flags)
    with pytest.raises(ssl.SSLCertVerificationError):
        wire(server, Authority(tmp_path, "another").client())
    server.log.wait("TLS handshake failed.*unknown ca|TLS session failed.*unknown ca")


@pytest.mark.parametrize("head", ["Content-Length: 100\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"])
@pytest.mark.parametrize("leave", [False, True], ids=["FIN", "close_notify"])
def test_half_a_body_is_never_a_whole_one(server, client, head, leave):
    case = f"{client.minimum_version.name}-{head[0]}-{leave}"
    with Slowly(server.address, client) as it:
        it.until(it.tls.do_handshake, 1000)
        it.tls.write(f"POST /half-{case} HTTP/1.1\r\nHost: test\r\n{head}".encode())
        if leave:
            with pytest.raises(ssl.SSLWantReadError):
                it.tls.unwrap()
        it.send(1000)
        it.socket.shutdown(socket.SHUT_WR)
        said = it.until(lambda: it.tls.read(65536))
        assert said.startswith(b"HTTP/1.1 400 ") and b"ended inside a request body" in said
    with wire(server, client) as it:
        assert it.get(f"/after-{case}").status == 200
    server.log.wait(f"/after-{case} with 0 bytes")
    assert not server.log.find(f"/half-{case}")


def test_the_end_of_a_connection_may_have_to_be_said(serve, site, authority):
    server = serve(APP, *site.flags, "--suppress-ragged-eofs=false")
    with Wire(server.address) as it:
        it.half_close()
        it.expect_end()
    with wire(server, authority.client()) as it:
        assert it.get("/").status == 200
        socket.socket.shutdown(it.socket, socket.SHUT_WR)
        it.expect_end()
    server.log.wait("the TLS session failed: the connection ended without a word of TLS's")


def test_sessions_are_resumed_whoever_serves(serve, site, authority):
    server = serve(APP, *site.flags, "--workers", "2")
    for version in (V2, V3):
        context = authority.client(version)
        with wire(server, context) as it:
            assert it.get("/").status == 200 and not it.socket.session_reused
            session = it.socket.session
        pids, deadline = set(), time.monotonic() + 30
        while len(pids) < 2 and time.monotonic() < deadline:
            with socket.create_connection(server.address, 30) as raw:
                with context.wrap_socket(raw, server_hostname="test", session=session) as it:
                    assert it.session_reused
                    it.sendall(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
                    data = b""
                    while piece := it.recv(65536):
                        data += piece
                    pids.add(json.loads(data.partition(b"\r\n\r\n")[2])["pid"])
        assert len(pids) == 2


def test_handshakes_that_are_broken_off_leave_nothing_behind(serve, site, authority):
    server = serve(APP, *site.flags)
    (worker,) = server.booted()
    with wire(server, authority.client()) as it:
        assert it.get("/").status == 200

    def descriptors():
        return len(os.listdir(f"/proc/{worker}/fd"))

    before = descriptors()
    for number in range(200):
        with Slowly(server.address, authority.client(V3 if number % 2 else V2)) as it:
            hello = it.hello()
            it.socket.sendall(hello if number % 3 else hello[:50])
            if number % 3 == 1:
                it.socket.recv(10)
            if number % 5 == 0:
                it.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    eventually(lambda: descriptors() <= before, "as many descriptors as before")
    with wire(server, authority.client()) as it:
        assert it.get("/").status == 200


def test_keys_are_updated(server, authority):
    """TLS 1.3: each side's, again and again, in the middle of everything (RFC 8446 section 4.6.3)."""
    # s_client takes commands from its input, a line each; K asks for both sides' new keys.
    client = subprocess.Popen(
        [needs_program("openssl"), "s_client", "-connect", f"127.0.0.1:{server.port}", "-CAfile", authority.pem, "-tls1_3", "-crlf"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0)
    output = bytearray()
    reader = threading.Thread(target=lambda: [output.extend(piece) for piece in iter(lambda: client.stdout.read(4096), b"")])
    reader.start()
    try:
        for number in range(3):
            client.stdin.write(b"K\n")
            eventually(lambda: output.count(b"KEYUPDATE") > number, "an update")
            # A line that begins with a command's letter would be taken for one, so each is sent as a whole.
            client.stdin.write(b"GET /%d HTTP/1.1\nHost: test\n\n" % number)
            eventually(lambda: b'"/%d"' % number in output, f"an answer in {bytes(output)}")
    finally:
        client.stdin.close()
        client.kill()
        client.wait()
        reader.join()
        client.stdout.close()


def test_many_at_a_time(server, authority):
    failures = []

    def ask(number):
        try:
            with wire(server, authority.client()) as it:
                for round_ in range(5):
                    size = 1000 * number + 200_000 * (round_ % 2)
                    assert it.get(f"/whole?{size}").body == block(size)
                    body = block(30_000 * number)
                    assert json.loads(it.request("POST", "/", body=body).body)["length"] == len(body)
        except (AssertionError, OSError, Malformed) as error:
            failures.append((number, error))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


PROXY = {
    "v1": b"PROXY TCP4 10.1.2.3 10.9.9.9 4711 443\r\n",
    "v2": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([10, 1, 2, 3, 10, 9, 9, 9]) + struct.pack("!HH", 4711, 443),
}


@pytest.mark.parametrize("mode", PROXY)
def test_behind_the_proxy_protocol(serve, site, authority, mode):
    server = serve(APP, *site.flags, "--proxy-protocol", mode)
    header = PROXY[mode]
    client = authority.client()
    with Slowly(server.address, client) as it:
        # The header and the first bytes of the handshake in one piece, as a proxy may send them.
        it.socket.sendall(header + it.hello())
        it.until(it.tls.do_handshake, 1000)
        for _ in range(2):
            it.tls.write(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            said = it.until(lambda: it.tls.read(65536), 1000)
            assert b'"addr": "10.1.2.3"' in said and b'"https"' in said
    with Slowly(server.address, client) as it:
        for byte in header + it.hello():
            it.socket.sendall(bytes([byte]))
        it.until(it.tls.do_handshake)
    # As without TLS, a peer that is allowed to send a header need not.
    with wire(server, client) as it:
        assert json.loads(it.get("/").body)["addr"] == "127.0.0.1"
    with Wire(server.address) as it:
        it.send(header)
        reply = it.get("/")
        assert reply.status == 400 and "speaks TLS" in reply.text
    with Wire(server.address) as it:
        it.send(b"PROXY NONSENSE\r\n" if mode == "v1" else header[:12] + b"\xff" + header[13:])
        assert it.reply().status == 400


def test_on_a_unix_socket(serve, site, authority, tmp_path):
    path = tmp_path / "s"
    server = serve(APP, *site.flags, bind=[f"unix:{path}"])
    with Wire(str(path), tls=authority.client()) as it:
        assert json.loads(it.get("/").body)["scheme"] == "https"
        assert it.get(f"/whole?{LARGE}").body == block(LARGE)
    assert server.listening == [f"unix:{path}"]


def test_an_application_takes_the_connection_over(server, client):
    with wire(server, client) as it:
        it.send("GET /take HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: lines\r\n\r\n")
        assert it.head().status == 101
        for line, answer in (
            (b"one\n", b"ONE\n"), (b"flags\n", b"flags are not for connections that are secured\n"), (b"timeout\n", b"late\n"),
            (b"nowait\n", b"nothing\n"), (b"x" * 200_000 + b"\n", b"X" * 200_000 + b"\n"),
        ):
            it.send(line)
            assert it.take(len(answer)) == answer
        it.send(b"bye\n")
        it.expect_end()


def test_websocket_echo_with_flask_sock(serve, site, authority):
    server = websockets.serve_echo(serve, *site.flags)
    websockets.assert_echoes(
        server, f"wss://localhost:{server.port}/echo", lambda: wire(server, authority.client()), size=50_000,
        sslopt={"ca_certs": str(authority.pem)})
