"""One build, every interpreter on the machine: each gets a virtual environment with Flask in it.

The environments are kept in .venvs at the project's root, so that only the first run is slow.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from support.server import APPS, ROOT, clean_environment
from support.wire import Wire

QUESTION = "import json, sys; print(json.dumps([sys.implementation.name, sys.version_info[:3], sys._base_executable or sys.executable]))"


def interpreters() -> list[tuple[str, str]]:
    """(label, path) of each CPython >= 3.10 found: pyenv's, the system's, and those on PATH."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates = [*pyenv.glob("*/bin/python"), Path("/usr/bin/python3"), Path("/usr/local/bin/python3"), Path(sys.executable)]
    candidates += [Path(path) for n in range(10, 16) if (path := shutil.which(f"python3.{n}"))]
    found = {}
    for candidate in candidates:
        try:
            answer = subprocess.run([candidate, "-c", QUESTION], capture_output=True, timeout=20, env=clean_environment(VIRTUAL_ENV=None))
            kind, version, path = json.loads(answer.stdout)
        except (OSError, ValueError, subprocess.TimeoutExpired):
            continue
        if kind == "cpython" and version >= [3, 10]:
            found.setdefault(os.path.realpath(path), f"{'.'.join(map(str, version))}-{os.path.realpath(path).strip('/').replace('/', '-')}")
    return [(label, path) for path, label in sorted(found.items())]


def environment(label: str, python: str) -> Path:
    """The virtual environment of an interpreter, made by the first who needs it."""
    (ROOT / ".venvs").mkdir(exist_ok=True)
    with open(ROOT / ".venvs" / f"{label}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return make_environment(label, python)


def make_environment(label: str, python: str) -> Path:
    pinned = [line for line in (ROOT / "python-tests" / "requirements.txt").read_text().splitlines() if re.match("(?i)flask==", line)]
    home = ROOT / ".venvs" / label
    ready = home / ("ready-" + pinned[0].lower().replace("==", "-"))
    if ready.exists():
        return home
    shutil.rmtree(home, ignore_errors=True)
    env = clean_environment(VIRTUAL_ENV=None)
    made = subprocess.run([python, "-m", "venv", home], capture_output=True, text=True, env=env, timeout=120)
    if made.returncode != 0:
        # Debian's python3 comes without ensurepip; virtualenv brings its own pip.
        shutil.rmtree(home, ignore_errors=True)
        again = subprocess.run([sys.executable, "-m", "virtualenv", "-q", "-p", python, home], capture_output=True, text=True, env=env, timeout=120)
        if again.returncode != 0:
            pytest.skip(f"no environment for {python}: {made.stdout[-200:]}{again.stderr[-200:]}")
    subprocess.run([home / "bin" / "python", "-m", "pip", "install", "-q", *pinned], check=True, capture_output=True, env=env, timeout=300)
    ready.touch()
    return home


pytestmark = [
    pytest.mark.interpreters,
    pytest.mark.skipif("SERVER" in os.environ, reason="about rwsgi's search for an interpreter"),
]


@pytest.fixture(params=interpreters(), ids=lambda found: found[0])
def venv(request):
    return environment(*request.param)


@pytest.mark.parametrize("told", ["by VIRTUAL_ENV", "by --venv", "by --python", "by PATH"])
def test_every_interpreter(serve, venv, told):
    arguments, env = [], {"VIRTUAL_ENV": None}
    match told:
        case "by VIRTUAL_ENV": env["VIRTUAL_ENV"] = str(venv)
        case "by --venv": arguments = ["--venv", str(venv)]
        case "by --python": arguments = ["--python", str(venv / "bin" / "python")]
        case "by PATH": env["PATH"] = f"{venv / 'bin'}:{os.environ['PATH']}"
    server = serve("probe:application", *arguments, "--workers", "2", env=env)
    with Wire(server.address) as wire:
        seen = json.loads(wire.get("/where").body)
    plain = subprocess.run([venv / "bin" / "python", "-c", "import json, sys; print(json.dumps([sys.prefix, sys.version_info[:3], sys.path]))"],
                           capture_output=True, env=clean_environment(VIRTUAL_ENV=None), cwd=APPS, check=True)
    prefix, version, path = json.loads(plain.stdout)
    assert (seen["prefix"], seen["version"]) == (prefix, version)
    assert [p for p in seen["sys_path"] if p not in ("", str(APPS))] == [p for p in path if p not in ("", str(APPS))]


def test_flask_on_every_interpreter(serve, venv):
    server = serve("sites.flask_site:app", "--workers", "2", "--venv", str(venv), env={"VIRTUAL_ENV": None})
    with requests.Session() as browser:
        browser.trust_env = False
        assert browser.get(server.url("/")).text == "Hello from Flask"
        assert browser.post(server.url("/login"), data={"name": "Ada"}).json() == {"name": "Ada"}
        assert browser.post(server.url("/upload"), files={"file": ("x", b"y" * 200_000)}, data={"note": "n"}).json()["size"] == 200_000
        assert len(browser.get(server.url("/stream?to=1000")).content.splitlines()) == 1000


def test_an_interpreter_that_is_not_there(serve):
    server = serve("forms", "--python", "/no/such/python", listens=False)
    assert server.wait() in (1, 2)
    assert "/no/such/python" in server.log.wait_end()


def test_an_interpreter_that_is_too_old(serve, tmp_path):
    old = [p for p in Path.home().glob(".pyenv/versions/3.[0-9].*/bin/python")]
    if not old:
        pytest.skip("no old interpreter here")
    server = serve("forms", "--python", str(old[-1]), listens=False)
    assert server.wait() == 1
    said = server.log.wait_end()
    assert "3.10" in said and "Traceback" not in said
