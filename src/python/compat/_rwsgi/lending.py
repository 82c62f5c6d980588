"""What is lent to modules when the application imports them, and not before: "gunicorn.error" a handler
that leads to the server's log, the package `setproctitle` the server's way to write titles.

An application that imports neither pays for neither.
"""

import sys


class _OnImport:
    """On sys.meta_path as long as a module is waited for."""

    def __init__(self):
        #: {module: what is done with it once it is loaded}
        self.awaited = {}

    def find_spec(self, name, path=None, target=None):
        if name not in self.awaited:
            return None
        for finder in list(sys.meta_path):
            find = getattr(finder, "find_spec", None)
            spec = find(name, path, target) if find is not None and finder is not self else None
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader)
                return spec
        return None

    def wait(self, name, what):
        if name in sys.modules:
            return what(sys.modules[name])
        self.awaited[name] = what
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def stop(self, name):
        what = self.awaited.pop(name, None)
        if not self.awaited and self in sys.meta_path:
            sys.meta_path.remove(self)
        return what


class _Loader:
    """Loads a module as its own loader does, then lends what it is to have."""

    def __init__(self, loader):
        self.loader = loader

    def __getattr__(self, name):
        # Who only asks where the module is finds this in the spec.
        if name == "loader":
            raise AttributeError(name)
        return getattr(self.loader, name)

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        module.__loader__ = module.__spec__.loader = self.loader
        self.loader.exec_module(module)
        what = _imports.stop(module.__name__)
        if what is not None:
            what(module)


_imports = _OnImport()


def lend(level):
    def handler(_module):
        try:
            from _rwsgi import lent

            lent.lend(level)
        except Exception as error:
            _log("error", f"The logger gunicorn.error cannot be lent: {type(error).__name__}: {error}")

    _imports.wait("logging", handler)


def take_back():
    _imports.stop("logging")
    lent = sys.modules.get("_rwsgi.lent")
    if lent is not None:
        lent.take_back()


def lend_titles():
    """The package looks for the arguments of Python's in front of the environment, where they are
    only in a process that Python's own program has begun, and that has no title yet."""
    _imports.wait("setproctitle", _give_titles)


def _give_titles(package):
    for module in (package, getattr(package, "_setproctitle", None)):
        if hasattr(module, "setproctitle") and hasattr(module, "getproctitle"):
            module.setproctitle, module.getproctitle = _set_title, _title
