"""Behind real proxies, each run from its file in deploy/: the same two sites, seen through each.

The server is set as docs/deploy/proxies.md says. Clients come from an address of their own that is
not trusted, and claim to be somebody else.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import signal
import socket
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.proxies import CLIENT, Apache, Caddy, Haproxy, HaproxyTcp, Lighttpd, Nginx, Port, Proxy, Upstream, Varnish
from support.server import PATIENCE, ROOT, eventually
from support.status import ask, figure, status_address
from support.wire import Wire, chunked

SITES = {"flask": "behind.flask_site:app", "django": "behind.django_site:app"}
PROXIES = {
    "nginx": Nginx, "nginx-unbuffered": lambda directory: Nginx(directory, buffering=False), "apache": Apache, "lighttpd": Lighttpd,
    "haproxy": Haproxy, "varnish": Varnish, "caddy": Caddy,
}
CLAIMS = ("X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.example", "Forwarded: for=192.0.2.2;proto=https")
ASSET = random.Random(7).randbytes(100_000)
UPLOAD = random.Random(8).randbytes(20_000_000)


def documented_settings(about: str = "forwarded_for") -> str:
    """The rwsgi.toml on the page about proxies that sets this."""
    blocks = re.findall(r"^```toml\n(.*?)^```", (ROOT / "docs/deploy/proxies.md").read_text(), re.M | re.S)
    [block] = [block for block in blocks if re.search(f"^{about} =", block, re.M)]
    return block


class Gate:
    """Where the application stops until the test lets it go on."""

    def __init__(self, directory: Path):
        self._path = directory / "gate"
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(self._path))
        self._socket.listen()
        self._socket.settimeout(PATIENCE)

    def reached(self) -> socket.socket:
        """Returns when the application is there; closing what is returned lets it go on."""
        return self._socket.accept()[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()
        self._path.unlink()


@pytest.fixture(scope="module")
def directory():
    """One that servers and proxies get at after they have given up root."""
    with tempfile.TemporaryDirectory(prefix="rwsgi-") as name:
        path = Path(name)
        path.chmod(0o755)
        (path / "files").mkdir()
        (path / "files/asset.bin").write_bytes(ASSET)
        (path / "rwsgi.toml").write_text(documented_settings())
        yield path


def start_site(serve, directory: Path, site: str, *args: str, bind, settings: str = "rwsgi.toml"):
    """Returns once it would be sent requests to."""
    server = serve(SITES[site], "-c", directory / settings, "--threads", "4", *args, bind=bind,
                   env={"SITE_FILES": f"{directory}/files", "SITE_GATE": f"{directory}/gate"})
    eventually(lambda: ask(server, "/readyz").status == 200, "a worker serves")
    return server


@pytest.fixture(scope="module")
def sites(serve_module, directory):
    """Starts each site once, at a port and at a unix socket."""
    servers = {}

    def site(name: str):
        if name not in servers:
            servers[name] = start_site(serve_module, directory, name, "--status-bind", "127.0.0.1:0",
                                       bind=("127.0.0.1:0", f"unix:{directory}/{name}.sock"))
        return servers[name]

    return site


@pytest.fixture
def fronts():
    """Starts proxies that end with the test."""
    with Fronts() as fronts:
        yield fronts


class Fronts:
    def __init__(self):
        self._running: list[tuple[Proxy, tempfile.TemporaryDirectory]] = []

    def __call__(self, make, *upstreams: Upstream) -> Proxy:
        directory = tempfile.TemporaryDirectory(prefix="rwsgi-front-")
        Path(directory.name).chmod(0o755)
        (Path(directory.name) / "asset.bin").write_bytes(ASSET)
        try:
            proxy = make(Path(directory.name))
        except BaseException:
            directory.cleanup()
            raise
        self._running.append((proxy, directory))
        proxy.start(*upstreams)
        return proxy

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for proxy, directory in self._running:
            with directory:
                proxy.stop()


@dataclass
class Front:
    """A proxy with a site behind it."""

    kind: str
    proxy: Proxy
    server: object
    gates: Path

    def wire(self, secure: bool = False) -> Wire:
        return self.proxy.wire(secure)

    def get(self, path: str, *fields: str, method: str = "GET", secure: bool = False):
        with self.wire(secure) as wire:
            return wire.get(path, *fields, method=method)


def combinations():
    for kind in PROXIES:
        for transport in ("tcp", "unix"):
            for site in SITES:
                name = f"{kind}-{transport}-{site}"
                yield pytest.param((kind, transport, site), id=name, marks=pytest.mark.xdist_group(name))


@pytest.fixture(scope="module", params=combinations())
def front(request, sites, directory):
    kind, transport, site = request.param
    server = sites(site)
    status = status_address(server)[1]
    upstream = Upstream(port=server.port, status=status)
    if transport == "unix":
        upstream = Upstream(path=directory / f"{site}.sock", status=status)
    with Fronts() as fronts:
        yield Front(kind, fronts(PROXIES[kind], upstream), server, directory)


# What the application sees


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_the_client_and_the_scheme_are_known(front, secure):
    reply = front.get("/seen?q=1", *CLAIMS, secure=secure)
    assert reply.status == 200
    seen = json.loads(reply.body)
    scheme = "https" if secure else "http"
    assert (seen["client"], seen["secure"], seen["url"]) == (CLIENT, secure, f"{scheme}://test/seen?q=1")
    environ = seen["environ"]
    assert environ["REMOTE_ADDR"] == CLIENT and environ["wsgi.url_scheme"] == scheme
    assert "REMOTE_PORT" not in environ, "it would be the proxy's"
    # What the client wrote there is gone.
    assert environ["HTTP_X_FORWARDED_FOR"] == CLIENT and environ["HTTP_X_FORWARDED_PROTO"] == scheme


def test_paths_arrive_as_they_were_sent(front):
    assert json.loads(front.get("/path/a%20b/%C3%A9%E2%98%83/c%2Fd").body) == {"path": "a b/\u00e9\u2603/c/d"}


@pytest.mark.parametrize("coding", ["length", "chunked"])
def test_uploads(front, coding):
    data = UPLOAD if coding == "length" else UPLOAD[:5_000_000]
    with front.wire() as wire:
        if coding == "length":
            reply = wire.request("PUT", "/raw", "Content-Type: application/octet-stream", body=data)
        else:
            body = chunked(*(data[at:at + 100_000] for at in range(0, len(data), 100_000)))
            wire.send(b"PUT /raw HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
            reply = wire.reply()
    assert json.loads(reply.body) == {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


# What the client sees


def test_blocks_arrive_while_more_are_made(front):
    # nginx collects replies, unless it is told otherwise, once and for all or by the reply.
    path = "/paced?unbuffered" if front.kind == "nginx" else "/paced"
    with Gate(front.gates) as gate, front.wire() as wire:
        reply = wire.send(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").head()
        assert reply.status == 200 and reply.get("transfer-encoding") == "chunked"
        for number in range(3):
            block = b"block %d\n" % number
            got = b""
            while len(got) < len(block):
                got += wire.chunk()
            assert got == block
            gate.reached().close()
        assert wire.chunk() == b""


def test_conditional_requests(front):
    whole = front.get("/asset.bin")
    assert whole.status == 200 and whole.body == ASSET
    for condition in (f"If-None-Match: {whole.get('etag')}", f"If-Modified-Since: {whole.get('last-modified')}"):
        reply = front.get("/asset.bin", condition)
        assert (reply.status, reply.body) == (304, b"")
    assert front.get("/asset.bin", 'If-None-Match: "another"').status == 200


def test_ranges(front):
    reply = front.get("/asset.bin", "Range: bytes=1000-1999")
    assert (reply.status, reply.get("content-range")) == (206, f"bytes 1000-1999/{len(ASSET)}")
    assert reply.body == ASSET[1000:2000]
    assert front.get("/asset.bin", "Range: bytes=-10").body == ASSET[-10:]
    assert front.get("/asset.bin", "Range: bytes=900000-").status == 416


def test_head(front):
    with front.wire() as wire:
        reply = wire.get("/asset.bin", method="HEAD")
        assert (reply.status, reply.body, reply.get("content-length")) == (200, b"", str(len(ASSET)))
        # Had there been a body, it would be taken for this reply.
        assert wire.get("/").text.startswith("Hello from ")


def test_errors_of_the_application(front):
    assert front.get("/not-there").status == 404
    before = len(front.server.log.find("a view's own failure"))
    assert front.get("/error").status == 500
    front.server.log.wait("a view's own failure", before + 1)
    assert front.get("/").status == 200


def test_connections_to_the_server_are_kept(front):
    accepted = lambda: figure(front.server, "rwsgi_connections_accepted_total")  # noqa: E731
    before = accepted()
    with front.wire() as wire:
        for _ in range(20):
            assert wire.get("/form").status == 200
    # A health check, or another process of the proxy, may add one.
    assert accepted() - before == 20 if not front.proxy.keeps else accepted() - before <= 3


# nginx


@pytest.mark.parametrize("transport", ["tcp", "unix"])
def test_nginx_takes_a_reply_from_the_application_before_the_client_does(sites, directory, fronts, transport):
    """With proxy_buffering on: a slow client holds up nobody but nginx."""
    server = sites("flask")
    proxy = fronts(Nginx, Upstream(port=server.port) if transport == "tcp" else Upstream(path=directory / "flask.sock"))
    with Gate(directory) as gate, proxy.wire() as wire:
        wire.send("GET /large HTTP/1.1\r\nHost: test\r\n\r\n")
        gate.reached().close()
        reply = wire.reply()
    assert hashlib.sha256(reply.body).digest() == hashlib.sha256(b"x" * 160 * 65536).digest()


@pytest.mark.parametrize("site", SITES)
def test_nginx_sends_the_file_a_reply_names(sites, fronts, site):
    server = sites(site)
    with Wire(server.address) as wire:
        assert wire.get("/elsewhere").get("x-accel-redirect") == "/protected/asset.bin"
    proxy = fronts(Nginx, Upstream(port=server.port))
    with proxy.wire() as wire:
        reply = wire.get("/elsewhere")
        assert (reply.status, reply.body, reply.get("x-accel-redirect")) == (200, ASSET, None)
        assert wire.get("/protected/asset.bin").status == 404, "only by way of the application"


# Varnish


def test_varnish_keeps_what_may_be_kept_and_nothing_else(sites, fronts):
    proxy = fronts(Varnish, Upstream(port=sites("django").port))
    with proxy.wire() as wire:
        # A reply from the cache names two requests: its own and the one that fetched it.
        from_cache = lambda path: len(wire.get(path).get("x-varnish").split()) == 2  # noqa: E731
        assert [from_cache("/") for _ in range(3)] == [False] * 3
        assert [from_cache("/not-there") for _ in range(3)] == [False] * 3
        assert [from_cache("/asset.bin") for _ in range(3)] == [False, True, True], "it has a max-age"


# HAProxy


@pytest.mark.parametrize("version", [1, 2])
def test_haproxy_says_who_the_client_is_by_the_proxy_protocol(serve, fronts, directory, version):
    (directory / "balanced.toml").write_text(documented_settings("proxy_protocol").replace('"v2"', f'"v{version}"'))
    server = start_site(serve, directory, "flask", "--access-logfile", "-", "--status-bind", "127.0.0.1:0", bind=["127.0.0.1:0"],
                        settings="balanced.toml")
    proxy = fronts(lambda directory: HaproxyTcp(directory, version), Upstream(port=server.port))
    with proxy.wire() as wire:
        port = wire.socket.getsockname()[1]
        for _ in range(3):
            seen = json.loads(wire.get("/seen", *CLAIMS).body)
            environ = seen["environ"]
            assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"], environ["PROXY_PROTOCOL"]) == (CLIENT, str(port), "TCP4")
            assert (environ["PROXY_ADDR"], environ["PROXY_PORT"]) == ("127.0.0.1", str(proxy.port.number))
            assert seen["url"] == "http://test/seen", "nobody but the client says anything else"
        reply = wire.request("PUT", "/raw", body=UPLOAD)
        assert json.loads(reply.body)["sha256"] == hashlib.sha256(UPLOAD).hexdigest()
    # The check's own requests are answered, too.
    server.out.wait('"GET / HTTP/1.1" 200', count=3)
    assert not proxy.log.find("is DOWN")


def test_haproxy_leaves_a_server_that_stops_before_it_is_gone(serve, fronts, directory):
    """/readyz says no while what is running is finished; nobody is sent there any more."""
    ports, checks = [Port(), Port()], [Port(), Port()]
    begin = lambda at: start_site(serve, directory, "flask", "--status-bind", checks[at], bind=[ports[at]])  # noqa: E731
    leaving, staying = begin(0), begin(1)
    proxy = fronts(Haproxy, *(Upstream(port=port.number, status=check.number) for port, check in zip(ports, checks)))
    visitors = []
    try:
        for server in (leaving, staying):
            eventually(lambda: answers(proxy, server), "each of them answers")
        visitors = [Visitor(proxy, method, keep) for method in ("GET", "PUT") for keep in (True, False)]
        with Gate(directory) as gate, Wire(leaving.address) as wire:
            wire.send("GET /wait HTTP/1.1\r\nHost: test\r\n\r\n")
            with gate.reached():
                leaving.kill(signal.SIGTERM)
                proxy.log.wait("Server app/app1 is DOWN.*503")
                assert leaving.returncode is None, "it was told to go while it was there"
                count = {visitor: len(visitor.workers) for visitor in visitors}
                eventually(lambda: all(len(visitor.workers) >= count[visitor] + 5 for visitor in visitors), "the other one answers")
            assert wire.reply().text == "waited"
        assert leaving.wait() == 0
        back = begin(0)
        proxy.log.wait("Server app/app1 is UP")
        eventually(lambda: answers(proxy, back), "it is asked again")
    finally:
        end(visitors)
        for port in (*ports, *checks):
            port.close()


def answers(proxy: Proxy, server) -> bool:
    with proxy.wire() as wire:
        return int(wire.get("/").get("x-worker")) in server.booted()


# The server comes and goes

LIFE = [pytest.param(kind, transport, site, id=f"{kind}-{transport}-{site}")
        for kind in PROXIES if kind != "nginx-unbuffered" for transport, site in (("tcp", "flask"), ("unix", "django"))]


@pytest.fixture
def place(directory):
    """An address that a server can leave and come back to."""
    port = Port()
    path = directory / f"{port.number}.sock"
    yield {"tcp": (str(port), Upstream(port=port.number)), "unix": (f"unix:{path}", Upstream(path=path))}
    port.close()


def status_of(proxy: Proxy) -> int:
    with proxy.wire() as wire:
        return wire.get("/").status


@pytest.mark.parametrize("kind, transport, site", LIFE)
def test_a_server_that_is_away_and_comes_back(serve, fronts, directory, place, kind, transport, site):
    bind, upstream = place[transport]
    status = Port()
    upstream.status = status.number
    begin = lambda: start_site(serve, directory, site, "--status-bind", status, bind=(bind,))  # noqa: E731
    server = begin()
    proxy = fronts(PROXIES[kind], upstream)
    assert status_of(proxy) == 200
    assert server.stop(signal.SIGQUIT) == 0
    assert status_of(proxy) == proxy.unavailable
    begin()
    eventually(lambda: status_of(proxy) == 200, "a reply after the server is back")
    status.close()


class Visitor(threading.Thread):
    """Asks again and again, until told to end; notes each failure and which worker answered."""

    def __init__(self, proxy: Proxy, method: str, keep: bool):
        super().__init__(name=f"{method}, {'one connection' if keep else 'many'}", daemon=True)
        self.proxy, self.method, self.keep = proxy, method, keep
        self.over = threading.Event()
        self.workers: list[str] = []
        self.failures: list[str] = []
        self.start()

    def run(self):
        wire = None
        while not self.over.is_set():
            try:
                wire = wire or self.proxy.wire()
                closes = self._once(wire)
            except (AssertionError, OSError) as failure:
                self.failures.append(f"{self.name}, after {len(self.workers)} replies: {failure!r}"[:500])
                closes = True
            if closes or not self.keep:
                wire.close()
                wire = None
            # Four of them keep the proxy busy, not the machine.
            self.over.wait(0.01)
        if wire:
            wire.close()

    def _once(self, wire: Wire) -> bool:
        if self.method == "GET":
            path = f"/path/{self.ident}/{len(self.workers)}"
            reply = wire.get(path)
            assert reply.status == 200 and json.loads(reply.body) == {"path": path.removeprefix("/path/")}, reply
        else:
            reply = wire.request(self.method, "/raw", body=UPLOAD[:50_000])
            assert reply.status == 200 and json.loads(reply.body)["size"] == 50_000, reply
        self.workers.append(reply.get("x-worker"))
        return reply.closes


def end(visitors: list[Visitor]) -> None:
    """No request of any of them may have failed."""
    for visitor in visitors:
        visitor.over.set()
    for visitor in visitors:
        visitor.join(PATIENCE)
    assert [failure for visitor in visitors for failure in visitor.failures] == []


@pytest.mark.parametrize("kind, transport, site", LIFE)
def test_a_reload_in_the_middle_of_load(serve, fronts, directory, place, kind, transport, site):
    bind, upstream = place[transport]
    server = start_site(serve, directory, site, "--workers", "2", "--status-bind", "127.0.0.1:0", bind=(bind,))
    upstream.status = status_address(server)[1]
    old = {str(pid) for pid in server.booted(2)}
    proxy = fronts(PROXIES[kind], upstream)
    visitors = [Visitor(proxy, method, keep) for method in ("GET", "PUT") for keep in (True, False)]
    try:
        eventually(lambda: all(len(visitor.workers) >= 10 for visitor in visitors), "everybody was answered")
        server.kill(signal.SIGHUP)
        server.log.wait("Reload complete")
        for pid in old:
            server.log.wait(rf"Worker exiting \(pid: {pid}\)")
        count = {visitor: len(visitor.workers) for visitor in visitors}
        eventually(lambda: all(len(visitor.workers) >= count[visitor] + 10 for visitor in visitors), "everybody was answered anew")
    finally:
        end(visitors)
    assert all(not old.intersection(visitor.workers[-5:]) for visitor in visitors)
