"""When is "gunicorn.error" given its handler? When the application imports `logging`, and not before.

An application that logs nothing of its own does not pay for the import.
"""

import sys


class _AfterLogging:
    """On sys.meta_path until `logging` is imported."""

    def __init__(self):
        self.level = "info"

    def find_spec(self, name, path=None, target=None):
        if name != "logging":
            return None
        sys.meta_path.remove(self)
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader, self.level)
                return spec
        return None


class _Loader:
    """Loads `logging` as its own loader does, then lends the handler."""

    def __init__(self, loader, level):
        self.loader, self.level = loader, level

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        module.__loader__ = module.__spec__.loader = self.loader
        self.loader.exec_module(module)
        _lend(self.level)


_hook = _AfterLogging()


def _lend(level):
    try:
        from _rwsgi import lent

        lent.lend(level)
    except Exception as error:
        _log("error", f"The logger gunicorn.error cannot be lent: {type(error).__name__}: {error}")


def lend(level):
    _hook.level = level
    if "logging" in sys.modules:
        _lend(level)
    elif _hook not in sys.meta_path:
        sys.meta_path.insert(0, _hook)


def take_back():
    if _hook in sys.meta_path:
        sys.meta_path.remove(_hook)
    lent = sys.modules.get("_rwsgi.lent")
    if lent is not None:
        lent.take_back()
