"""Requests that take microseconds, and say what they see of those that wait."""

import array
import fcntl
import os
import stat
import termios


def sockets():
    """Connections of this worker."""
    for name in os.listdir("/proc/self/fd"):
        try:
            if stat.S_ISSOCK(os.stat(int(name)).st_mode):
                yield int(name)
        except OSError:
            pass


def unread():
    """How many of them have something to say that the server has not read."""
    count = 0
    for fd in sockets():
        size = array.array("i", [0])
        try:
            fcntl.ioctl(fd, termios.FIONREAD, size)
        except OSError:
            continue
        count += size[0] > 0
    return count


def wait_for(fifo, environ):
    print("rows: at the gate", file=environ["wsgi.errors"], flush=True)
    with open(fifo, "rb") as gate:
        gate.read()


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/gate":
        wait_for(environ["QUERY_STRING"], environ)
    if path == "/unread":
        body = str(unread()).encode()
    elif path == "/echo":
        body = environ["wsgi.input"].read()
    else:
        body = environ["QUERY_STRING"].encode() or path.encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
