"""Certificates made for a test, and clients that believe them."""

from __future__ import annotations

import socket
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from support.server import needs_program
from support.wire import Wire


def openssl(*args) -> str:
    done = subprocess.run([needs_program("openssl"), *map(str, args)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass
class Certificate:
    pem: Path
    key: Path

    @property
    def flags(self) -> list[str]:
        """Those that have a server use it."""
        return ["--certfile", str(self.pem), "--keyfile", str(self.key)]


class Authority:
    """A certificate authority of the test's own."""

    def __init__(self, directory: Path, name: str = "authority"):
        self.directory = directory
        self.pem, self.key = directory / f"{name}.pem", directory / f"{name}.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", 2,
                "-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-out", self.pem, "-keyout", self.key)

    def issue(self, name: str, common_name: str = "test", kind: str = "ec") -> Certificate:
        """A certificate for `common_name`, with which 127.0.0.1 may be called, too."""
        pem, key, request = (self.directory / f"{name}.{end}" for end in ("pem", "key", "csr"))
        algorithm = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"] if kind == "ec" else ["-newkey", "rsa:2048"]
        openssl("req", *algorithm, "-nodes", "-subj", f"/CN={common_name}", "-out", request, "-keyout", key)
        extensions = self.directory / f"{name}.ext"
        # What Python 3.13 wants to see, and many others.
        extensions.write_text(
            f"subjectAltName=DNS:{common_name},DNS:localhost,IP:127.0.0.1\n"
            "basicConstraints=CA:FALSE\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
            "keyUsage=critical,digitalSignature\n")
        openssl("x509", "-req", "-in", request, "-CA", self.pem, "-CAkey", self.key, "-CAcreateserial", "-days", 2,
                "-extfile", extensions, "-out", pem)
        return Certificate(pem, key)

    def client(self, version: ssl.TLSVersion | None = None, shows: Certificate | None = None) -> ssl.SSLContext:
        """What a client needs to believe this authority; with this version of TLS only, and this certificate."""
        context = ssl.create_default_context(cafile=self.pem)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        if shows is not None:
            context.load_cert_chain(shows.pem, shows.key)
        return context


def name_of(wire: Wire) -> str:
    """The common name of the certificate the server has shown."""
    return dict(pair for (pair,) in wire.socket.getpeercert()["subject"])["commonName"]


class Slowly:
    """A client over memory, so that each byte of the TLS connection is the test's to send."""

    def __init__(self, address, context: ssl.SSLContext, before: bytes = b""):
        self.socket = socket.create_connection(address, 30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(before)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="test")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def hello(self) -> bytes:
        """The ClientHello, not sent."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return self.outgoing.read()
        raise AssertionError("a handshake needs an answer")

    def send(self, step: int = 1) -> None:
        """What waits, in pieces of `step` bytes."""
        data = self.outgoing.read()
        for start in range(0, len(data), step):
            self.socket.sendall(data[start : start + step])

    def until(self, what, step: int = 1):
        """Calls `what`, moving bytes, until it needs nothing more."""
        while True:
            try:
                result = what()
                self.send(step)
                return result
            except ssl.SSLWantReadError:
                self.send(step)
                data = self.socket.recv(65536)
                if data:
                    self.incoming.write(data)
                else:
                    self.incoming.write_eof()
