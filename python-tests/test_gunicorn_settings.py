"""The settings of the Gunicorn that is installed, against what the sources say of them.

A release of Gunicorn that adds, removes or changes a setting fails here, with its name.
"""

from __future__ import annotations

import importlib.util
import inspect
import re
import subprocess

import pytest
from support.server import ROOT, clean_environment, server_command

config = pytest.importorskip("gunicorn.config")

TABLE = (ROOT / "gunicorn-compat.toml").read_text()
#: {name: the text of its row}
ROWS = {name: row for name, row in re.findall(r"^\[(\w+)\]\n(.*?)(?=^\[|\Z)", TABLE, re.M | re.S)}


def theirs() -> dict:
    return {setting.name: setting for setting in config.KNOWN_SETTINGS}


def our_settings():
    """The module as hooks get it, without the server around it."""
    spec = importlib.util.spec_from_file_location("our_settings", ROOT / "src/python/compat/_rwsgi/settings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_setting_has_a_row():
    names = sorted(theirs(), key=lambda name: theirs()[name].order)
    assert [name for name in names if name not in ROWS] == [], "new in Gunicorn: what becomes of them?"
    assert [name for name in ROWS if name not in names] == [], "gone from Gunicorn"
    assert len(ROWS) == TABLE.count("\nstatus = ")


def test_most_are_the_same_or_better():
    assert sum(bool(re.search(r'^status = "(same|differs)"', row, re.M)) for row in ROWS.values()) >= 90


def test_what_differs_says_how_and_why():
    wanted = {"same": (), "differs": ("how", "why"), "no-effect": ("why",), "refused": ("why", "instead")}
    for name, row in ROWS.items():
        status = re.search(r'^status = "(.*)"', row, re.M)[1]
        for key in wanted[status]:
            assert re.search(rf'^{key} = "\S', row, re.M), f"{name}: {key}"


def test_every_flag_is_understood():
    """In the help, or in the row of what is no setting here."""
    shown = subprocess.run([*server_command(), "--help"], env=clean_environment(), capture_output=True, text=True, timeout=60).stdout
    known = set(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", shown))
    for name, setting in theirs().items():
        row = set(re.findall(r'"(-[^"]+)"', ROWS[name]))
        assert not set(setting.cli or ()) - known - row, name


def test_the_defaults_hooks_see():
    ours = our_settings()
    assert list(ours.DEFAULTS) == sorted(theirs(), key=lambda name: theirs()[name].order)
    # Of the process that asks; of the place Gunicorn would put its control socket; of the ssl module.
    own = {"chdir", "user", "group", "workers", "bind", "control_socket", "ssl_version", "cert_reqs", "forwarded_allow_ips"}
    differing = {}
    for name, setting in theirs().items():
        default = setting().get()
        if name not in own and not callable(default) and ours.DEFAULTS[name] != default:
            differing[name] = ours.DEFAULTS[name], default
    assert differing == {}


def test_hooks_take_what_theirs_take():
    """How many arguments: by that Gunicorn tells whether a function is a hook."""
    hooks = our_settings().HOOKS
    counts = {name: len(inspect.signature(setting.default).parameters) for name, setting in theirs().items() if name in hooks}
    assert counts == {name: len(arguments) for name, arguments in hooks.items()}
