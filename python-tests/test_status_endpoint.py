"""The operator's endpoint: who answers, when, and how strictly."""

from __future__ import annotations

import json
import os
import signal
import socket
import time

import pytest
from support.server import eventually
from support.status import ask, document, figure, status_address
from support.wire import Wire, assert_refusal

STATUS = ("--status-bind", "127.0.0.1:0")


def child(server, role: str) -> list[int]:
    """The processes of that role, by their titles."""
    found = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            with open(f"/proc/{pid}/stat") as stat, open(f"/proc/{pid}/cmdline", "rb") as title:
                parent = int(stat.read().rsplit(")", 1)[1].split()[1])
                if parent == server.pid and title.read().startswith(b"rwsgi: " + role.encode()):
                    found.append(pid)
        except FileNotFoundError:
            continue
    return found


def holds(pid: int, port: int) -> bool:
    """Whether the process has a handle of the socket that listens there."""
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table]
    inodes = {f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")}
    assert inodes
    return any(os.readlink(f"/proc/{pid}/fd/{fd}") in inodes for fd in os.listdir(f"/proc/{pid}/fd"))


def test_there_is_none_unless_asked_for(serve):
    server = serve("probe:application")
    with Wire(server.address) as wire:
        assert wire.get("/metrics").status == 200, "the application's own"
    assert child(server, "status") == []
    assert "Status at" not in server.log.text


@pytest.mark.parametrize("path, status", [
    ("/healthz", 200), ("/readyz", 200), ("/metrics", 200), ("/status.json", 200), ("/", 200), ("/healthz?verbose", 200),
    ("/healthz/", 404), ("/status", 404), ("//healthz", 404),
])
def test_pages(serve, path, status):
    server = serve("probe:application", *STATUS)
    eventually(lambda: ask(server, "/readyz").status == 200, "a worker")
    reply = ask(server, path)
    assert reply.status == status and reply.body and reply.get("cache-control") == "no-store"
    head = ask(server, path, method="HEAD")
    assert (head.status, head.body) == (status, b"") and int(head.get("content-length")) > 0


def test_on_a_unix_socket_and_on_several_addresses(serve, tmp_path):
    path = tmp_path / "status.sock"
    server = serve("probe:application", "--status-bind", f"unix:{path}", *STATUS)
    server.log.wait(r"Status at: unix:\S+,http://127\.0\.0\.1:\d+")
    with Wire(str(path)) as wire:
        assert wire.get("/healthz").body == b"ok\n"
    assert server.stop() == 0
    assert not path.exists()


@pytest.mark.parametrize("request_, status", [
    (b"POST /metrics HTTP/1.1\r\nHost: t\r\n\r\n", 405),
    (b"DELETE / HTTP/1.1\r\nHost: t\r\n\r\n", 405),
    (b"GET /metrics HTTP/1.1\r\n\r\n", 400),
    (b"GET /metrics HTTP/1.1\r\nHost: t\r\nHost: u\r\n\r\n", 400),
    (b"GET /metrics HTTP/1.1\nHost: t\n\n", 400),
    (b"GET /metrics\r\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01", 400),
    (b"GET / HTTP/2.0\r\nHost: t\r\n\r\n", 505),
    (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: t\r\n\r\n", 414),
    (b"GET / HTTP/1.1\r\nHost: t\r\n" + b"X: " + b"a" * 9000 + b"\r\n\r\n", 431),
    (b"GET / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\n", 413),
    (b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n", 413),
])
def test_it_is_strict(serve_module, request_, status):
    server = serve_module.running[0] if serve_module.running else serve_module("probe:application", *STATUS)
    with Wire(status_address(server)) as wire:
        reply = wire.send(request_).reply()
        assert_refusal(reply, status)
        assert (reply.get("allow") == "GET, HEAD") is (status == 405)
        wire.expect_end()


def test_slow_and_silent_peers_keep_nobody_from_an_answer(serve):
    server = serve("probe:application", *STATUS)
    address = status_address(server)
    silent = [socket.create_connection(address) for _ in range(40)]
    try:
        for peer in silent[::2]:
            peer.sendall(b"GET /healthz HTTP/1.1\r\nHo")
        begun = time.monotonic()
        assert ask(server, "/healthz").status == 200
        assert time.monotonic() - begun < 2
        # Each is let go after five seconds, with or without a word.
        for peer in silent:
            peer.settimeout(15)
            assert peer.recv(1000) == b""
    finally:
        for peer in silent:
            peer.close()


def test_it_answers_while_every_worker_is_stuck(serve):
    server = serve("probe:application", "--timeout", "60", *STATUS)
    with Wire(server.address) as wire:
        wire.send("GET /sleep?for=2.5 HTTP/1.1\r\nHost: t\r\n\r\n")
        server.log.wait("probe: sleeping")
        assert ask(server, "/healthz").status == 200
        assert ask(server, "/readyz").status == 200
        seen = document(server)
        [worker] = seen["workers"]
        [running] = worker["running"]
        assert running["request"] == "GET /sleep?for=2.5" and not running["over_deadline"]
        assert seen["threads"] == {"busy": 1, "idle": 0} and seen["requests_in_flight"] == 1
        assert figure(server, "rwsgi_threads", state="busy") == 1
        assert wire.reply().status == 200
    eventually(lambda: document(server)["threads"] == {"busy": 0, "idle": 1}, "the end of it")


def test_while_it_stops_it_is_alive_and_not_ready(serve):
    server = serve("probe:application", *STATUS)
    [aide] = eventually(lambda: child(server, "status"), "the status process")
    assert eventually(lambda: holds(aide, server.port), "a look at the queue")
    with Wire(server.address) as wire:
        wire.send("GET /sleep?for=2 HTTP/1.1\r\nHost: t\r\n\r\n")
        server.log.wait("probe: sleeping")
        server.kill(signal.SIGTERM)
        eventually(lambda: ask(server, "/readyz").status == 503, "no more readiness", patience=1.5)
        assert ask(server, "/readyz").body == b"the server is stopping\n"
        assert ask(server, "/healthz").status == 200
        assert document(server)["state"] == "stopping"
        # Else connections would go on to queue up where nobody accepts them.
        assert not holds(aide, server.port)
        assert wire.reply().status == 200
    assert server.stop() == 0


def test_a_server_without_workers_is_not_ready(serve):
    server = serve("probe:application", "--workers", "0", *STATUS)
    assert ask(server, "/healthz").status == 200
    reply = ask(server, "/readyz")
    assert (reply.status, reply.body) == (503, b"no worker serves\n")


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_full_accept_queue_is_not_ready(serve, kind, tmp_path):
    bind = {"tcp": "127.0.0.1:0", "unix": f"unix:{tmp_path}/socket"}[kind]
    server = serve("probe:application", "--backlog", "4", *STATUS, bind=[bind])
    listener = bind if kind == "unix" else server.url("")
    if kind == "unix" and b"rwsgi_accept_queue_limit" not in ask(server, "/metrics").body:
        pytest.skip("this kernel does not tell about unix sockets (UNIX_DIAG)")
    eventually(lambda: ask(server, "/readyz").status == 200, "a worker")
    [worker] = child(server, "worker")
    waiting = []
    os.kill(worker, signal.SIGSTOP)
    try:
        for _ in range(4):
            # A TCP connection comes with its first bytes (defer_accept).
            waiting.append(Wire(server.address).send("G"))
        assert figure(server, "rwsgi_accept_queue_limit", listener=listener) == 4
        assert figure(server, "rwsgi_accept_queue_connections", listener=listener) == 4
        reply = ask(server, "/readyz")
        assert reply.status == 503 and b"4 connections of at most 4 wait" in reply.body
    finally:
        os.kill(worker, signal.SIGCONT)
        for peer in waiting:
            peer.close()
    eventually(lambda: ask(server, "/readyz").status == 200, "an empty queue")


def test_it_is_replaced_when_it_is_killed(serve):
    server = serve("probe:application", *STATUS)
    [first] = eventually(lambda: child(server, "status"), "the status process")
    requests = lambda: figure(server, "rwsgi_requests_total", status="2xx", method="GET")  # noqa: E731
    with Wire(server.address) as wire:
        for _ in range(5):
            wire.get("/pid")
    eventually(lambda: requests() == 5, "five requests")
    os.kill(first, signal.SIGKILL)
    server.log.wait(rf"Status process \(pid:{first}\) was sent SIGKILL")
    assert ask(server, "/healthz").status == 200
    assert child(server, "status") != [first]
    assert requests() == 5, "counters are not its own"


def test_signals_for_the_master_do_not_end_it(serve):
    server = serve("probe:application", *STATUS)
    [aide] = eventually(lambda: child(server, "status"), "the status process")
    eventually(lambda: ask(server, "/healthz").status == 200, "an answer")
    for _ in range(20):
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGWINCH, signal.SIGTTIN):
            os.kill(aide, number)
    assert ask(server, "/healthz").status == 200
    assert child(server, "status") == [aide]


def test_it_ends_with_its_master(serve):
    server = serve("probe:application", *STATUS)
    [aide] = eventually(lambda: child(server, "status"), "the status process")
    eventually(lambda: ask(server, "/healthz").status == 200, "an answer")
    server.kill(signal.SIGKILL)
    server.wait()
    eventually(lambda: not os.path.exists(f"/proc/{aide}") or "Z" in open(f"/proc/{aide}/stat").read().split()[2], "its end")
    server.log.wait_end()
    server.finished = True


def test_a_reload_moves_it_and_keeps_the_counters(serve, tmp_path):
    config = tmp_path / "rwsgi.toml"
    config.write_text('status_bind = "127.0.0.1:0"\nworkers = 1\n')
    server = serve("probe:application", "-c", str(config))
    with Wire(server.address) as wire:
        wire.get("/pid", "Connection: close")
    eventually(lambda: figure(server, "rwsgi_requests_total", status="2xx", method="GET") == 1, "one request")
    first = status_address(server)
    path = tmp_path / "status.sock"
    config.write_text(f'status_bind = ["127.0.0.1:0", "unix:{path}"]\nworkers = 3\nthreads = 4\n')
    server.kill(signal.SIGHUP)
    server.log.wait("Reload complete")

    def reloaded():
        try:
            with Wire(str(path)) as wire:
                return json.loads(wire.get("/status.json").body)
        except (FileNotFoundError, ConnectionRefusedError):
            return None

    seen = eventually(reloaded, "the new address")
    assert first == status_address(server), "the address that stayed was never closed"
    seen = eventually(lambda: (now := document(server))["threads"]["idle"] == 12 and now, "three workers of four threads")
    assert seen["generation"] == 2 and seen["reloads"] == {"adopted": 1, "failed": 0}
    assert seen["requests"] == 1 and seen["worker_exits"]["reload"] == 1
    config.write_text("workers = nonsense\n")
    server.kill(signal.SIGHUP)
    server.log.wait("Reload refused")
    assert document(server)["reloads"] == {"adopted": 1, "failed": 1}


def test_more_workers_than_there_were_are_shown(serve):
    server = serve("probe:application", *STATUS)
    for count in range(1, 6):
        # One that comes before the last was seen would be the same one to the kernel.
        server.kill(signal.SIGTTIN)
        server.log.wait(r"Handling signal: ttin", count)

    def six():
        try:
            return figure(server, "rwsgi_workers", state="serving") == 6
        except (ConnectionError, AssertionError):
            return False

    eventually(six, "six workers")
    assert figure(server, "rwsgi_workers_wanted") == 6


def test_an_upgrade_hands_the_address_on(serve):
    server = serve("probe:application", *STATUS)
    address = status_address(server)
    eventually(lambda: ask(server, "/readyz").status == 200, "a worker")
    server.kill(signal.SIGUSR2)
    new = int(server.log.wait(r"New master started with pid: (\d+)")[1])
    server.log.wait(r"Booting worker with pid", 2)
    server.kill(signal.SIGTERM)
    assert server.wait() == 0
    try:
        def successor():
            with Wire(address) as wire:
                return json.loads(wire.get("/status.json").body)["pid"] == new

        eventually(successor, "the successor's answer")
    finally:
        os.kill(new, signal.SIGTERM)
    server.log.wait_end()
    server.finished = True


def test_an_address_in_use_is_a_configuration_error(serve):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        server = serve("probe:application", "--status-bind", address, listens=False)
        server.log.wait("Connection in use: " + address)
        assert server.wait() == 1
        server.finished = True
