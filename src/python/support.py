"""What is clearer in Python than in Rust: objects applications see, and loading them.

Runs once in each interpreter, as the module `_rwsgi_support`. The server puts in `_log(text)`,
which writes whole lines, `_partial()`, which has `flush` called when the request is over,
`_interrupted()`, which says once whether the main thread's request is to be interrupted;
`_client()`, `_secured()` and `_take_over()`: the client's socket, whether it carries TLS, and that it is
the application's from now on.
"""

import _thread
import importlib
import io
import os
import sys


class EmptyInput:
    """wsgi.input of a request without a body: immutable, so that all requests can share it."""

    __slots__ = ()

    def read(self, size=-1, /):
        return b""

    def readline(self, size=-1, /):
        return b""

    def readlines(self, hint=-1, /):
        return []

    def __iter__(self):
        return iter(())

    def readable(self):
        return True

    def close(self):
        pass


class ErrorStream:
    """wsgi.errors: native strings, whole lines, safe from several threads at once."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self):
        self._partial = _thread._local()

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError(f"wsgi.errors takes str, not {type(text).__name__}")
        *lines, rest = (getattr(self._partial, "text", "") + text).split("\n")
        if lines:
            _log("\n".join(lines))
        self._partial.text = rest
        if rest:
            _partial()
        return len(text)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def flush(self):
        rest = getattr(self._partial, "text", "")
        if rest:
            self._partial.text = ""
            _log(rest)

    def writable(self):
        return True

    def isatty(self):
        return False


class ClientSocket:
    """gunicorn.socket: the client's socket, made when it is first used.

    Requests that ask for an upgrade get an object of their own, which can go on to another thread
    once it was used; all others share one, which means the request of the calling thread. What only
    looks at the connection (fileno, getpeername, a peeking recv) leaves it to the server; whatever
    reads, writes or copies it takes it over: the server sends nothing more of its own to a client
    that asked for an upgrade, does not time the request, and closes the socket afterwards.
    """

    __slots__ = ("_client", "_taken")

    _TAKING = frozenset((
        "close", "detach", "dup", "makefile", "read", "recv_into", "recvfrom", "recvfrom_into", "recvmsg",
        "recvmsg_into", "send", "sendall", "sendfile", "sendmsg", "sendto", "shutdown", "unwrap", "write",
    ))

    def __init__(self):
        self._client = None
        self._taken = False

    def _resolve(self):
        if self._client is None:
            self._client = _client()
        return self._client

    def _take(self):
        if not self._taken:
            _take_over()
            self._taken = True

    def __getattr__(self, name):
        client = self._resolve()
        if name in ClientSocket._TAKING:
            self._take()
        return getattr(client, name)

    def recv(self, size, flags=0):
        client = self._resolve()
        if not flags & 2:  # MSG_PEEK
            self._take()
        return client.recv(size, flags)

    @property
    def __class__(self):
        if self._client is not None:
            return type(self._client)
        if _secured():
            import ssl

            return ssl.SSLSocket
        import socket

        return socket.socket


class SharedSocket(ClientSocket):
    """The one of all requests that ask for no upgrade: it keeps nothing."""

    __slots__ = ()

    def _resolve(self):
        return _client()

    def _take(self):
        _take_over()


class FileWrapper:
    """wsgi.file_wrapper (PEP 3333, "Optional Platform-Specific File Handling")."""

    def __init__(self, filelike, blksize=8192):
        self.filelike = filelike
        self.blksize = blksize
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self):
        return self

    def __next__(self):
        data = self.filelike.read(self.blksize)
        if data:
            return data
        raise StopIteration

    def __getitem__(self, _index):
        data = self.filelike.read(self.blksize)
        if data:
            return data
        raise IndexError


def file_region(wrapper):
    """(fd, offset) where the rest of a wrapped regular file starts, or None: read it instead."""
    filelike = wrapper.filelike
    if not isinstance(filelike, (io.FileIO, io.BufferedReader, io.BufferedRandom)):
        # Temporary files delegate to a real one; anything else may transform what it reads.
        filelike = getattr(filelike, "file", None)
        if not isinstance(filelike, (io.FileIO, io.BufferedReader, io.BufferedRandom)):
            return None
    for kind in (io.FileIO, io.BufferedReader, io.BufferedRandom):
        if isinstance(filelike, kind) and type(filelike).read is not kind.read:
            return None
    try:
        if isinstance(filelike, io.BufferedRandom):
            filelike.flush()
        return filelike.fileno(), filelike.tell()
    except (OSError, ValueError):
        return None


def open_spool(fd):
    """wsgi.input over a spilled body; owns the descriptor."""
    return open(fd, "rb")


class LoadError(Exception):
    """The application could not be loaded: a line for the operator."""


def load(target, search, paste=None, defaults=()):
    """The WSGI callable `target` names: MODULE[:NAME | :DOTTED.NAME | :factory(literals)], or the
    one in the PasteDeploy file `paste`."""
    _search(search)
    if paste is not None:
        return _load_paste(paste, dict(defaults))
    module_name, _, expression = target.partition(":")
    expression = expression or "application"
    path, args, kwargs = _parse(expression)

    found = _import(module_name)
    for name in path:
        try:
            found = getattr(found, name)
        except AttributeError:
            near = _nearest(name, dir(found))
            raise LoadError(
                f"Failed to find attribute {'.'.join(path)!r} in {module_name!r}."
                + (f" Did you mean {near!r}?" if near else "")
            ) from None
    if args is not None:
        found = found(*args, **kwargs)
        if found is None:
            raise LoadError(f"Failed to find application object: {expression!r} returned None.")
    if not callable(found):
        raise LoadError(
            f"Application object must be callable: {target!r} is a {type(found).__name__}."
        )
    return found


def _parse(expression):
    """(names, arguments, keyword arguments) of NAME, DOTTED.NAME or factory(literals); the arguments
    are None where nothing is called."""
    names = expression.split(".")
    if all(name.isidentifier() for name in names):
        return names, None, None
    import ast

    try:
        node = ast.parse(expression, mode="eval").body
    except SyntaxError:
        raise LoadError(
            f"Failed to parse {expression!r} as an attribute name or function call."
        ) from None
    args, kwargs = None, None
    if isinstance(node, ast.Call):
        try:
            args = [ast.literal_eval(arg) for arg in node.args]
            kwargs = {kw.arg: ast.literal_eval(kw.value) for kw in node.keywords}
        except ValueError:
            raise LoadError(
                f"Failed to parse arguments as literal values: {expression!r}"
            ) from None
        if None in kwargs:
            raise LoadError(f"Failed to parse arguments as literal values: {expression!r}")
        node = node.func
    path = []
    while isinstance(node, ast.Attribute):
        path.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise LoadError(
            f"Failed to parse {expression!r} as an attribute name or function call."
        )
    path.append(node.id)
    path.reverse()
    return path, args, kwargs


def load_by(loader, search):
    """The WSGI callable a program makes itself."""
    _search(search)
    found = loader()
    if not callable(found):
        raise LoadError(f"Application object must be callable: load() returned a {type(found).__name__}.")
    return found


def _search(directories):
    for directory in reversed(directories):
        if directory in sys.path:
            sys.path.remove(directory)
        sys.path.insert(0, directory)


def _load_paste(uri, defaults):
    """`uri` is FILE or FILE#SECTION; what the file says about logging holds, too."""
    import configparser
    import logging.config

    path = uri.partition("#")[0]
    if not os.path.exists(path):
        raise LoadError(f"There is no PasteDeploy file {path!r}.")
    try:
        from paste.deploy import loadapp
    except ImportError:
        raise LoadError("PasteDeploy files need the package PasteDeploy: pip install PasteDeploy.") from None
    parser = configparser.ConfigParser(interpolation=None)
    parser.read([path], encoding="utf-8")
    if parser.has_section("loggers"):
        here = {"__file__": path, "here": os.path.dirname(path)}
        logging.config.fileConfig(path, {**defaults, **here}, disable_existing_loggers=False)
    app = loadapp(f"config:{uri}", global_conf=defaults)
    if not callable(app):
        raise LoadError(f"Application object must be callable: {uri!r} is a {type(app).__name__}.")
    return app


def spew():
    """Prints every line that is run from now on, in this thread and those it starts."""
    import linecache
    import threading

    def trace(frame, event, _arg):
        if event == "line":
            name = frame.f_globals.get("__name__", "[unknown]")
            line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).rstrip()
            print(f"{name}:{frame.f_lineno}: {line}")
        return trace

    sys.settrace(trace)
    threading.settrace(trace)


def wake_by(end):
    """Has the interpreter's handler of signals write there, unless the application wants it elsewhere."""
    import _signal

    before = _signal.set_wakeup_fd(end, warn_on_full_buffer=False)
    if before != -1:
        _signal.set_wakeup_fd(before)


def sources(extra):
    """The files the loaded modules came from, and those that `extra` names (glob patterns, too)."""
    import glob

    files = set()
    for module in list(sys.modules.values()):
        try:
            # Not getattr: modules that load lazily would.
            name = module.__dict__.get("__file__")
        except Exception:
            continue
        if isinstance(name, str):
            files.add(name[:-1] if name.endswith((".pyc", ".pyo")) else name)
    server = sys.modules.get("_rwsgi.server")
    if server is not None:
        files.update(server.Reloader.extra)
    for entry in extra:
        files.update(glob.glob(entry, recursive=True) if glob.has_magic(entry) else (entry,))
    return [os.fsencode(os.path.abspath(name)) for name in files]


def _import(module_name):
    try:
        return importlib.import_module(module_name)
    except ImportError as error:
        stem = module_name[:-3] if module_name.endswith(".py") else None
        if stem and os.path.exists(os.path.join(sys.path[0], module_name)):
            raise LoadError(
                f"Failed to find application, did you mean '{stem}:application'?"
            ) from error
        raise


def _nearest(name, names):
    import difflib

    near = difflib.get_close_matches(name, [n for n in names if not n.startswith("_")], 1)
    return near[0] if near else None


def load_failure(error, target):
    """(line for the operator, traceback) for anything `load` raised."""
    where = f"directory {os.getcwd()!r}, sys.path[0] {sys.path[0] if sys.path else ''!r}"
    module_name = target.partition(":")[0]
    if isinstance(error, LoadError):
        line = str(error)
    elif not target:
        line = f"Failed to load the application: {describe(error)}"
    elif isinstance(error, ModuleNotFoundError) and error.name and (
        module_name == error.name or module_name.startswith(error.name + ".")
    ):
        line = f"Failed to import module {module_name!r}: there is none of that name."
    else:
        line = f"Failed to import {target!r}: {describe(error)}"
    stop = "" if line.endswith((".", "!", "?")) else "."
    line = f"{line}{stop} Check the name and where it is looked for: {where}."
    return line, format_exception(error), failed_files(error)


def failed_files(error):
    """The files that stand in the traceback of `error` and of what led to it."""
    files, seen = set(), set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        tb = error.__traceback__
        while tb is not None:
            files.add(tb.tb_frame.f_code.co_filename)
            tb = tb.tb_next
        files.add(getattr(error, "filename", None))
        error = error.__cause__ or error.__context__
    return [os.fsencode(os.path.abspath(name)) for name in files if isinstance(name, str) and os.path.exists(name)]


def describe(error):
    """One line naming an exception, whatever its __str__ does."""
    try:
        text = str(error)
    except BaseException as second:
        text = f"<unprintable: {type(second).__name__}>"
    name = type(error).__qualname__
    return f"{name}: {text}" if text else name


def format_exception(error):
    """The traceback as text, without the server's own frames, whatever the exception does."""
    try:
        import traceback

        tb = error.__traceback__
        while tb is not None and tb.tb_frame.f_code.co_filename in _OWN_FILES:
            tb = tb.tb_next
        # An import that found nothing has frames of the server and of importlib only.
        lines = traceback.format_exception(type(error), error, tb or error.__traceback__)
    except BaseException as second:
        lines = [*_frames(error), describe(error), f" (its traceback cannot be formatted: {describe(second)})"]
    return "".join(lines).rstrip("\n")


def _frames(error):
    """Where an exception was raised, without anything that has to be imported or read: there may be
    no descriptors left."""
    tb = getattr(error, "__traceback__", None)
    while tb is not None:
        code = tb.tb_frame.f_code
        if code.co_filename not in _OWN_FILES:
            yield f'  File "{code.co_filename}", line {tb.tb_lineno}, in {code.co_name}\n'
        tb = tb.tb_next


_OWN_FILES = (__file__, importlib.__file__, "<frozen importlib._bootstrap>", "<frozen importlib>")


class RequestTimeout(BaseException):
    """Raised inside a request that got no further for longer than `timeout`.

    Not an Exception, so that what handles an application's errors does not answer in its place.
    """


def prepare_watchdog(signum, stack_file, threads):
    """Lets `signum` interrupt the main thread, and `signum + 1` show all stacks without the GIL.

    What a worker does not need is not imported before its first answer: of `signal` only the part
    that is C, and `threading` only where there are `threads`. Whichever thread imports that one first
    is the main thread to it (until Python 3.13), so it must not be one of the others.
    """
    import _signal as signal
    import faulthandler

    if threads > 1:
        import threading  # noqa: F401

    def interrupt(_signum, _frame):
        if _interrupted():
            raise RequestTimeout("the request got no further for longer than `timeout`")

    signal.signal(signum, interrupt)
    faulthandler.register(signum + 1, file=stack_file, all_threads=True)


def thread_stack(ident):
    """The stack of one thread as text, or None."""
    import traceback

    frame = sys._current_frames().get(ident)
    return None if frame is None else "".join(traceback.format_stack(frame)).rstrip("\n")


def finish():
    """What the end of an interpreter runs, without taking the interpreter apart."""
    import atexit

    threading = sys.modules.get("threading")
    join_threads = threading._shutdown if threading else bool
    for step in (join_threads, atexit._run_exitfuncs, _flush):
        try:
            step()
        except BaseException as error:
            _log(format_exception(error))


def _flush():
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
