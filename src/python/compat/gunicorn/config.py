"""Settings."""

import os

from _rwsgi.settings import DEFAULTS, HOOKS, Config, Setting, make_settings

KNOWN_SETTINGS = [type(name, (Setting,), {"name": name, "default": default}) for name, default in DEFAULTS.items()]


def get_default_config_file():
    path = os.path.join(os.path.abspath(os.getcwd()), "gunicorn.conf.py")
    return path if os.path.exists(path) else None
