"""Proxies in front of a server under test: each runs from its own file in deploy/.

Only ports and paths are written anew in those files, and lines that wait there behind a `#` for those
who want them (TLS, mostly) are switched on. All speak one interface: `start(upstream)` returns
when the proxy listens, `wire()` connects to it from an address that is nobody else's, `stop()` ends it.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.server import PATIENCE, ROOT, Output, clean_environment, eventually, needs_program
from support.wire import Wire

DEPLOY = ROOT / "deploy"

#: Where the clients of these tests come from: on this machine, but not trusted as a proxy is.
CLIENT = "127.0.0.7"


class Port:
    """A port of 127.0.0.1 that nobody else gets. Bound but not listening, it can be bound again by
    a program that sets SO_REUSEADDR, as servers do; connecting to it fails until one listens. Whoever
    binds it at all addresses needs it kept at all of them."""

    def __init__(self, at: str = "127.0.0.1"):
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((at, 0))
        self.number = self._socket.getsockname()[1]

    def __str__(self):
        return f"127.0.0.1:{self.number}"

    @property
    def address(self):
        return "127.0.0.1", self.number

    def close(self) -> None:
        self._socket.close()


@dataclass
class Upstream:
    """Where the server under test is: a port of this machine or the path of a unix socket."""

    port: int | None = None
    path: Path | None = None
    #: The port of its status endpoint, for those who ask.
    status: int | None = None

    def __str__(self):
        return f"unix:{self.path}" if self.path else f"127.0.0.1:{self.port}"


def adapted(name: str, *changes: tuple[str, str], uncomment: tuple[str, ...] = ()) -> str:
    """The file in deploy/ with these changes; what is to be changed has to be there, once."""
    text = (DEPLOY / name).read_text()
    for start in uncomment:
        changes = ((f"# {start}", start), *changes)
    for old, new in changes:
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in deploy/{name}"
        text = text.replace(old, new)
    return text


def certificate(directory: Path) -> tuple[Path, Path]:
    """A certificate for "test", and its key."""
    pem, key = directory / "site.pem", directory / "site.key"
    subprocess.run([
        needs_program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-subj", "/CN=test", "-addext", "subjectAltName=DNS:test", "-out", pem, "-keyout", key,
    ], check=True, capture_output=True)
    return pem, key


class Proxy:
    """One proxy. Subclasses write its configuration and say how it is started."""

    program: str
    #: Its status when there is no server behind it.
    unavailable = 503
    #: Whether it keeps connections to the server open.
    keeps = True
    #: Modules that Debian has in packages of their own.
    needs: tuple[str, ...] = ()

    def __init__(self, directory: Path):
        self.executable = needs_program(self.program)
        for file in self.needs:
            if not Path(file).exists():
                pytest.skip(f"{file} is not installed")
        self.directory = directory
        self.port, self.secure = Port(), Port()
        self.pem, self.key = certificate(directory)
        self.process: subprocess.Popen | None = None

    def command(self, upstream: Upstream) -> list:
        """Writes what it reads; what to run, in the foreground."""
        raise NotImplementedError

    def start(self, *upstreams: Upstream) -> tuple[str, int]:
        """Returns its address once it listens there."""
        self.process = subprocess.Popen(
            [self.executable, *map(str, self.command(*upstreams))], cwd=self.directory, env=clean_environment(HOME=str(self.directory)),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        self.log = Output(self.process.stdout)
        eventually(self._is_ready, f"{self.program} listens")
        return self.port.address

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, f"{self.program} ended with {self.process.returncode}:\n{self.log.wait_end()}"
        try:
            self.listens()
        except ConnectionError:
            return False
        return True

    def listens(self) -> None:
        """Raises unless it can be connected to."""
        self.wire().close()
        self.wire(secure=True).close()

    def wire(self, secure: bool = False) -> Wire:
        """A connection of a client's, by TLS if it is to be secure."""
        if not secure:
            return Wire(self.port.address, source=CLIENT)
        return Wire(self.secure.address, source=CLIENT, tls=ssl.create_default_context(cafile=self.pem))

    def stop(self) -> None:
        """Ends it and whatever it started, however the test went."""
        try:
            if self.process is not None:
                self.process.send_signal(signal.SIGTERM)
                self.process.wait(PATIENCE)
        finally:
            self.destroy()

    def destroy(self) -> None:
        if self.process is not None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()
        self.port.close()
        self.secure.close()

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.write_text(text)
        return path


class Nginx(Proxy):
    program = "nginx"
    unavailable = 502

    def __init__(self, directory: Path, buffering: bool = True):
        super().__init__(directory)
        self.buffering = buffering

    def command(self, upstream: Upstream) -> list:
        conf = self.write("nginx.conf", adapted(
            "nginx.conf", ("unix:/run/rwsgi/app.sock fail", f"{upstream} fail"),
            ("listen 80 ", f"listen {self.port} "), ("listen 443 ", f"listen {self.secure} "),
            ("/etc/ssl/site.pem", str(self.pem)), ("/etc/ssl/site.key", str(self.key)),
            ("alias /srv/files/", f"alias {self.directory}/"), ("proxy_buffering on;", f"proxy_buffering {'on' if self.buffering else 'off'};"),
            ("/tmp/nginx.pid", f"{self.directory}/nginx.pid"),
            uncomment=("listen 443", "ssl_certificate /", "ssl_certificate_key", "location /protected/")))
        return ["-p", self.directory, "-c", conf, "-g", "daemon off;"]


class Apache(Proxy):
    program = "apache2"
    needs = ("/usr/lib/apache2/modules/mod_proxy_http.so",)
    modules = ("mpm_event", "authz_core", "headers", "proxy", "proxy_http", "socache_shmcb", "ssl")

    def command(self, upstream: Upstream) -> list:
        to = f"unix:{upstream.path}|http://localhost/" if upstream.path else f"http://{upstream}/"
        pass_ = ("ProxyPass / http://127.0.0.1:8000/", f'ProxyPass / "{to}"')
        self.write("plain.conf", adapted("apache.conf", pass_, ("<VirtualHost *:80>", f"<VirtualHost {self.port}>")))
        self.write("secure.conf", adapted(
            "apache.conf", pass_, ("<VirtualHost *:80>", f"<VirtualHost {self.secure}>"), ("/etc/ssl/site.pem", str(self.pem)),
            ("/etc/ssl/site.key", str(self.key)), uncomment=("SSLEngine", "SSLCertificateFile", "SSLCertificateKeyFile")))
        # What Debian's own apache2.conf and its enabled modules say.
        return ["-DFOREGROUND", "-f", self.write("apache2.conf", "\n".join([
            f"ServerRoot {self.directory}", "ServerName test", f"PidFile {self.directory}/apache.pid", "ErrorLog /dev/stderr",
            "User www-data", "Group www-data", f"DefaultRuntimeDir {self.directory}", "StartServers 2",
            *(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in self.modules),
            f"Listen {self.port}", f"Listen {self.secure} https", "Include plain.conf", "Include secure.conf", ""]))]


class Lighttpd(Proxy):
    program = "lighttpd"
    keeps = False
    needs = ("/usr/lib/lighttpd/mod_openssl.so",)

    def command(self, upstream: Upstream) -> list:
        host = '"host" => "127.0.0.1", "port" => 8000'
        to = f'"socket" => "{upstream.path}"' if upstream.path else f'"host" => "127.0.0.1", "port" => {upstream.port}'
        conf = adapted("lighttpd.conf", (host, to), ("server.port = 80", f'server.port = {self.port.number}\nserver.bind = "127.0.0.1"'),
                       ("/etc/ssl/site.pem", str(self.pem)), ("/etc/ssl/site.key", str(self.key)), 
                       # Without a file it logs to stderr.
                       ('server.errorlog = "/var/log/lighttpd/error.log"\n', ""), ("0.0.0.0:443", str(self.secure)),
                       uncomment=('server.modules += ("mod_openssl")', "$SERVER", "ssl.pemfile", "ssl.privkey"))
        return ["-D", "-f", self.write("lighttpd.conf", conf)]


#: HAProxy's checks, sooner than an operator wants them.
SOON = ("inter 1s", "inter 100ms")


class Haproxy(Proxy):
    """Takes several servers."""

    program = "haproxy"

    def command(self, *upstreams: Upstream) -> list:
        pem = self.write("both.pem", self.pem.read_text() + self.key.read_text())
        server = "server app1 127.0.0.1:8000 check port 9100"
        servers = "\n    ".join(self._server(number, upstream) for number, upstream in enumerate(upstreams, 1))
        conf = adapted("haproxy.cfg", (server, servers), ("bind :80", f"bind {self.port}"), ("bind :443", f"bind {self.secure}"),
                       ("/etc/haproxy/site.pem", str(pem)), SOON, uncomment=("bind :443",))
        return ["-db", "-f", self.write("haproxy.cfg", conf)]

    @staticmethod
    def _server(number: int, upstream: Upstream) -> str:
        address = f"unix@{upstream.path}" if upstream.path else upstream
        return f"server app{number} {address} check addr 127.0.0.1 port {upstream.status}"


class HaproxyTcp(Proxy):
    """The TCP balancer, which leaves TLS to others."""

    program = "haproxy"

    def __init__(self, directory: Path, version: int):
        super().__init__(directory)
        self.version = version

    def command(self, upstream: Upstream) -> list:
        send = "send-proxy" if self.version == 1 else "send-proxy-v2"
        conf = adapted("haproxy-tcp.cfg", ("bind :80", f"bind {self.port}"), ("127.0.0.1:8000 send-proxy-v2", f"{upstream} {send}"), SOON)
        return ["-db", "-f", self.write("haproxy.cfg", conf)]

    def listens(self) -> None:
        self.wire().close()


class Varnish(Proxy):
    program = "varnishd"

    def command(self, upstream: Upstream) -> list:
        to = f'.path = "{upstream.path}";' if upstream.path else f'.host = "127.0.0.1";\n    .port = "{upstream.port}";'
        conf = self.write("varnish.vcl", adapted("varnish.vcl", ('.host = "127.0.0.1";\n    .port = "8000";', to)))
        return ["-F", "-f", conf, "-a", self.port, "-a", f"{self.secure},PROXY", "-n", self.directory / "varnish", "-j", "none",
                "-s", "malloc,64m"]

    def wire(self, secure: bool = False) -> Wire:
        """What ends TLS in front of it says where the client is, and that it asked port 443."""
        if not secure:
            return super().wire()
        return Wire(self.secure.address).send(f"PROXY TCP4 {CLIENT} 127.0.0.1 4711 443\r\n")


class Caddy(Proxy):
    program = "caddy"
    unavailable = 502

    def command(self, upstream: Upstream) -> list:
        to = f"unix/{upstream.path}" if upstream.path else str(upstream)
        # No certificates from the Internet, no port 80, no administration.
        first = "{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n}\n"
        pass_ = ("unix//run/rwsgi/app.sock", to)
        plain = adapted("Caddyfile", ("example.com {", f"http://:{self.port.number} {{\n\tbind 127.0.0.1"), pass_)
        secure = adapted("Caddyfile", ("example.com {", f"https://:{self.secure.number} {{\n\tbind 127.0.0.1"), pass_,
                         ("/etc/ssl/site.pem", str(self.pem)), ("/etc/ssl/site.key", str(self.key)), uncomment=("tls",))
        return ["run", "--adapter", "caddyfile", "--config", self.write("Caddyfile", first + plain + secure)]
