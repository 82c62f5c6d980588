"""The configuration as hooks, loggers and applications see it: Gunicorn's `Config`.

Values come from the server, where they were checked; `set` here is for programs that build a
configuration themselves before they run it.
"""

import copy
import os
import sys

DEFAULTS = {
    "config": "./gunicorn.conf.py",
    "wsgi_app": None,
    "bind": ["127.0.0.1:8000"],
    "backlog": 2048,
    "workers": 1,
    "worker_class": "sync",
    "threads": 1,
    "worker_connections": 1000,
    "max_requests": 0,
    "max_requests_jitter": 0,
    "timeout": 30,
    "graceful_timeout": 30,
    "keepalive": 2,
    "limit_request_line": 4094,
    "limit_request_fields": 100,
    "limit_request_field_size": 8190,
    "reload": False,
    "reload_engine": "auto",
    "reload_extra_files": [],
    "spew": False,
    "check_config": False,
    "print_config": False,
    "preload_app": False,
    "sendfile": None,
    "reuse_port": False,
    "chdir": None,
    "daemon": False,
    "raw_env": [],
    "pidfile": None,
    "worker_tmp_dir": None,
    "user": None,
    "group": None,
    "umask": 0,
    "initgroups": False,
    "tmp_upload_dir": None,
    "secure_scheme_headers": {"X-FORWARDED-PROTOCOL": "ssl", "X-FORWARDED-PROTO": "https", "X-FORWARDED-SSL": "on"},
    "forwarded_allow_ips": ["127.0.0.1", "::1"],
    "accesslog": None,
    "disable_redirect_access_to_syslog": False,
    "access_log_format": '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"',
    "errorlog": "-",
    "loglevel": "info",
    "capture_output": False,
    "logger_class": "gunicorn.glogging.Logger",
    "logconfig": None,
    "logconfig_dict": {},
    "logconfig_json": None,
    "syslog_addr": "udp://localhost:514",
    "syslog": False,
    "syslog_prefix": None,
    "syslog_facility": "user",
    "enable_stdio_inheritance": False,
    "statsd_host": None,
    "dogstatsd_tags": "",
    "statsd_prefix": "",
    "enable_backlog_metric": False,
    "proc_name": None,
    "default_proc_name": "gunicorn",
    "pythonpath": None,
    "paste": None,
    "on_starting": None,
    "on_reload": None,
    "when_ready": None,
    "pre_fork": None,
    "post_fork": None,
    "post_worker_init": None,
    "worker_int": None,
    "worker_abort": None,
    "pre_exec": None,
    "pre_request": None,
    "post_request": None,
    "child_exit": None,
    "worker_exit": None,
    "nworkers_changed": None,
    "on_exit": None,
    "ssl_context": None,
    "proxy_protocol": "off",
    "proxy_allow_ips": ["127.0.0.1", "::1"],
    "protocol": "http",
    "uwsgi_allow_ips": ["127.0.0.1", "::1"],
    "keyfile": None,
    "certfile": None,
    "ssl_version": None,
    "cert_reqs": 0,
    "ca_certs": None,
    "suppress_ragged_eofs": True,
    "do_handshake_on_connect": False,
    "ciphers": None,
    "http_protocols": ["h1"],
    "http2_cleartext": "off",
    "http2_max_concurrent_streams": 100,
    "http2_initial_window_size": 65535,
    "http2_max_frame_size": 16384,
    "http2_max_header_list_size": 65536,
    "raw_paste_global_conf": [],
    "permit_obsolete_folding": False,
    "strip_header_spaces": False,
    "permit_unconventional_http_method": False,
    "permit_unconventional_http_version": False,
    "casefold_http_method": False,
    "forwarder_headers": ["SCRIPT_NAME", "PATH_INFO"],
    "header_map": "drop",
    "asgi_loop": "auto",
    "asgi_lifespan": "auto",
    "asgi_disconnect_grace_period": 3,
    "websocket_max_message_size": 16777216,
    "http_parser": "auto",
    "root_path": "",
    "dirty_apps": [],
    "dirty_workers": 0,
    "dirty_timeout": 300,
    "dirty_threads": 1,
    "dirty_graceful_timeout": 30,
    "on_dirty_starting": None,
    "dirty_post_fork": None,
    "dirty_worker_init": None,
    "dirty_worker_exit": None,
    "control_socket": "gunicorn.ctl",
    "control_socket_mode": 384,
    "control_socket_disable": False,
}

HOOKS = {
    "on_starting": ("server",),
    "on_reload": ("server",),
    "when_ready": ("server",),
    "pre_fork": ("server", "worker"),
    "post_fork": ("server", "worker"),
    "post_worker_init": ("worker",),
    "worker_int": ("worker",),
    "worker_abort": ("worker",),
    "pre_exec": ("server",),
    "pre_request": ("worker", "req"),
    "post_request": ("worker", "req", "environ", "resp"),
    "child_exit": ("server", "worker"),
    "worker_exit": ("server", "worker"),
    "nworkers_changed": ("server", "new_value", "old_value"),
    "on_exit": ("server",),
    "ssl_context": ("config", "default_ssl_context_factory"),
}
_OTHER_HOOKS = ("on_dirty_starting", "dirty_post_fork", "dirty_worker_init", "dirty_worker_exit")


def _nothing(*_args):
    """A hook nobody set."""


def _default_context(_config, default_ssl_context_factory):
    return default_ssl_context_factory()


def _unset(name):
    return _default_context if name == "ssl_context" else _nothing


class Setting:
    """One setting of a `Config`."""

    def __init__(self, name, default):
        self.name = name
        self.default = default
        self.value = copy.copy(default)

    def get(self):
        return self.value

    def set(self, value):
        self.value = value

    def __repr__(self):
        return f"<{type(self).__module__}.{type(self).__qualname__} {self.name}={self.value!r}>"


def make_settings(ignore=None):
    """All of Gunicorn's settings with their defaults."""
    settings = {}
    for name, default in DEFAULTS.items():
        if name in HOOKS or name in _OTHER_HOOKS:
            default = _unset(name)
        settings[name] = Setting(name, default)
    settings["chdir"].set(os.getcwd())
    settings["user"].set(os.geteuid())
    settings["group"].set(os.getegid())
    for name, variable in (("workers", "WEB_CONCURRENCY"),):
        if os.environ.get(variable, "").isdigit():
            settings[name].set(int(os.environ[variable]))
    return {name: setting for name, setting in settings.items() if name not in (ignore or ())}


class Config:
    """Every setting as an attribute."""

    def __init__(self, usage=None, prog=None):
        self.settings = make_settings()
        self.usage = usage
        self.prog = prog or os.path.basename(sys.argv[0] if sys.argv else "rwsgi")
        self.env_orig = os.environ.copy()

    def __getattr__(self, name):
        settings = self.__dict__.get("settings", {})
        if name not in settings:
            raise AttributeError(f"No configuration setting for: {name}")
        return settings[name].get()

    def __setattr__(self, name, value):
        if name != "settings" and name in self.__dict__.get("settings", {}):
            raise AttributeError("Invalid access!")
        super().__setattr__(name, value)

    def __str__(self):
        width = max(map(len, self.settings))
        rows = ((name, getattr(setting.value, "__qualname__", setting.value)) for name, setting in self.settings.items())
        return "\n".join(f"{name:{width}} = {value}" for name, value in sorted(rows, key=lambda row: row[0]))

    def set(self, name, value):
        if name not in self.settings:
            raise AttributeError(f"No configuration setting for: {name}")
        self.settings[name].set(value)

    def validate(self):
        pass

    @property
    def address(self):
        from gunicorn import util

        return [util.parse_address(bind) for bind in self.settings["bind"].get()]

    @property
    def uid(self):
        return self.settings["user"].get()

    @property
    def gid(self):
        return self.settings["group"].get()

    @property
    def proc_name(self):
        return self.settings["proc_name"].get() or self.settings["default_proc_name"].get()

    @property
    def env(self):
        pairs = (entry.partition("=") for entry in self.settings["raw_env"].get())
        return {name: value for name, _, value in pairs}

    @property
    def reuse_port(self):
        return self.settings["reuse_port"].get()

    @property
    def paste_global_conf(self):
        return dict(entry.partition("=")[::2] for entry in self.settings["raw_paste_global_conf"].get())

    def forwarded_allow_networks(self):
        return _networks(self.forwarded_allow_ips)

    def proxy_allow_networks(self):
        return _networks(self.proxy_allow_ips)

    @property
    def is_ssl(self):
        return self.certfile or self.keyfile

    @property
    def ssl_options(self):
        names = (
            "keyfile", "certfile", "ssl_version", "cert_reqs", "ca_certs", "suppress_ragged_eofs",
            "do_handshake_on_connect", "ciphers",
        )
        return {name: self.settings[name].get() for name in names}

    @property
    def sendfile(self):
        chosen = self.settings["sendfile"].get()
        return True if chosen is None else chosen

    @property
    def worker_class_str(self):
        name = self.settings["worker_class"].get()
        name = name if isinstance(name, str) else getattr(name, "__name__", str(name))
        return "gthread" if name == "sync" and self.threads > 1 else name

    @property
    def worker_class(self):
        from . import server

        return server.Worker

    @property
    def logger_class(self):
        from . import logger

        return logger.find(self)


def of_server(rows, variables=None):
    """The `Config` of what the server resolved: {name: value}."""
    config = Config()
    for name, value in rows.items():
        if name in HOOKS:
            value = value or _unset(name)
        elif name == "user":
            value = _id(value, os.geteuid(), "pwd")
        elif name == "group":
            value = _id(value, os.getegid(), "grp")
        elif name == "logger_class":
            value = value or DEFAULTS["logger_class"]
        elif name == "chdir":
            value = value or os.getcwd()
        elif name == "logconfig_dict":
            value = value or {}
        elif name in ("forwarded_allow_ips", "proxy_allow_ips"):
            value = [entry.strip() for entry in value.split(",") if entry.strip()] if isinstance(value, str) else value
        elif name == "statsd_host" and value:
            value = _collector(value)
        elif name == "pythonpath":
            value = ",".join(value) or None
        elif name in ("certfile", "keyfile", "ca_certs", "ciphers"):
            value = value or None
        elif name in ("config", "dogstatsd_tags", "statsd_prefix"):
            value = value or DEFAULTS[name]
        if name in config.settings:
            config.settings[name].set(value)
        else:
            # Settings of the server's own.
            config.settings[name] = Setting(name, value)
    return config


def _collector(address):
    """A path, or (host, port)."""
    if address.startswith("unix:") and not address[5:].isdigit():
        return address.removeprefix("unix://").removeprefix("unix:")
    host, colon, port = address.rpartition(":")
    if not colon or address.endswith("]"):
        host, port = address, "8125"
    return host.strip("[]").lower(), int(port)


def _networks(entries):
    import ipaddress

    return [ipaddress.ip_network(entry) for entry in entries if entry != "*"]


def _id(text, own, database):
    if text in (None, ""):
        return own
    if str(text).isdigit():
        return int(text)
    import grp
    import pwd

    try:
        return pwd.getpwnam(text).pw_uid if database == "pwd" else grp.getgrnam(text).gr_gid
    except KeyError:
        return own
