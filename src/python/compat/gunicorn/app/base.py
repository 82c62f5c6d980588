"""Programs that build their configuration themselves."""

import os
import sys

from gunicorn.config import Config


class BaseApplication:
    """Derive from it, set settings in `load_config`, return the WSGI application from `load`."""

    def __init__(self, usage=None, prog=None):
        self.usage = usage
        self.cfg = None
        self.callable = None
        self.prog = prog
        self.logger = None
        self.do_load_config()

    def do_load_config(self):
        try:
            self.load_default_config()
            self.load_config()
            self.cfg.validate()
        except Exception as error:
            print(f"\nError: {error}", file=sys.stderr, flush=True)
            sys.exit(1)

    def load_default_config(self):
        self.cfg = Config(self.usage, prog=self.prog)

    def init(self, parser, opts, args):
        raise NotImplementedError

    def load(self):
        raise NotImplementedError

    def load_config(self):
        raise NotImplementedError

    def reload(self):
        self.do_load_config()

    def wsgi(self):
        if self.callable is None:
            self.callable = self.load()
        return self.callable

    def run(self):
        from _rwsgi import application

        application.run(self)


class Application(BaseApplication):
    """As `BaseApplication`, and the command line counts, too. rwsgi understands it."""

    def load_config(self):
        self._command_line = sys.argv[1:]
        words = [word for word in self._command_line[-1:] if not word.startswith("-")]
        for name, value in (self.init(_Parser(), _Options(), words) or {}).items():
            self.cfg.set(name.lower(), value)

    def chdir(self):
        os.chdir(self.cfg.chdir)
        if self.cfg.chdir not in sys.path:
            sys.path.insert(0, self.cfg.chdir)


class _Options:
    """What `init` gets for the options: rwsgi reads them itself, after it."""

    def __getattr__(self, name):
        return None


class _Parser:
    """What `init` gets for the parser. Options of one's own cannot be added to it."""

    def add_argument(self, *names, **_how):
        raise NotImplementedError(f"rwsgi reads the command line itself: {' '.join(names)} cannot be added")

    def error(self, message):
        sys.exit(f"rwsgi: {message}")
