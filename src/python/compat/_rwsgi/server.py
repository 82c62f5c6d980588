"""Hooks, and the `server` and `worker` they are called with.

Called by the server's processes: `moment(...)` in the master and its workers, on the main thread.
One `Arbiter` lives in each process; a forked worker has the master's, as in Gunicorn.
"""

import inspect
import os
import signal
import sys
import time
import traceback

from .conf import search
from .settings import HOOKS, of_server


class Wrong(Exception):
    """A hook that cannot be called: (name, problem)."""


class Log:
    """`server.log`, `worker.log`: what is logged goes where the server's own lines go."""

    def __init__(self, cfg):
        self.cfg = cfg

    @property
    def error_log(self):
        import logging

        return logging.getLogger("gunicorn.error")

    @property
    def access_log(self):
        import logging

        return logging.getLogger("gunicorn.access")

    def critical(self, msg, *args, **kwargs):
        self._write("critical", msg, args, kwargs)

    def error(self, msg, *args, **kwargs):
        self._write("error", msg, args, kwargs)

    def warning(self, msg, *args, **kwargs):
        self._write("warning", msg, args, kwargs)

    warn = warning

    def info(self, msg, *args, **kwargs):
        self._write("info", msg, args, kwargs)

    def debug(self, msg, *args, **kwargs):
        self._write("debug", msg, args, kwargs)

    def exception(self, msg, *args, **kwargs):
        kwargs.setdefault("exc_info", True)
        self._write("error", msg, args, kwargs)

    def log(self, level, msg, *args, **kwargs):
        names = {50: "critical", 40: "error", 30: "warning", 20: "info", 10: "debug"}
        name = level.lower() if isinstance(level, str) else names.get(level, "info")
        self._write(name, msg, args, kwargs)

    def reopen_files(self):
        pass

    def close_on_exec(self):
        pass

    def _write(self, level, msg, args, kwargs):
        # As logging does it: a single mapping fills in names.
        if len(args) == 1 and isinstance(args[0], dict) and args[0]:
            args = args[0]
        try:
            text = str(msg) % args if args else str(msg)
        except (TypeError, ValueError, KeyError):
            text = f"{msg} {args!r}"
        wanted = kwargs.get("exc_info")
        if wanted:
            error = wanted if isinstance(wanted, BaseException) else sys.exc_info()[1]
            if error is not None:
                text += "\n" + "".join(traceback.format_exception(type(error), error, error.__traceback__)).rstrip()
        _log(level, text)


class App:
    """`server.app` and `worker.app`."""

    def __init__(self, cfg):
        self.cfg = cfg
        self.callable = None
        self.logger = None

    def wsgi(self):
        return self.callable

    def reload(self):
        pass


class Reloader:
    """`worker.reloader`, with `reload`: what watches the files of the application."""

    #: Files that hooks have added.
    extra = set()

    def add_extra_file(self, filename):
        self.extra.add(filename)

    def get_files(self):
        import _rwsgi_support

        return [os.fsdecode(name) for name in _rwsgi_support.sources(())]


class Listener:
    """One of `server.LISTENERS`."""

    def __init__(self, shown):
        self.shown = shown
        host, _, port = shown.rpartition("://")[2].rpartition(":")
        self.cfg_addr = shown.removeprefix("unix:") if shown.startswith("unix:") else (host.strip("[]"), _number(port))

    def __str__(self):
        return self.shown

    @property
    def sock(self):
        return self

    def getsockname(self):
        return self.cfg_addr


class Worker:
    """A worker, as the master's and its own hooks see it."""

    def __init__(self, age, server):
        self.age = age
        self.pid = "[booting]"
        self.ppid = os.getpid()
        self.app = server.app
        self.cfg = server.cfg
        self.log = server.log
        # The heartbeat's, as in Gunicorn.
        self.timeout = server.timeout / 2
        self.sockets = list(server.LISTENERS)
        self.booted = False
        self.aborted = False
        self.alive = True
        self.reloader = None
        self.nr = 0
        self.max_requests = self.cfg.max_requests or sys.maxsize
        self.wsgi = None
        self.tmp = Tmp()

    def __str__(self):
        return f"<Worker {self.pid}>"

    def notify(self):
        self.tmp.notify()


class Tmp:
    """`worker.tmp`: in Gunicorn the heartbeat's file, which is not needed here."""

    def __init__(self):
        self.beat = time.monotonic()

    def notify(self):
        self.beat = time.monotonic()

    def last_update(self):
        return self.beat

    def close(self):
        pass


class Arbiter:
    """`server`."""

    def __init__(self, cfg, log):
        self.WORKERS = {}
        self.LISTENERS = []
        self.pid = os.getpid()
        # A new master knows the old one, as long as that is its parent.
        self.master_pid = _number(os.environ.get("RWSGI_UPGRADE_PID", "0"))
        self.reexec_pid = 0
        self.worker_age = 0
        self.look_up()
        self.num_workers = 0
        self.pidfile = None
        self.systemd = False
        self.START_CTX = {"args": list(sys.argv), "cwd": os.getcwd(), 0: sys.executable}
        self.take(cfg, log)

    def look_up(self):
        if self.master_pid != os.getppid():
            self.master_pid = 0
        self.master_name = "Master.2" if self.master_pid else "Master"

    def take(self, cfg, log):
        self.cfg = cfg
        self.log = log
        self.app = App(cfg)
        self.timeout = cfg.timeout
        self.proc_name = cfg.proc_name
        self.worker_class = cfg.worker_class
        self.address = cfg.settings["bind"].get()

    def __str__(self):
        return f"<Arbiter {self.pid}>"


class Hooks:
    """The hooks of one configuration."""

    def __init__(self, rows, hooks):
        self.cfg = of_server(rows)
        self.hooks = {}
        for name, hook in hooks.items():
            self.hooks[name] = self.cfg.settings[name].value = _checked(name, hook)
        self.own_log = Log(self.cfg)
        self.booting = {}

    @property
    def log(self):
        logger = sys.modules.get("_rwsgi.logger")
        return logger.active if logger is not None and logger.active is not None else self.own_log

    def watches_requests(self):
        return "pre_request" in self.hooks or "post_request" in self.hooks

    def call(self, name, *args):
        """False: the hook raised, which is logged."""
        hook = self.hooks.get(name)
        if hook is None:
            return True
        try:
            hook(*args)
        except BaseException as error:
            if isinstance(error, SystemExit) and error.code in (None, 0):
                text = f"The hook {name} asked to exit"
            else:
                text = f"Exception in {name} hook\n{_format(error)}"
            _log("error", text)
            return False
        finally:
            _flush()
        return True


#: The one of this process.
arbiter = None
#: In a worker: itself, and its hooks.
worker = None
active = None


def prepare(rows, hooks, directories):
    search(directories)
    return Hooks(rows, hooks)


def in_master(hooks, moment, *facts):
    """A moment in the master's life. False: a hook raised."""
    global arbiter
    if arbiter is None:
        arbiter = Arbiter(hooks.cfg, hooks.log)
    if arbiter.master_pid:
        arbiter.look_up()
    if moment == "pre_fork":
        if arbiter.pid != os.getpid():
            # Where the application was loaded, nobody tells of a worker's end.
            _forget_the_dead(arbiter.WORKERS)
        (slot,) = facts
        made = hooks.booting[slot] = _expected(hooks)
        return hooks.call("pre_fork", arbiter, made)
    if moment == "forked":
        slot, pid = facts
        # With preload_app a worker is forked, and pre_fork called, in another process.
        made = hooks.booting.pop(slot, None) or _expected(hooks)
        made.pid = pid
        arbiter.WORKERS[pid] = made
        return True
    if moment == "upgrading":
        (arbiter.reexec_pid,) = facts
        return True
    if moment == "child_exit":
        pid, overdue = facts
        if pid == arbiter.reexec_pid:
            arbiter.reexec_pid = 0
        gone = arbiter.WORKERS.pop(pid, None)
        if gone is None:
            return True
        gone.aborted = overdue
        return hooks.call("child_exit", arbiter, gone)
    # The rest is about the configuration in force, which is this one.
    if arbiter.cfg is not hooks.cfg and moment != "on_reload":
        arbiter.take(hooks.cfg, hooks.log)
    if moment == "nworkers_changed":
        new, old = facts
        arbiter.num_workers = new
        return hooks.call("nworkers_changed", arbiter, new, old)
    if moment == "when_ready":
        arbiter.LISTENERS = [Listener(shown) for shown in facts[0]]
        arbiter.pid = os.getpid()
    elif moment == "on_starting":
        arbiter.pid = os.getpid()
    elif moment == "on_reload":
        before = arbiter.cfg, arbiter.log
        arbiter.take(hooks.cfg, hooks.log)
        went = hooks.call("on_reload", arbiter)
        if not went:
            arbiter.take(*before)
        return went
    return hooks.call(moment, arbiter)


def _forget_the_dead(workers):
    for pid in list(workers):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            del workers[pid]
        except OSError:
            pass


def _expected(hooks):
    arbiter.worker_age += 1
    made = Worker(arbiter.worker_age, arbiter)
    made.cfg, made.log = hooks.cfg, hooks.log
    made.app = arbiter.app if hooks.cfg is arbiter.cfg else App(hooks.cfg)
    return made


def in_worker(hooks, moment, *facts):
    """A moment in a worker's life. False: a hook raised."""
    global worker, active
    if moment == "post_fork":
        worker = hooks.booting.pop(facts[0], None) or Worker(0, arbiter)
        active = hooks
        worker.pid = os.getpid()
        worker.ppid = os.getppid()
        return hooks.call("post_fork", arbiter, worker)
    if moment == "post_worker_init":
        if "worker_abort" in hooks.hooks:
            signal.signal(signal.SIGABRT, _aborted)
        # The logger of a new configuration is made after the fork.
        worker.log = hooks.log
        worker.reloader = Reloader() if hooks.cfg.reload else None
        went = hooks.call("post_worker_init", worker)
        worker.booted = True
        return went
    if moment == "worker_int":
        worker.alive = False
        return hooks.call("worker_int", worker)
    if moment == "worker_exit":
        worker.alive = False
        return hooks.call("worker_exit", arbiter, worker)
    return hooks.call(moment, worker)


def _aborted(_number, _frame):
    """Somebody's SIGABRT ends the worker, as in Gunicorn; a timeout comes another way."""
    worker.alive = False
    active.call("worker_abort", worker)
    # What runs here now is ended by the exception, the rest comes to its end.
    os.kill(os.getpid(), signal.SIGTERM)
    sys.exit(1)


def _checked(name, hook):
    if isinstance(hook, str):
        module, _, attribute = hook.rpartition(".")
        try:
            hook = getattr(__import__(module, fromlist=[attribute]), attribute)
        except Exception as error:
            raise Wrong(name, f"cannot be imported: {type(error).__name__}: {error}") from None
    if not callable(hook):
        raise Wrong(name, f"is not callable: {hook!r}")
    wanted = HOOKS[name]
    count = _arity(hook, len(wanted))
    if name == "post_request" and count in (2, 3):
        return lambda worker, req, environ, resp: hook(*(worker, req, environ)[:count])
    if count != len(wanted):
        raise Wrong(name, f"takes {count} arguments, and is called with {len(wanted)}: {', '.join(wanted)}")
    return hook


def _arity(hook, wanted):
    try:
        parameters = inspect.signature(hook).parameters.values()
    except (TypeError, ValueError):
        return wanted
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p for p in positional if p.default is p.empty]
    takes_more = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if len(needed) <= wanted and (takes_more or len(positional) >= wanted):
        return wanted
    return len(positional)


def _format(error):
    tb = error.__traceback__
    while tb is not None and tb.tb_frame.f_code.co_filename == __file__:
        tb = tb.tb_next
    return "".join(traceback.format_exception(type(error), error, tb)).rstrip()


def _flush():
    # What stays in a buffer now would be written by every process forked later.
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass


def _number(text):
    return int(text) if text.isdigit() else text
