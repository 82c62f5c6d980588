"""What an application can do beside its reply: its client's socket, early hints, the log."""

import json
import os
import socket
import sys
import threading
import time

kept = []


def application(environ, start_response):
    view = VIEWS.get(environ["PATH_INFO"], environ_view)
    return view(environ, start_response)


def text(start_response, value, status="200 OK"):
    body = (value if isinstance(value, str) else json.dumps(value)).encode()
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def environ_view(environ, start_response):
    values = {key: value for key, value in environ.items() if isinstance(value, str)}
    return text(start_response, {**values, "keys": sorted(environ), "pid": os.getpid()})


def fail(environ, start_response):
    raise ValueError("on purpose")


def stop_iteration(environ, start_response):
    raise StopIteration


def complain(environ, start_response):
    print("to stdout", flush=True)
    print("to stderr", file=sys.stderr, flush=True)
    return text(start_response, "complained")


def hints(environ, start_response):
    hint = environ.get("wsgi.early_hints")
    if hint is None:
        return text(start_response, "none")
    hint([("Link", "</a.css>; rel=preload; as=style"), ("Link", "</b.js>; rel=preload; as=script")])
    try:
        hint([("X-Bad", "a\r\nSet-Cookie: b")])
    except ValueError as error:
        refused = str(error)
    hint([("Link", "</c.css>; rel=preload")])

    def blocks():
        yield b"first "
        hint([("Link", "</late>; rel=preload")])
        yield refused.encode()

    start_response("200 OK", [("Content-Type", "text/plain")])
    return blocks()


def look(environ, start_response):
    """Looking at the connection takes nothing from the server."""
    client = environ["gunicorn.socket"]
    try:
        waiting = client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        waiting = b""
    return text(start_response, {
        "peer": client.getpeername()[:2] if client.family != socket.AF_UNIX else "unix",
        "real": isinstance(client, socket.socket), "fileno": client.fileno() >= 0, "waiting": waiting.decode(),
        "same": client.fileno() == environ["gunicorn.socket"].fileno(),
    })


def take(environ, start_response):
    """Takes the connection over for a protocol of its own: echoes lines until one says "bye"."""
    client = environ["gunicorn.socket"].dup()
    client.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: lines\r\n\r\n")
    with client, client.makefile("rwb") as lines:
        for line in lines:
            lines.write(line)
            lines.flush()
            if line == b"bye\n":
                break
    return text(start_response, "this must not be sent")


def take_and_answer(environ, start_response):
    """Holds a handle for no good reason, and answers as usual."""
    kept.append(environ["gunicorn.socket"].dup())
    return text(start_response, "answered")


def elsewhere(environ, start_response):
    """The request a shared object means follows from the thread."""
    client, result = environ["gunicorn.socket"], []

    def use():
        try:
            result.append(client.getpeername())
        except RuntimeError as error:
            result.append(str(error))

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    return text(start_response, result)


def after(environ, start_response):
    kept.append(environ["gunicorn.socket"])
    return text(start_response, "kept")


def nap(environ, start_response):
    time.sleep(float(environ["QUERY_STRING"] or 1))
    return text(start_response, "rested")


VIEWS = {
    "/fail": fail, "/stop": stop_iteration, "/complain": complain, "/hints": hints, "/look": look, "/take": take,
    "/take-and-answer": take_and_answer, "/elsewhere": elsewhere, "/after": after, "/nap": nap,
}
