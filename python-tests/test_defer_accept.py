"""`defer_accept`: when the kernel hands connections out. The test makes the listening socket itself and
passes it in, so that it sees the option that the server sets on it."""

from __future__ import annotations

import os
import re
import signal
import socket
from pathlib import Path

import pytest
from support.server import eventually
from support.wire import Wire


@pytest.fixture
def door():
    """A socket to listen at; the server may come and go."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def serve_at(serve, door, *args, app="probe:application", **more):
    return serve(app, *args, bind=[f"fd://{door.fileno()}"], pass_fds=[door.fileno()], **more)


def is_deferred(door) -> bool:
    return door.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT) > 0


def answers(door) -> bool:
    with Wire(door.getsockname()) as wire:
        return wire.get("/pid", "Connection: close").status == 200


def test_the_kernel_waits_for_the_first_bytes(serve, door):
    serve_at(serve, door)
    assert answers(door) and is_deferred(door)


def test_it_can_be_switched_off_and_on_again(serve, door, tmp_path):
    settings = tmp_path / "rwsgi.toml"
    settings.write_text("defer_accept = false\n")
    server = serve_at(serve, door, "--config", settings)
    assert answers(door) and not is_deferred(door)
    settings.write_text("defer_accept = true\n")
    server.kill(signal.SIGHUP)
    eventually(lambda: is_deferred(door), "the option that was switched on")
    settings.write_text("defer_accept = false\n")
    server.kill(signal.SIGHUP)
    eventually(lambda: not is_deferred(door), "the option that was switched off")
    assert answers(door)


def has_pending(pid: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    return bool(int(re.search(r"ShdPnd:\s*(\w+)", status)[1], 16) >> number - 1 & 1)


def test_a_connected_client_that_speaks_during_a_stop_is_served(serve, door):
    server = serve_at(serve, door)
    [worker] = server.booted()
    assert answers(door)
    with Wire(door.getsockname()) as wire:
        # Else it might have looked at the queue for the last time before anything was said.
        os.kill(worker, signal.SIGSTOP)
        eventually(lambda: "State:\tT" in Path(f"/proc/{worker}/status").read_text(), "a worker that has stopped")
        try:
            server.kill(signal.SIGTERM)
            eventually(lambda: not is_deferred(door), "the master's word to the kernel")
            eventually(lambda: has_pending(worker, signal.SIGTERM), "the master's word to the worker")
            wire.send("GET /pid HTTP/1.1\r\nHost: test\r\n\r\n")
        finally:
            os.kill(worker, signal.SIGCONT)
        reply = wire.reply()
        assert (reply.status, reply.closes) == (200, True)
    assert server.wait() == 0


def test_a_client_that_speaks_after_the_stop_is_told_so(serve):
    server = serve("probe:application")
    with Wire(server.address) as ready:
        assert ready.get("/pid", "Connection: close").status == 200
    with Wire(server.address) as silent:
        assert server.stop(signal.SIGTERM) == 0
        try:
            silent.send("GET /pid HTTP/1.1\r\nHost: test\r\n\r\n")
            assert silent.rest() == b""
        except (ConnectionResetError, BrokenPipeError):
            pass


def test_a_worker_that_still_boots_at_a_stop_changes_nothing(serve, door, tmp_path):
    gate = tmp_path / "gate"
    (tmp_path / "gated.py").write_text(
        "import os, sys, time\n"
        "if os.path.exists('gate'):\n"
        "    print('at the gate', file=sys.stderr, flush=True)\n"
        "while os.path.exists('gate'):\n"
        "    time.sleep(0.01)\n"
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Length', '0')])\n"
        "    return []\n"
    )
    server = serve_at(serve, door, app="gated:application", chdir=tmp_path)
    assert answers(door)
    gate.touch()
    server.kill(signal.SIGTTIN)
    server.log.wait("at the gate")
    server.kill(signal.SIGTERM)
    eventually(lambda: not is_deferred(door), "the master's word to the kernel")
    gate.unlink()
    assert server.wait() == 0
    assert not is_deferred(door)


def test_an_upgrade_that_is_rolled_back_leaves_it_on(serve, door):
    server = serve_at(serve, door)
    assert answers(door)
    server.kill(signal.SIGUSR2)
    server.log.wait(r"Booting worker with pid: \d+", 2)
    new = int(server.log.wait(r"Listening at: .* \((\d+)\)", 2)[1])
    os.kill(new, signal.SIGTERM)
    server.log.wait(r"New master .* exited with code 0")
    assert answers(door) and is_deferred(door)
    # It is the last one now.
    server.kill(signal.SIGTERM)
    eventually(lambda: not is_deferred(door), "the master's word to the kernel")
    assert server.wait() == 0
