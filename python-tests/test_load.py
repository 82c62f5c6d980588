"""The load program against the server: no request is lost but inside a worker killed by SIGKILL."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from support.server import ROOT, server_command

#: All that may happen to the service; a run of minutes by hand is `python python-tests/load`.
ACTIONS = os.environ.get("LOAD_ACTIONS", "hup,kill,deploy,broken,usr2,ttin,ttou,scale,usr1,hup,kill,usr2")


@pytest.mark.load
@pytest.mark.timeout(300)
@pytest.mark.parametrize("arguments", [["--workers", "3", "--max-requests", "50", "--max-requests-jitter", "20"], ["--workers", "3", "--preload"]], ids=" ".join)
def test_load(arguments):
    seconds = os.environ.get("LOAD_SECONDS", "60")
    done = subprocess.run(
        [sys.executable, ROOT / "python-tests" / "load", "--seconds", seconds, "--actions", ACTIONS, "--", *server_command(), *arguments],
        capture_output=True, text=True, timeout=280,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
