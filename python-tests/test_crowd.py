"""Replies that are made in a row leave together; none of them waits for a request that is held up."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import termios
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from support.server import eventually
from support.tls import Authority
from support.wire import Wire


def let_go(fifo) -> None:
    """Lets whoever waits for the FIFO go on."""

    def attempt():
        try:
            os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
            return True
        except OSError:
            return False

    eventually(attempt, f"a reader of {fifo}")


def threads_of(pid: int) -> list[str]:
    return [task.read_text().strip() for task in Path(f"/proc/{pid}/task").glob("*/comm")]


def request(path: str, *fields: str) -> str:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: test", *fields, "\r\n"])


def ask(wire: Wire, path: str) -> None:
    wire.send(request(path))


def count_of(wire: Wire, what: int) -> int:
    """What the kernel says of a unix socket: bytes not read here (FIONREAD), or there (TIOCOUTQ)."""
    return struct.unpack("i", fcntl.ioctl(wire.socket, what, bytes(4)))[0]


#: A reply that nobody sees to comes after ten seconds, or with the keep-alive timeout, or never.
SOON = 8


class Crowd:
    """Connections whose requests wait for the worker all at once, in the order they were sent."""

    def __init__(self, server, directory: Path, stack: ExitStack, size: int, gates: int, tls=None):
        self.server, self.directory = server, directory
        self.keepers = [stack.enter_context(Wire(server.address, tls=tls)) for _ in range(gates)]
        self.wires = [stack.enter_context(Wire(server.address, tls=tls)) for _ in range(size)]
        self.gates = 0
        for wire in self.wires:
            wire.socket.settimeout(SOON)
        for wire in [*self.keepers, *self.wires]:
            assert wire.get("/warm-up").status == 200

    def fifo(self) -> Path:
        self.gates += 1
        fifo = self.directory / f"gate-{self.gates}"
        os.mkfifo(fifo)
        return fifo

    @contextmanager
    def busy(self):
        """The worker can take no request meanwhile."""
        gates = [(wire, self.fifo()) for wire in self.keepers]
        said = len(self.server.log.find("crowd: at the gate"))
        for wire, fifo in gates:
            ask(wire, f"/gate?fifo={fifo}")
        self.server.log.wait("crowd: at the gate", said + len(gates))
        yield
        for wire, fifo in gates:
            let_go(fifo)
        for wire, _ in gates:
            assert wire.reply().status == 200

    def come(self, paths: list[str]) -> None:
        """Sends a request on each connection while the worker can take none of them."""
        with self.busy():
            for wire, path in zip(self.wires, paths, strict=True):
                ask(wire, path)

    def called(self, worker: int) -> None:
        """Comes until replies are held."""

        def attempt():
            self.come(["/work"] * len(self.wires))
            assert [wire.reply().text for wire in self.wires] == ["/work"] * len(self.wires)
            return "rwsgi-keeper" in threads_of(worker)

        eventually(attempt, "replies that are held")


@contextmanager
def crowd(serve, tmp_path, size: int, *args: str, threads: int = 1, **more):
    server = serve("crowd:application", "--threads", str(threads), *args, **more)
    [worker] = server.booted()
    with ExitStack() as stack:
        it = Crowd(server, tmp_path, stack, size, threads)
        it.called(worker)
        yield it


@pytest.mark.parametrize("threads", [1, 4])
def test_a_request_that_is_held_up_holds_up_no_reply(serve, tmp_path, threads):
    with crowd(serve, tmp_path, 14, threads=threads) as it:
        fifos = [it.fifo() for _ in range(threads)]
        gates = [f"/gate?fifo={fifo}" for fifo in fifos]
        paths = ["/work", "/iterable"] * ((14 - threads) // 2) + ["/work"] * (threads % 2)
        it.come([*paths, *gates][:14])
        for wire, path in zip(it.wires, paths):
            assert wire.reply().text == path
        for fifo in fifos:
            let_go(fifo)
        for wire in it.wires[len(paths):]:
            assert wire.reply().text == "/gate"


def test_a_close_that_is_held_up_holds_up_no_reply(serve, tmp_path):
    with crowd(serve, tmp_path, 8) as it:
        fifo = it.fifo()
        it.come(["/work", "/iterable", "/work", f"/iterable?fifo={fifo}", *["/work"] * 4])
        said = [wire.reply().text for wire in it.wires[:4]]
        assert said == ["/work", "/iterable", "/work", "/iterable"]
        let_go(fifo)
        assert [wire.reply().text for wire in it.wires[4:]] == ["/work"] * 4


@pytest.mark.parametrize("before", ["", "?sleep=0.3"], ids=["slow itself", "behind a slow one"])
def test_a_close_holds_up_no_reply_that_nobody_looks_after_any_more(serve, tmp_path, before):
    """Whoever looks stops when the application takes long: what is said after that has to leave at once."""
    with crowd(serve, tmp_path, 6) as it:
        fifo = it.fifo()
        late = f"/iterable?fifo={fifo}" + ("" if before else "&sleep=0.3")
        with it.busy():
            for number, wire in enumerate(it.wires):
                wire.send((request(f"/work{before}") if before else "") + request(late) if number == 2 else request("/work"))
        if before:
            assert it.wires[2].reply().text == "/work"
        assert it.wires[2].reply().text == "/iterable"
        let_go(fifo)
        assert [wire.reply().text for wire in it.wires if wire is not it.wires[2]] == ["/work"] * 5


def test_a_next_request_holds_up_no_reply_that_was_to_leave_behind_the_one_before(serve, tmp_path):
    """Two connections go on to requests that hold up both threads; a third one polls, and nothing wakes it."""
    socket = f"unix:{tmp_path}/socket"
    with crowd(serve, tmp_path, 10, "--keep-alive", "60", threads=2, bind=[socket]) as it:
        said = len(it.server.log.find("crowd: at the gate"))
        first, then = [it.fifo() for _ in range(2)], [it.fifo() for _ in range(2)]
        # So long that no timer of a connection just served is left. Those that are served now close.
        for wire, fifo in zip(it.keepers, first):
            wire.send(request(f"/gate?sleep=0.7&fifo={fifo}", "Connection: close"))
        it.server.log.wait("crowd: at the gate", said + 2)
        for number, wire in enumerate(it.wires):
            # The last one takes so long that it is not held, while the other thread lets those before it go.
            path = f"/work?note={number}" + ("&sleep=0.002" if number == 9 else "")
            wire.send(request(path, *[] if number in (2, 3) else ["Connection: close"]))
            eventually(lambda: count_of(wire, termios.TIOCOUTQ) == 0, "a request that waits for a thread")
        for wire, fifo in zip(it.wires[2:4], then):
            ask(wire, f"/gate?fifo={fifo}")
        for fifo in first:
            let_go(fifo)
        # What was made by then is not the gates' business. (On a slow machine nothing is held.)
        made = [int(number) for number in it.server.log.wait("crowd: at the gate(.*)", said + 4)[1].split()]
        # The last ones first: reading a reply of a connection that lives on wakes whoever polls.
        assert [it.wires[number].reply().text for number in reversed(made)] == ["/work"] * len(made)
        for fifo in then:
            let_go(fifo)
        rest = [wire.reply().text for number, wire in enumerate(it.wires) if number not in made]
        assert rest == ["/work"] * len(rest)
        assert [wire.reply().text for wire in it.wires[2:4]] == ["/gate"] * 2


def test_a_client_that_takes_no_reply_is_waited_for_as_long_as_any_other(serve, tmp_path):
    path = tmp_path / "socket"
    with crowd(serve, tmp_path, 4, "--write-timeout", "1", bind=[f"unix:{path}"]) as it:
        deaf, full = it.wires[0], False
        while not full:
            unread, gate = count_of(deaf, termios.FIONREAD), it.fifo()
            it.come([f"/work?times={3000}", "/work", "/work", f"/gate?fifo={gate}"])
            # They leave in the order in which they were made.
            assert [wire.reply().text for wire in it.wires[1:3]] == ["/work"] * 2
            full = count_of(deaf, termios.FIONREAD) == unread
            let_go(gate)
            assert it.wires[3].reply().text == "/gate"
        poll = select.poll()
        poll.register(deaf.socket, 0)
        assert poll.poll(1000 * SOON) == [(deaf.socket.fileno(), select.POLLHUP)]


def test_hooks_after_a_request_find_its_reply_gone(serve, tmp_path):
    conf = tmp_path / "gunicorn.conf.py"
    conf.write_text("import os, signal\n"
                    "def post_request(worker, req, environ, resp):\n"
                    "    if environ['QUERY_STRING'] == 'end':\n"
                    "        os.kill(os.getpid(), signal.SIGKILL)\n")
    with crowd(serve, tmp_path, 4, "-c", str(conf)) as it:
        it.come(["/work", "/work", "/iterable?end", "/work"])
        assert it.wires[2].reply().text == "/iterable"
        it.server.booted(2)


def test_a_reply_that_is_held_leaves_though_its_connection_cannot_be_watched(serve, tmp_path):
    with crowd(serve, tmp_path, 6) as it, ExitStack() as stack:
        new = []
        assert it.wires[0].get("/break-registry").status == 200
        with it.busy():
            for number, wire in enumerate(it.wires):
                ask(wire, "/work")
                if number == 2:
                    new = [stack.enter_context(Wire(it.server.address)) for _ in range(4)]
                    for wire in new:
                        ask(wire, "/work?say=new")
        assert [wire.reply().text for wire in it.wires] == ["/work"] * 6
        assert [wire.reply().text for wire in new] == ["new"] * 4
        it.server.log.wait("Cannot wait on a connection", len(new))


def test_each_connection_gets_its_own_replies_in_order(serve, tmp_path):
    log = tmp_path / "access.log"
    with crowd(serve, tmp_path, 8, "--access-logfile", str(log), "--access-logformat", "%(U)s %(q)s") as it:
        for turn in range(20):
            paths = [f"/work?say={turn}-{number}.&times={1 + 997 * number}" for number in range(8)]
            paths[1] = paths[1].replace("/work", "/iterable")
            follow = [f"/iterable?say={turn}+{number}" for number in range(8)]
            both = [f"{path} HTTP/1.1\r\nHost: test\r\n\r\nGET {next}" for path, next in zip(paths, follow)]
            it.come(both)
            for number, wire in enumerate(it.wires):
                assert wire.reply().text == f"{turn}-{number}." * (1 + 997 * number)
                assert wire.reply().text == f"{turn} {number}"
    lines = eventually(lambda: (found := log.read_text().splitlines()) and sum("say=" in line for line in found) == 320
                       and found, "a line for each request")
    said = [line for line in lines if "say=" in line]
    assert len(set(said)) == len(said)


def test_a_client_that_leaves_costs_nobody_else_a_reply(serve, tmp_path):
    with crowd(serve, tmp_path, 8) as it:
        gate = it.fifo()
        it.come([f"/gate?fifo={gate}", *["/work"] * 7])
        for wire in it.wires[1:7:2]:
            wire.close()
        let_go(gate)
        assert it.wires[0].reply().text == "/gate"
        for wire in it.wires[2:8:2]:
            assert wire.reply().text == "/work"
        with Wire(it.server.address) as wire:
            assert wire.get("/after").text == "/after"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
def test_a_stop_finds_no_reply_that_is_held(serve, tmp_path, number):
    with crowd(serve, tmp_path, 8) as it:
        gate = it.fifo()
        it.come([*["/work", "/iterable"] * 3, f"/gate?fifo={gate}", "/work"])
        it.server.log.wait("crowd: at the gate", it.gates)
        it.server.kill(number)
        it.server.log.wait("(?i)handling signal")
        let_go(gate)
        assert [wire.reply().text for wire in it.wires[:6]] == ["/work", "/iterable"] * 3
        if number == signal.SIGTERM:
            assert [wire.reply().text for wire in it.wires[6:]] == ["/gate", "/work"]
    assert it.server.wait() == 0


def test_who_looks_after_held_replies_goes_when_none_are(serve, tmp_path):
    with crowd(serve, tmp_path, 8, "--keep-alive", "60") as it:
        [worker] = it.server.booted()
        eventually(lambda: "rwsgi-keeper" not in threads_of(worker), "the keeper's end")
        it.called(worker)


def test_what_is_encrypted_is_not_held(serve, tmp_path):
    """Nobody could encrypt it while a request holds the interpreter. A twin that encrypts nothing is given
    the same until its replies are held."""
    authority = Authority(tmp_path)
    sides = []
    with ExitStack() as stack:
        for tls in (None, authority):
            server = serve("crowd:application", *tls.issue("site").flags if tls else [])
            directory = tmp_path / ("secure" if tls else "plain")
            directory.mkdir()
            sides.append(Crowd(server, directory, stack, 8, 1, tls and tls.client()))
        [plain], [secure] = (side.server.booted() for side in sides)

        def both():
            for side in sides:
                side.come(["/work", "/iterable"] * 4)
                assert [wire.reply().text for wire in side.wires] == ["/work", "/iterable"] * 4
            return "rwsgi-keeper" in threads_of(plain)

        eventually(both, "replies of the twin that are held")
        for _ in range(10):
            both()
        assert "rwsgi-keeper" not in threads_of(secure)
