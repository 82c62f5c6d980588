"""What an application sees and does on connections that are secured, and on those that are not."""

import hashlib
import json
import os
import ssl
import sys
import time


def application(environ, start_response):
    return VIEWS.get(environ["PATH_INFO"], seen)(environ, start_response)


def answer(start_response, value):
    body = json.dumps(value).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def seen(environ, start_response):
    """The request, with the sum of its body."""
    body = environ["wsgi.input"].read()
    print(f"{environ['PATH_INFO']} with {len(body)} bytes", file=sys.stderr, flush=True)
    return answer(start_response, {
        "scheme": environ["wsgi.url_scheme"], "port": environ["SERVER_PORT"], "addr": environ.get("REMOTE_ADDR"),
        "sum": hashlib.sha256(body).hexdigest(), "length": len(body), "pid": os.getpid(), "path": environ["PATH_INFO"],
        "secured": isinstance(environ["gunicorn.socket"], ssl.SSLSocket),
    })


def block(size):
    return bytes(range(251)) * (size // 251) + b"." * (size % 251)


def whole(environ, start_response):
    start_response("200 OK", [])
    return [block(int(environ["QUERY_STRING"]))]


def blocks(environ, start_response):
    """So many bytes in blocks of odd sizes."""
    body = block(int(environ["QUERY_STRING"]))
    start_response("200 OK", [])
    size = 1
    while body:
        yield body[:size]
        body, size = body[size:], size * 3 % 99991 + 1


def stepwise(environ, start_response):
    """Yields a block, and the next one when a file is there."""
    start_response("200 OK", [])
    for step in (b"one", b"two", b"end"):
        yield step
        while step != b"end" and not os.path.exists(environ["QUERY_STRING"] + step.decode()):
            time.sleep(0.01)


def file(environ, start_response):
    start_response("200 OK", [])
    return environ["wsgi.file_wrapper"](open(environ["QUERY_STRING"], "rb"))


def until_close(environ, start_response):
    """Written by `write`."""
    write = start_response("200 OK", [])
    for _ in range(20):
        write(b"w" * 10_000)
    return [b"end"]


def client(environ, start_response):
    """What the session says, without taking it over."""
    sock = environ["gunicorn.socket"]
    certificate = sock.getpeercert()
    subject = dict(pair for (pair,) in certificate["subject"]) if certificate else None
    return answer(start_response, {
        "subject": subject, "version": sock.version(), "cipher": sock.cipher()[0], "alpn": sock.selected_alpn_protocol(),
        "peer": sock.getpeername() and len(sock.getpeername()), "is": isinstance(sock, ssl.SSLSocket), "fileno": sock.fileno() >= 0,
        "binary": bool(sock.getpeercert(True)),
    })


def nap(environ, start_response):
    """Overdue, before the reply or in the middle of it."""
    if environ["QUERY_STRING"] == "before":
        time.sleep(100)
    write = start_response("200 OK", [("Content-Length", "10")])
    write(b"half.")
    time.sleep(100)
    return [b"half."]


def take(environ, start_response):
    """A protocol of the application's own: lines come back in upper case, by way of every method there is."""
    sock = environ["gunicorn.socket"].dup()
    sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: lines\r\n\r\n")
    sock.settimeout(20)
    with sock, sock.makefile("rb") as lines:
        for line in lines:
            if line == b"flags\n":
                try:
                    sock.recv(1, 2)
                except ValueError as error:
                    sock.sendall(str(error).encode() + b"\n")
            elif line == b"timeout\n":
                sock.settimeout(0.05)
                try:
                    sock.recv(1)
                except TimeoutError:
                    sock.sendall(b"late\n")
                sock.settimeout(20)
            elif line == b"nowait\n":
                sock.setblocking(False)
                try:
                    sock.recv(1)
                except ssl.SSLWantReadError:
                    sock.sendall(b"nothing\n")
                sock.setblocking(True)
            elif line == b"bye\n":
                sock.shutdown(1)
                break
            else:
                line = line.upper()
                while line:
                    line = line[sock.send(line) :]
    return [b"this must not be sent"]


VIEWS = {
    "/whole": whole, "/blocks": blocks, "/stepwise": stepwise, "/file": file, "/until-close": until_close, "/client": client,
    "/take": take, "/nap": nap,
}
