"""The siege, short: slow clients, resets and floods beside normal traffic; see siege/."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from support.server import ROOT, server_command


@pytest.mark.load
@pytest.mark.timeout(300)
@pytest.mark.parametrize("threads", ["1", "4"])
def test_siege(threads):
    arguments = os.environ.get("SIEGE", "--slow 1000 --rate 200 --seconds 6 --storm 200 --flood 2000 --factor 200").split()
    command = [*server_command(), "--workers", "2", "--threads", threads, "--worker-connections", "3000"]
    done = subprocess.run([sys.executable, ROOT / "python-tests" / "siege", *arguments, "--", *command],
                          capture_output=True, text=True, timeout=280)
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
