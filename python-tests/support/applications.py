"""The environment of the applications (see ../requirements-apps.txt), and commands run in it.

It is made by ../../test. $APPS_VENV names another one.
"""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from support.browser import Browser
from support.server import ROOT, clean_environment

VENV = Path(os.environ.get("APPS_VENV") or ROOT / ".venv-apps")

#: For modules whose applications live there.
marks = [
    pytest.mark.applications,
    # Setting one up is a minute's work for a machine that has nothing else to do.
    pytest.mark.timeout(500),
    pytest.mark.skipif(not (VENV / "bin" / "python").exists(), reason=f"no {VENV}: ./test makes it, from requirements-apps.txt"),
    pytest.mark.skipif("SERVER" in os.environ, reason="another server has to be installed beside the applications"),
]


def run(*words: str | Path, cwd: Path, **env: str) -> str:
    """Runs a command of the environment; the applications' warnings about their own code are not of interest."""
    done = subprocess.run([VENV / "bin" / words[0], *words[1:]], cwd=cwd, capture_output=True, text=True, timeout=400,
                          env=clean_environment(VIRTUAL_ENV=str(VENV), PYTHONWARNINGS="ignore", **env))
    assert done.returncode == 0, f"{words}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


def htpasswd(user: str, password: str) -> str:
    """A line of Apache's file of users, of the form that most understand."""
    return f"{user}:{{SHA}}{base64.b64encode(hashlib.sha1(password.encode()).digest()).decode()}\n"


@pytest.fixture
def start(serve):
    """Starts an application in its environment, and a browser with it."""

    def start(app: str | None, *args: str, env: dict[str, str] | None = None, **more) -> Browser:
        server = serve(app, *args, env={"VIRTUAL_ENV": str(VENV), "PYTHONWARNINGS": "ignore", **(env or {})}, **more)
        return Browser(server)

    return start
