"""WebSocket connections through `gunicorn.socket`, plain or secured."""

from __future__ import annotations

from contextlib import ExitStack, closing

import pytest


def serve_echo(serve, *flags):
    """A server with a site that echoes, and a thread to spare beside three clients."""
    for package in ("flask_sock", "websocket"):
        pytest.importorskip(package)
    return serve("sites.flask_sock_site:application", *flags, "--threads", "4", "--timeout", "1", "--access-logfile", "-",
                 "--access-logformat", "%(r)s %(s)s")


def assert_echoes(server, url: str, wire, *, size: int, **options) -> None:
    """Three clients are answered, before and after a time in which `timeout` has ended another request.
    `wire` makes a connection for plain requests."""
    import websocket

    with ExitStack() as stack:
        clients = [stack.enter_context(closing(websocket.create_connection(url, timeout=30, **options))) for _ in range(3)]
        for round_ in range(2):
            for number, client in enumerate(clients):
                message = f"{number} {round_} " + "x" * size
                client.send(message)
                assert client.recv() == message
                client.send_binary(b"\x00\xff")
                assert client.recv() == b"\x00\xff"
            if round_ == 0:
                with wire() as it:
                    # It began after theirs: they would be overdue as well.
                    assert it.get("/doze").status == 504
                with wire() as it:
                    assert it.get("/").text == "plain", "a thread is left"
    server.out.wait(r"GET /echo HTTP/1.1 101", 3)
    assert all("GET /doze" in line for line in server.log.lines if "ERROR" in line), server.log.text
