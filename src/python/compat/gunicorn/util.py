"""What others use of Gunicorn's odds and ends."""

import email.utils
import errno
import fcntl
import importlib
import inspect
import os
import socket
import time


def import_app(module):
    """The application MODULE[:NAME] or MODULE:FACTORY(...) names."""
    from _rwsgi import load

    return load(module, [])


def load_class(uri, default="gunicorn.workers.sync.SyncWorker", section="gunicorn.workers"):
    """The class a dotted name stands for; a class stands for itself."""
    if not isinstance(uri, str):
        return uri
    module, _, name = (uri if "." in uri else default).rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise RuntimeError(f"class uri {uri!r} invalid or not found: {error}") from error


def get_arity(function):
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in kinds for p in inspect.signature(function).parameters.values())


def getcwd():
    return os.environ.get("PWD", os.getcwd()) if _same_cwd() else os.getcwd()


def _same_cwd():
    try:
        here, shell = os.stat(os.getcwd()), os.stat(os.environ["PWD"])
    except (KeyError, OSError):
        return False
    return (here.st_ino, here.st_dev) == (shell.st_ino, shell.st_dev)


def is_ipv6(addr):
    try:
        socket.inet_pton(socket.AF_INET6, addr)
    except (OSError, ValueError):
        return False
    return True


def parse_address(netloc, default_port="8000"):
    """(host, port) or a path of an entry of `bind`."""
    if netloc.startswith("unix:"):
        path = netloc[5:]
        return path[2:] if path.startswith("//") else path
    if netloc.startswith("fd://"):
        return int(netloc[5:])
    netloc = netloc.removeprefix("tcp://")
    if netloc.startswith("["):
        host, _, port = netloc[1:].partition("]")
        port = port.removeprefix(":")
    else:
        host, _, port = netloc.partition(":")
    port = port or default_port
    if not str(port).isdigit():
        raise RuntimeError(f"{port!r} is not a valid port number.")
    return (host or "0.0.0.0").lower(), int(port)


def close_on_exec(fd):
    os.set_inheritable(fd, False)


def set_non_blocking(fd):
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NONBLOCK)


def close(sock):
    try:
        sock.close()
    except OSError:
        pass


def unlink(filename):
    try:
        os.unlink(filename)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise


def check_is_writable(path):
    try:
        with open(path, "a"):
            pass
    except OSError as error:
        raise RuntimeError(f"Error: '{path}' isn't writable [{error!r}]") from error


def http_date(timestamp=None):
    return email.utils.formatdate(time.time() if timestamp is None else timestamp, localtime=False, usegmt=True)


def to_bytestring(value, encoding="utf8"):
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a string")
    return value.encode(encoding)


def bytes_to_str(value):
    return value if isinstance(value, str) else str(value, "latin1")


def seed():
    import random

    random.seed()
