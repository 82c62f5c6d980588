"""A strict HTTP/1.1 client on a raw socket: what is sent is exactly what the test says, and a
reply that bends RFC 9112 in any way is an error, not something to be lenient about."""

from __future__ import annotations

import re
import socket
import ssl
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


class Malformed(AssertionError):
    """The server sent something that is not HTTP/1.1."""


@dataclass
class Reply:
    version: str
    status: int
    reason: str
    fields: list[tuple[str, str]]
    body: bytes = b""
    #: How the body's end was found: "none", "length", "chunked" or "close" (RFC 9112 section 6.3).
    framing: str = "none"
    interim: list["Reply"] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        return [v for n, v in self.fields if n.lower() == name.lower()]

    def get(self, name: str, default: str | None = None) -> str | None:
        values = self.all(name)
        if len(values) > 1:
            raise Malformed(f"{name} stands {len(values)} times: {values}")
        return values[0] if values else default

    @property
    def text(self) -> str:
        return self.body.decode("utf-8")

    @property
    def closes(self) -> bool:
        """Whether the reply says that the connection ends with it (RFC 9112 section 9.3)."""
        options = {o.strip().lower() for v in self.all("connection") for o in v.split(",")}
        if "close" in options or self.framing == "close":
            return True
        return self.version == "HTTP/1.0" and "keep-alive" not in options


class Wire:
    """One connection to (host, port) or to a unix socket's path; from the address `source`, with TLS
    if there is a context for it."""

    def __init__(self, address, timeout: float = 30.0, *, source: str = "", tls: ssl.SSLContext | None = None):
        if isinstance(address, (str, bytes)):
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.settimeout(timeout)
            self.socket.connect(address)
        else:
            self.socket = socket.create_connection(address, timeout, (source, 0) if source else None)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="test")
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        self.socket.close()

    def send(self, data: bytes | str) -> "Wire":
        self.socket.sendall(data.encode("latin-1") if isinstance(data, str) else data)
        return self

    def half_close(self) -> "Wire":
        self.socket.shutdown(socket.SHUT_WR)
        return self

    def _more(self) -> bool:
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            raise AssertionError(f"nothing more came; so far: {self.buffer[:500]!r}") from None
        self.buffer += data
        return bool(data)

    def _until(self, mark: bytes, what: str) -> bytes:
        while mark not in self.buffer:
            if not self._more():
                raise Malformed(f"the connection ended in {what}: {self.buffer[:500]!r}")
        part, self.buffer = self.buffer.split(mark, 1)
        return part

    def take(self, length: int, what: str = "a body") -> bytes:
        parts, have = [self.buffer], len(self.buffer)
        while have < length:
            data = self.socket.recv(min(1 << 20, max(65536, length - have)))
            if not data:
                raise Malformed(f"the connection ended in {what}: {have} of {length} bytes")
            parts.append(data)
            have += len(data)
        whole = b"".join(parts)
        self.buffer = whole[length:]
        return whole[:length]

    def head(self) -> Reply:
        """The next status line and header section, interim or final."""
        lines = self._until(b"\r\n\r\n", "a head").split(b"\r\n")
        match = re.fullmatch(rb"(HTTP/1\.[01]) ([1-5]\d\d) ([\t\x20-\x7e\x80-\xff]*)", lines[0])
        if not match:
            raise Malformed(f"status line {lines[0]!r}")
        fields = []
        for line in lines[1:]:
            name, colon, value = line.partition(b":")
            if not colon or not TOKEN.fullmatch(name) or re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value):
                raise Malformed(f"field line {line!r}")
            fields.append((name.decode(), value.strip(b" \t").decode("latin-1")))
        return Reply(match[1].decode(), int(match[2]), match[3].decode("latin-1"), fields)

    def reply(self, method: str = "GET") -> Reply:
        """The next final reply, its interim ones attached."""
        interim = []
        while (reply := self.head()).status < 200 and reply.status != 101:
            interim.append(reply)
        reply.interim = interim
        self._read_body(reply, method)
        return reply

    def _read_body(self, reply: Reply, method: str) -> None:
        coding, length = reply.get("transfer-encoding"), reply.get("content-length")
        if coding is not None and length is not None:
            raise Malformed("both Transfer-Encoding and Content-Length")
        if length is not None and not re.fullmatch(r"\d+", length):
            raise Malformed(f"Content-Length {length!r}")
        if reply.status in (204, 304) or reply.status < 200 or method == "HEAD":
            if reply.status < 200 or reply.status == 204:
                if coding is not None or length is not None:
                    raise Malformed(f"a {reply.status} with framing fields (RFC 9112 section 6.1, RFC 9110 section 8.6)")
            return
        if coding is not None:
            if reply.version != "HTTP/1.1" or coding.lower() != "chunked":
                raise Malformed(f"Transfer-Encoding {coding!r} in {reply.version}")
            reply.framing, reply.body = "chunked", b"".join(self._chunks())
        elif length is not None:
            reply.framing, reply.body = "length", self.take(int(length))
        else:
            reply.framing, reply.body = "close", self.rest()

    def _chunks(self):
        while True:
            chunk = self.chunk()
            if not chunk:
                return
            yield chunk

    def chunk(self) -> bytes:
        """The next chunk; empty after the last one and its (absent) trailers."""
        line = self._until(b"\r\n", "a chunk size")
        if not re.fullmatch(rb"[0-9A-Fa-f]+", line):
            raise Malformed(f"chunk size {line!r}")
        data = self.take(int(line, 16), "a chunk")
        if self.take(2, "a chunk's end") != b"\r\n":
            raise Malformed("a chunk does not end with CRLF")
        return data

    def rest(self) -> bytes:
        """Everything until the peer closes."""
        while self._more():
            pass
        data, self.buffer = self.buffer, b""
        return data

    def expect_end(self, patience: float | None = None) -> None:
        """Nothing more comes: the peer closes (a reset counts, it says the same)."""
        if patience is not None:
            self.socket.settimeout(patience)
        try:
            rest = self.rest()
        except ConnectionResetError:
            rest = self.buffer
        if rest:
            raise Malformed(f"after the last reply came {rest[:300]!r}")

    def get(self, path: str, *fields: str, method: str = "GET") -> Reply:
        return self.request(method, path, *fields)

    def request(self, method: str, path: str, *fields: str, body: bytes | None = None) -> Reply:
        lines = [f"{method} {path} HTTP/1.1", "Host: test", *fields]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b""))
        return self.reply(method)


def chunked(*blocks: bytes, trailers: bytes = b"") -> bytes:
    """The chunked coding of these blocks."""
    return b"".join(b"%x\r\n%s\r\n" % (len(b), b) for b in blocks) + b"0\r\n" + trailers + b"\r\n"


def assert_refusal(reply: Reply, *statuses: int) -> None:
    """A refusal is a complete response that ends the connection."""
    assert reply.status in statuses, f"{reply.status} {reply.reason}: {reply.body[:200]!r}"
    assert reply.framing == "length" or reply.get("content-length") == "0", reply.fields
    assert (reply.get("connection") or "").lower() == "close", reply.fields
    assert parsedate_to_datetime(reply.get("date") or "").tzinfo is not None, reply.fields
