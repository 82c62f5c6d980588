"""The life of the processes: deaths, signals, exits, and what is left behind."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.server import EXAMPLES, Server, clean_environment, eventually, server_command
from support.wire import Malformed, Wire


def pid_of(server) -> int:
    with Wire(server.address) as wire:
        return json.loads(wire.get("/pid", "Connection: close").body)


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def open_for_writing(fifo):
    """Lets the reader of a FIFO go on; fails instead of waiting for ever when there is none."""

    def attempt():
        try:
            os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
            return True
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise

    eventually(attempt, f"a reader of {fifo}", patience=10)


@contextmanager
def held_request(server, tmp_path, name="held"):
    """A request that is inside the application; leaving lets it go on. Yields its connection."""
    fifo = tmp_path / name
    os.mkfifo(fifo)
    with Wire(server.address) as wire:
        wire.send(f"GET /hold?fifo={fifo}&name={name} HTTP/1.1\r\nHost: test\r\n\r\n")
        server.log.wait(f"probe: holding {name}")
        yield wire, lambda: open_for_writing(fifo)


# Workers


def test_a_killed_worker_is_replaced(serve):
    server = serve("probe:application", "--workers", "2")
    first = server.booted(2)
    victim = pid_of(server)
    assert victim in first
    os.kill(victim, signal.SIGKILL)
    assert len(set(server.booted(3))) == 3
    server.log.wait("SIGKILL")
    for _ in range(20):
        assert pid_of(server) != victim
    assert all(alive(pid) for pid in server.booted(3) if pid != victim)


def test_a_worker_that_ends_itself_is_replaced_and_its_exit_named(serve):
    server = serve("probe:application", "--workers", "1")
    victim = pid_of(server)
    with Wire(server.address) as wire, pytest.raises((Malformed, ConnectionResetError)):
        wire.get("/exit-now?code=77")
    server.log.wait(rf"pid:{victim}\b.*77")
    assert pid_of(server) != victim


def test_deaths_do_not_stop_the_others(serve, tmp_path):
    server = serve("probe:application", "--workers", "2")
    server.booted(2)
    with held_request(server, tmp_path) as (wire, release):
        for _ in range(3):
            os.kill(pid_of(server), signal.SIGKILL)
        release()
        assert wire.reply().status == 200


def test_max_requests(serve):
    """A worker that has done its share is replaced; it serves on until its successor can."""
    server = serve("probe:application", "--workers", "1", "--max-requests", "5")
    pids = set()
    eventually(lambda: pids.add(pid_of(server)) or len(pids) >= 4, "four generations of the worker")
    assert server.log.find("exited with code") == []


# Ending


def test_term_lets_a_request_finish(serve, tmp_path):
    server = serve("probe:application", "--workers", "2")
    server.booted(2)
    with held_request(server, tmp_path) as (wire, release):
        server.kill(signal.SIGTERM)
        server.log.wait("(?i)handling signal: term")
        release()
        reply = wire.reply()
        assert (reply.status, reply.text) == (200, '"released"')
        if not reply.closes:
            # The signal may reach the worker after it answered: then the next answer says it.
            assert wire.get("/pid").closes
        wire.expect_end()
    assert server.wait() == 0
    server.log.wait_end()


def test_term_tells_idle_connections_when_they_come_back(serve):
    """A kept-alive connection is not cut under a request that is on its way: it is answered, and told to close."""
    server = serve("probe:application", "--workers", "1", "--keep-alive", "5")
    with Wire(server.address) as wire:
        wire.get("/pid")
        server.kill(signal.SIGTERM)
        server.log.wait("(?i)handling signal: term")
        replies = 0
        while not (reply := wire.get("/pid")).closes:
            replies += 1
            assert reply.status == 200 and replies < 10_000
        assert reply.status == 200
        wire.expect_end()
    assert server.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_connections_kept_for_long_do_not_hold_up_an_end(serve, number):
    """A proxy keeps connections it may never use again: the old worker does not stay for them."""
    server = serve("probe:application", "--workers", "1", "--keep-alive", "120", "--graceful-timeout", "60")
    [worker] = server.booted()
    with Wire(server.address) as wire:
        wire.get("/pid")
        server.kill(number)
        wire.expect_end()
    server.log.wait(rf"Worker exiting \(pid: {worker}\)", patience=10)
    assert "killing" not in server.log.text


def test_term_gives_up_after_graceful_timeout(serve, tmp_path):
    server = serve("probe:application", "--workers", "1", "--graceful-timeout", "1")
    with held_request(server, tmp_path) as (wire, _):
        started = time.monotonic()
        assert server.stop(signal.SIGTERM) == 0
        assert 0.9 <= time.monotonic() - started < 10
        with pytest.raises((Malformed, ConnectionResetError)):
            wire.reply()


def test_term_ends_idle_servers_at_once(serve):
    server = serve("probe:application", "--workers", "3")
    server.booted(3)
    pid_of(server)
    started = time.monotonic()
    assert server.stop(signal.SIGTERM) == 0
    assert time.monotonic() - started < 5


def test_term_serves_what_was_already_accepted(serve, tmp_path):
    """With the only worker busy, further connections wait in the listener's queue: they are served too."""
    server = serve("probe:application", "--workers", "1")
    with held_request(server, tmp_path) as (wire, release):
        queued = [Wire(server.address).send("GET /pid HTTP/1.1\r\nHost: test\r\n\r\n") for _ in range(5)]
        server.kill(signal.SIGTERM)
        server.log.wait("(?i)handling signal: term")
        release()
        assert wire.reply().status == 200
        for connection in queued:
            assert connection.reply().status == 200
            connection.close()
    assert server.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_int_and_quit_do_not_wait(serve, tmp_path, number):
    server = serve("probe:application", "--workers", "2", "--graceful-timeout", "20")
    with held_request(server, tmp_path):
        started = time.monotonic()
        assert server.stop(number) == 0
        assert time.monotonic() - started < 10


def test_many_signals_at_once_end_once(serve):
    server = serve("probe:application", "--workers", "2")
    server.booted(2)
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGCHLD, signal.SIGTERM):
        server.kill(number)
    assert server.wait() == 0
    server.log.wait_end()


def test_a_killed_master_leaves_no_orphans(serve, tmp_path):
    server = serve("probe:application", "--workers", "3", "--graceful-timeout", "2")
    workers = server.booted(3)
    with Wire(server.address) as idle:
        idle.get("/pid")
        server.kill(signal.SIGKILL)
        server.wait()
        server.log.wait_end()
        eventually(lambda: not any(alive(pid) for pid in workers), "the end of the workers", patience=5)
    with pytest.raises(ConnectionRefusedError):
        Wire(server.address)
    server.finished = True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_pidfile_and_unix_socket_are_removed(serve, tmp_path, number):
    path, pidfile = tmp_path / "s.sock", tmp_path / "pid"
    server = serve("probe:application", "--pid", str(pidfile), bind=[f"unix:{path}"])
    assert pidfile.read_text() == f"{server.pid}\n"
    assert path.is_socket()
    assert server.stop(number) == 0
    assert not pidfile.exists() and not path.exists()


def test_a_pidfile_of_a_living_process_is_respected(serve, tmp_path):
    pidfile = tmp_path / "pid"
    pidfile.write_text(f"{os.getpid()}\n")
    server = serve("probe:application", "--pid", str(pidfile), listens=False)
    assert server.wait() == 1 and str(os.getpid()) in server.log.wait_end()
    assert pidfile.read_text() == f"{os.getpid()}\n"
    pidfile.write_text("999999999\n")
    assert pid_of(serve("probe:application", "--pid", str(pidfile)))


def test_signals_reach_the_application(serve):
    """A mask the master needs would be inherited by workers, and by what they start."""
    server = serve("probe:application")
    with open(f"/proc/{pid_of(server)}/status") as status:
        fields = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
    blocked = {number for number in signal.Signals if int(fields["SigBlk"], 16) >> (number - 1) & 1}
    # SIGURG means nothing to most programs, so a server may keep it to itself.
    assert blocked <= {signal.SIGURG}


def test_pid_1(serve, tmp_path):
    """As in a container: signals of pid 1 have no default action, and orphans of others are its children."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("needs root and unshare")
    probe = subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "true"], capture_output=True)
    if probe.returncode != 0:
        pytest.skip("namespaces are not allowed here")
    argv = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", *server_command()]
    server = serve("probe:application", "--workers", "2", command=argv)
    server.booted(2)
    assert pid_of(server) > 1
    with open(f"/proc/{server.pid}/task/{server.pid}/children") as children:
        master = int(children.read().split()[0])
    os.kill(master, signal.SIGTERM)
    assert server.wait() == 0
    server.log.wait_end()


# Exits


@pytest.mark.parametrize("app, shows", [
    ("no_such_module:application", ["no_such_module"]),
    ("broken.missing_import:application", ["ModuleNotFoundError", "no_such_module_anywhere"]),
    ("broken.syntax_error:application", ["SyntaxError", "syntax_error.py"]),
    ("broken.raising:application", ["RuntimeError", "this import fails on purpose"]),
    ("forms:no_such_name", ["no_such_name", "forms"]),
    ("forms:not_callable", ["callable"]),
    ("forms:returns_nothing()", ["returns_nothing"]),
    ("forms:raises()", ["LookupError", "the factory's own failure"]),
    ("forms:factory(1 + x)", ["factory(1 + x)"]),
    ("forms:factory(", ["factory("]),
])
def test_an_application_that_cannot_be_loaded_is_exit_4(serve, app, shows):
    server = serve(app, "--workers", "2", listens=False)
    assert server.wait() == 4
    log = server.log.wait_end()
    for text in shows:
        assert text in log


@pytest.mark.parametrize("app", ["no_such_module:application", "broken.raising:application"])
def test_the_log_says_what_to_check(serve, app, tmp_path):
    server = serve(app, listens=False)
    assert server.wait() == 4
    log = server.log.wait_end()
    assert "Traceback" in log
    hint = [line for line in log.splitlines() if "sys.path" in line]
    assert hint and any("apps" in line for line in hint), f"no hint with the directory:\n{log}"
    assert all(". Check the name" in line for line in hint), "two sentences run into one"


def test_a_worker_that_dies_while_booting_is_exit_3(serve):
    server = serve("broken.exiting:application", listens=False)
    assert server.wait() == 3
    assert "9" in server.log.wait_end()


def test_no_application_named(serve):
    server = serve(None, listens=False)
    assert server.wait() in (1, 2)
    assert "application" in server.log.wait_end().lower()


def test_an_address_in_use_is_exit_1(serve):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        server = serve("probe:application", bind=[address], listens=False)
        assert server.wait() == 1
        assert address in server.log.wait_end().replace("('127.0.0.1', ", "127.0.0.1:")


def test_readme_command(tmp_path):
    """The first command of the README, as it stands there but for the port."""
    argv = [*server_command(), "hello:application", "--chdir", "examples", "--workers", "4", "--bind", "127.0.0.1:0"]
    server = Server(argv, cwd=EXAMPLES.parent, env=clean_environment())
    try:
        server.wait_listening()
        server.booted(4)
        with Wire(server.address) as wire:
            assert wire.get("/").text == "Hello, World!\n"
    finally:
        server.finish()


def test_workers_are_children_of_the_master(serve):
    server = serve("probe:application", "--workers", "4")
    workers = server.booted(4)

    def children():
        with open(f"/proc/{server.pid}/task/{server.pid}/children") as kids:
            return {int(pid) for pid in kids.read().split()}

    eventually(lambda: set(workers) <= children(), "four children")


def test_term_does_not_wait_for_clients_that_say_nothing(serve):
    """A connection opened ahead of need (browsers, balancers) has nothing to lose."""
    # Else the worker would not have it yet, see test_defer_accept.
    server = serve("probe:application", "--graceful-timeout", "25", "--no-defer-accept")
    server.booted(1)
    with Wire(server.address) as silent, Wire(server.address) as other:
        assert other.get("/pid").status == 200
        began = time.monotonic()
        assert server.stop(signal.SIGTERM) == 0
        assert time.monotonic() - began < 12
        silent.expect_end()


def test_a_drain_with_threads_closes_the_door_at_once(serve):
    """Clients that come while a request is still running are refused, not queued for nobody."""
    server = serve("stuck:application", "--threads", "3")
    server.booted(1)
    with Wire(server.address) as wire:
        wire.send("GET /nap?4 HTTP/1.1\r\nHost: test\r\n\r\n")
        eventually(lambda: "S (sleeping)" in Path(f"/proc/{server.booted(1)[0]}/status").read_text(), "a sleeping worker")
        server.kill(signal.SIGTERM)
        server.log.wait("Retiring worker")
        began = time.monotonic()

        def refused():
            try:
                Wire(server.address).close()
            except ConnectionRefusedError:
                return True
            except ConnectionResetError:
                # The door closed as this one came.
                return False

        eventually(refused, "a closed port")
        assert time.monotonic() - began < 3
        assert wire.reply().status == 200
