"""The server's own Python code: what configuration files and hooks see of it.

Held by the server's binary and imported from there. The module `gunicorn` that is provided where
the real one is missing is made of the same parts.
"""


def __getattr__(name):
    if name in ("FileWrapper", "load"):
        import _rwsgi_support

        return getattr(_rwsgi_support, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
