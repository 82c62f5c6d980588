"""Imports modules from the server's binary: `_rwsgi`, and a `gunicorn` where it is wanted.

Runs once in each interpreter; from then on `_rwsgi` can be imported. The server puts in `SOURCES`:
{module name: (is a package, text)}, and `NATIVE`: functions of its own that the modules of `_rwsgi`
find among their globals.
"""

import sys
from importlib.machinery import ModuleSpec


class Embedded:
    """Loader of one embedded module; tracebacks show its lines."""

    def __init__(self, name):
        self.package, self.text = SOURCES[name]
        self.path = f"<rwsgi>/{name.replace('.', '/')}{'/__init__' if self.package else ''}.py"

    def create_module(self, spec):
        return None

    def is_package(self, name):
        return self.package

    def get_source(self, name):
        return self.text

    def get_filename(self, name):
        return self.path

    def get_code(self, name):
        return compile(self.text, self.path, "exec", dont_inherit=True)

    def exec_module(self, module):
        if module.__name__.startswith("_rwsgi."):
            module.__dict__.update(NATIVE)
        exec(self.get_code(module.__name__), module.__dict__)


class Finder:
    """Finds the embedded modules below one top-level name."""

    def __init__(self, top):
        self.top = top

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] != self.top or name not in SOURCES:
            return None
        loader = Embedded(name)
        spec = ModuleSpec(name, loader, origin=loader.path, is_package=loader.package)
        spec.has_location = True
        return spec


_gunicorn = Finder("gunicorn")
sys.meta_path.append(Finder("_rwsgi"))


def provide(when):
    """Makes `gunicorn` importable: auto, always or never."""
    if _gunicorn in sys.meta_path:
        sys.meta_path.remove(_gunicorn)
    if when == "always":
        sys.meta_path.insert(0, _gunicorn)
    elif when == "auto":
        sys.meta_path.append(_gunicorn)
