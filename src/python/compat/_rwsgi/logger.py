"""Logging in Python: Gunicorn's `Logger`, for configurations that choose a logger class of their
own or configure Python's logging, and the way the server's lines get there.

A process without such a configuration never imports this, unless its own code asks for it.
"""

import base64
import binascii
import json
import logging
import logging.config
import os
import socket
import sys
import threading
import time
import traceback

SYSLOG_FACILITIES = {
    "auth": 4, "authpriv": 10, "cron": 9, "daemon": 3, "ftp": 11, "kern": 0, "lpr": 6, "mail": 2,
    "news": 7, "security": 4, "syslog": 5, "user": 1, "uucp": 8,
    **{f"local{n}": 16 + n for n in range(8)},
}

CONFIG_DEFAULTS = {
    "version": 1,
    "disable_existing_loggers": False,
    "root": {"level": "INFO", "handlers": ["console"]},
    "loggers": {
        "gunicorn.error": {
            "level": "INFO",
            "handlers": ["error_console"],
            "propagate": True,
            "qualname": "gunicorn.error",
        },
        "gunicorn.access": {
            "level": "INFO",
            "handlers": ["console"],
            "propagate": True,
            "qualname": "gunicorn.access",
        },
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "generic",
            "stream": "ext://sys.stdout",
        },
        "error_console": {
            "class": "logging.StreamHandler",
            "formatter": "generic",
            "stream": "ext://sys.stderr",
        },
    },
    "formatters": {
        "generic": {
            "format": "%(asctime)s [%(process)d] [%(levelname)s] %(message)s",
            "datefmt": "[%Y-%m-%d %H:%M:%S %z]",
            "class": "logging.Formatter",
        }
    },
}

DEFAULT_CLASS = "gunicorn.glogging.Logger"


def loggers():
    """All loggers there are."""
    return [logging.getLogger(name) for name in list(logging.root.manager.loggerDict)]


class SafeAtoms(dict):
    """Atoms of an access line: quotes and control characters escaped, unknown ones are "-"."""

    def __init__(self, atoms):
        super().__init__((key, _escaped(value)) for key, value in atoms.items())

    def __getitem__(self, key):
        return self.get(key.lower() if key.startswith("{") else key, "-")


def _escaped(value):
    if not isinstance(value, str):
        return value
    if value.isprintable():
        return value.replace('"', '\\"')
    # A request must not be able to forge a line.
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value).replace('"', '\\"')


def parse_syslog_address(addr):
    """(socket type or None, address) of unix://PATH[#dgram|#stream], udp://HOST:PORT, tcp://..."""
    scheme, separator, rest = addr.partition("://")
    if not separator or scheme not in ("unix", "udp", "tcp"):
        raise RuntimeError("invalid syslog address")
    if scheme == "unix":
        path, _, kind = rest.partition("#")
        return {"dgram": socket.SOCK_DGRAM, "stream": socket.SOCK_STREAM}.get(kind), path
    if rest.startswith("["):
        host, _, port = rest[1:].partition("]")
        port = port.removeprefix(":")
    else:
        host, _, port = rest.partition(":")
    if port and not port.isdigit():
        raise RuntimeError(f"{port!r} is not a valid port number.")
    kind = socket.SOCK_DGRAM if scheme == "udp" else socket.SOCK_STREAM
    return kind, (host.lower() or "localhost", int(port or 514))


class Logger:
    """What Gunicorn's loggers derive from."""

    LOG_LEVELS = {
        "critical": logging.CRITICAL,
        "error": logging.ERROR,
        "warning": logging.WARNING,
        "info": logging.INFO,
        "debug": logging.DEBUG,
    }
    loglevel = logging.INFO

    error_fmt = r"%(asctime)s [%(process)d] [%(levelname)s] %(message)s"
    datefmt = r"[%Y-%m-%d %H:%M:%S %z]"
    access_fmt = "%(message)s"
    syslog_fmt = "[%(process)d] %(message)s"

    atoms_wrapper_class = SafeAtoms

    def __init__(self, cfg):
        self.error_log = logging.getLogger("gunicorn.error")
        self.error_log.propagate = False
        self.access_log = logging.getLogger("gunicorn.access")
        self.access_log.propagate = False
        self.error_handlers = []
        self.access_handlers = []
        self.logfile = None
        self.lock = threading.Lock()
        self.cfg = cfg
        self.setup(cfg)

    def setup(self, cfg):
        self.cfg = cfg
        self.loglevel = self.LOG_LEVELS.get(str(cfg.loglevel).lower(), logging.INFO)
        self.error_log.setLevel(self.loglevel)
        self.access_log.setLevel(logging.INFO)
        for log in (self.error_log, self.access_log):
            for handler in [h for h in log.handlers if getattr(h, "_gunicorn", False)]:
                log.removeHandler(handler)
        self._set_handler(self.error_log, cfg.errorlog, logging.Formatter(self.error_fmt, self.datefmt))
        if cfg.accesslog is not None:
            self._set_handler(
                self.access_log, cfg.accesslog, fmt=logging.Formatter(self.access_fmt), stream=sys.stdout
            )
        if cfg.syslog:
            self._set_syslog_handler(self.error_log, cfg, self.syslog_fmt, "error")
            if not cfg.disable_redirect_access_to_syslog:
                self._set_syslog_handler(self.access_log, cfg, self.syslog_fmt, "access")
        self._configure(cfg)

    def _configure(self, cfg):
        try:
            if cfg.logconfig_dict:
                logging.config.dictConfig({**CONFIG_DEFAULTS, **cfg.logconfig_dict})
            elif cfg.logconfig_json:
                with open(cfg.logconfig_json, encoding="utf-8") as file:
                    logging.config.dictConfig({**CONFIG_DEFAULTS, **json.load(file)})
            elif cfg.logconfig:
                if not os.path.exists(cfg.logconfig):
                    raise RuntimeError(f"Error: log config '{cfg.logconfig}' not found")
                defaults = {**CONFIG_DEFAULTS, "__file__": cfg.logconfig, "here": os.path.dirname(cfg.logconfig)}
                logging.config.fileConfig(cfg.logconfig, defaults=defaults, disable_existing_loggers=False)
        except (AttributeError, ImportError, ValueError, TypeError, OSError) as error:
            raise RuntimeError(str(error)) from error

    def critical(self, msg, *args, **kwargs):
        self.error_log.critical(msg, *args, **kwargs)

    def error(self, msg, *args, **kwargs):
        self.error_log.error(msg, *args, **kwargs)

    def warning(self, msg, *args, **kwargs):
        self.error_log.warning(msg, *args, **kwargs)

    def info(self, msg, *args, **kwargs):
        self.error_log.info(msg, *args, **kwargs)

    def debug(self, msg, *args, **kwargs):
        self.error_log.debug(msg, *args, **kwargs)

    def exception(self, msg, *args, **kwargs):
        self.error_log.exception(msg, *args, **kwargs)

    def log(self, lvl, msg, *args, **kwargs):
        if isinstance(lvl, str):
            lvl = self.LOG_LEVELS.get(lvl.lower(), logging.INFO)
        self.error_log.log(lvl, msg, *args, **kwargs)

    def atoms(self, resp, req, environ, request_time):
        """The atoms of an access line."""
        status = resp.status
        if isinstance(status, str):
            status = status.split(None, 1)[0]
        seconds, micros = request_time.seconds, request_time.microseconds
        sent = getattr(resp, "sent", None)
        atoms = {
            "h": environ.get("REMOTE_ADDR", "-"),
            "l": "-",
            "u": self._get_user(environ) or "-",
            "t": self.now(),
            "r": f"{environ.get('REQUEST_METHOD')} {environ.get('RAW_URI')} {environ.get('SERVER_PROTOCOL')}",
            "s": status,
            "m": environ.get("REQUEST_METHOD"),
            "U": environ.get("PATH_INFO"),
            "q": environ.get("QUERY_STRING"),
            "H": environ.get("SERVER_PROTOCOL"),
            "b": "-" if sent is None else str(sent),
            "B": sent,
            "f": environ.get("HTTP_REFERER", "-"),
            "a": environ.get("HTTP_USER_AGENT", "-"),
            "T": seconds,
            "D": seconds * 1000000 + micros,
            "M": seconds * 1000 + micros // 1000,
            "L": f"{seconds}.{micros:06}",
            "p": f"<{os.getpid()}>",
        }
        for pattern, pairs in (
            ("{%s}i", getattr(req, "headers", req)), ("{%s}o", resp.headers), ("{%s}e", environ)
        ):
            pairs = pairs.items() if hasattr(pairs, "items") else pairs
            atoms.update({pattern % name.lower(): value for name, value in pairs})
        return atoms

    @property
    def access_log_enabled(self):
        cfg = self.cfg
        return bool(
            cfg.accesslog or cfg.logconfig or cfg.logconfig_dict or cfg.logconfig_json
            or (cfg.syslog and not cfg.disable_redirect_access_to_syslog)
        )

    def access(self, resp, req, environ, request_time):
        """Writes an access line; `record.args` of it are the atoms."""
        if not self.access_log_enabled:
            return
        atoms = self.atoms_wrapper_class(self.atoms(resp, req, environ, request_time))
        try:
            self.access_log.info(self.cfg.access_log_format, atoms)
        except Exception:
            self.error(traceback.format_exc())

    def now(self):
        return time.strftime("[%d/%b/%Y:%H:%M:%S %z]")

    def reopen_files(self):
        for handler in self._file_handlers():
            handler.acquire()
            try:
                if handler.stream:
                    handler.close()
                    handler.stream = handler._open()
            finally:
                handler.release()

    def close_on_exec(self):
        for handler in self._file_handlers():
            if handler.stream:
                os.set_inheritable(handler.stream.fileno(), False)

    def _file_handlers(self):
        handlers = {id(h): h for log in [logging.root, *loggers()] for h in getattr(log, "handlers", ())}
        return [h for h in handlers.values() if isinstance(h, logging.FileHandler)]

    def _get_gunicorn_handler(self, log):
        return next((h for h in log.handlers if getattr(h, "_gunicorn", False)), None)

    def _set_handler(self, log, output, fmt, stream=None):
        before = self._get_gunicorn_handler(log)
        if before is not None:
            log.handlers.remove(before)
        if output is None:
            return
        if output == "-":
            handler = logging.StreamHandler(stream)
        else:
            try:
                handler = logging.FileHandler(output)
            except OSError as error:
                raise RuntimeError(f"Error: '{output}' isn't writable [{error!r}]") from error
            try:
                # So that the workers' user can open it again.
                os.chown(handler.baseFilename, self.cfg.user, self.cfg.group)
            except OSError:
                pass
        handler.setFormatter(fmt)
        handler._gunicorn = True
        log.addHandler(handler)

    def _set_syslog_handler(self, log, cfg, fmt, name):
        import logging.handlers

        prefix = cfg.syslog_prefix or cfg.proc_name.replace(":", ".")
        facility = SYSLOG_FACILITIES.get(cfg.syslog_facility.lower())
        if facility is None:
            raise RuntimeError("unknown facility name")
        kind, address = parse_syslog_address(cfg.syslog_addr)
        handler = logging.handlers.SysLogHandler(address=address, facility=facility, socktype=kind)
        handler.setFormatter(logging.Formatter(f"gunicorn.{prefix}.{name}: {fmt}"))
        handler._gunicorn = True
        log.addHandler(handler)

    def _get_user(self, environ):
        scheme, _, credentials = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            return base64.b64decode(credentials.strip().encode("utf-8")).split(b":", 1)[0].decode("utf-8")
        except (TypeError, binascii.Error, UnicodeDecodeError):
            return None


#: The logger the server writes through, if the configuration has one.
active = None


def find(cfg):
    """The class `logger_class` names, or is."""
    chosen = cfg.settings["logger_class"].get()
    if not isinstance(chosen, str):
        return chosen
    if chosen in ("", "simple", DEFAULT_CLASS):
        return Logger
    module, _, name = chosen.rpartition(".")
    return getattr(__import__(module, fromlist=[name]), name)


def activate(rows, directories):
    """Makes the logger this configuration wants the server's, and returns its level. Raises what
    the logger's class raises."""
    global active
    from .conf import search
    from .settings import of_server

    search(directories)
    cfg = of_server(rows)
    made = find(cfg)(cfg)
    active = made
    if hasattr(made, "close_on_exec"):
        made.close_on_exec()
    log = getattr(made, "error_log", None)
    effective = log.getEffectiveLevel() if isinstance(log, logging.Logger) else Logger.LOG_LEVELS.get(cfg.loglevel, 20)
    return next((name for name, number in Logger.LOG_LEVELS.items() if effective >= number), "debug")


def deactivate():
    global active
    active = None


def access_logger():
    """Who writes access lines; None: nobody in Python."""
    if active is None or (type(active).access is Logger.access and not active.access_log_enabled):
        return None
    return active


def write(level, text):
    """A line of the server's error log."""
    if level == "error" and "\nTraceback (most recent call last):\n" in text:
        # The traceback is in the text already.
        active.exception(text, exc_info=False)
    else:
        getattr(active, level)(text)


def figure(name, kind, value, text):
    """How many workers there are, and the like, for loggers that count."""
    active.debug(f"{value} {text}", extra={"metric": name, "value": value, "mtype": kind})


def reopen():
    if active is not None:
        active.reopen_files()
    _flush()


def _flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass
