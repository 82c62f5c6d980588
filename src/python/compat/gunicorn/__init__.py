"""Gunicorn's module, as far as configurations and programs use it, provided by rwsgi.

The version is that of the Gunicorn whose behaviour rwsgi follows. rwsgi's own is in __rwsgi__.
"""

version_info = (27, 0, 1)
__version__ = ".".join(map(str, version_info))
SERVER = "gunicorn"
SERVER_SOFTWARE = f"{SERVER}/{__version__}"
__rwsgi__ = True
