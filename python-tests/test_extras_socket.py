"""`gunicorn.socket` and `wsgi.early_hints`: what an application does beside its reply."""

from __future__ import annotations

import json
import signal
import time

import pytest
from support import websockets
from support.wire import Wire


@pytest.fixture(scope="module")
def extras(serve_module):
    return serve_module("extras:application", "--threads", "4", "--timeout", "2", "--timeout-grace", "1")


def test_looking_at_the_socket_changes_nothing(extras):
    with Wire(extras.address) as wire:
        for _ in range(2):
            seen = json.loads(wire.get("/look").body)
            assert seen == {"peer": list(wire.socket.getsockname()), "real": True, "fileno": True, "waiting": "",
                            "same": True}
        assert wire.get("/").status == 200


def test_an_application_takes_the_connection_over(extras):
    with Wire(extras.address) as wire:
        wire.send("GET /take HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: lines\r\n\r\n")
        assert wire.head().status == 101
        for line in (b"one\n", b"two\n"):
            wire.send(line)
            assert wire.take(len(line)) == line
        # Longer than the request timeout: it is not the server's business any more.
        time.sleep(4)
        wire.send(b"bye\n")
        assert wire.take(4) == b"bye\n"
        wire.expect_end()
    assert "WORKER TIMEOUT" not in extras.log.text
    assert not extras.log.find("ERROR")


def test_a_handle_that_is_kept_does_not_break_the_reply(extras):
    with Wire(extras.address) as wire:
        reply = wire.get("/take-and-answer")
        assert reply.text == "answered" and reply.closes
    with Wire(extras.address) as wire:
        assert wire.get("/").status == 200


def test_other_threads_are_told(extras):
    with Wire(extras.address) as wire:
        assert "thread that runs the request" in wire.get("/elsewhere").text


def test_stop_iteration_alone_is_an_error(extras):
    with Wire(extras.address) as wire:
        assert wire.get("/stop").status == 500


def test_early_hints(extras):
    with Wire(extras.address) as wire:
        reply = wire.get("/hints")
        assert [interim.status for interim in reply.interim] == [103, 103]
        assert reply.interim[0].fields == [("Link", "</a.css>; rel=preload; as=style"),
                                           ("Link", "</b.js>; rel=preload; as=script")]
        assert reply.text.startswith("first ") and "X-Bad" in reply.text
        assert wire.get("/").status == 200, "the connection lives on"


def test_no_early_hints_for_http_1_0(extras):
    with Wire(extras.address) as wire:
        wire.send("GET /hints HTTP/1.0\r\n\r\n")
        reply = wire.reply()
        assert reply.text == "none" and reply.interim == []


def test_websocket_echo_with_flask_sock(serve):
    server = websockets.serve_echo(serve)
    websockets.assert_echoes(server, f"ws://127.0.0.1:{server.port}/echo", lambda: Wire(server.address), size=5000)


def test_websocket_with_one_thread_and_a_stop(serve):
    pytest.importorskip("flask_sock")
    websocket = pytest.importorskip("websocket")
    server = serve("sites.flask_sock_site:application", "--timeout", "1", "--graceful-timeout", "1")
    client = websocket.create_connection(f"ws://127.0.0.1:{server.port}/echo", timeout=20)
    client.send("hello")
    assert client.recv() == "hello"
    began = time.monotonic()
    assert server.stop(signal.SIGTERM) == 0
    assert time.monotonic() - began < 15
    client.close()
