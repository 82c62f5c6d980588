"""The siege, short: slow clients, floods, resets and half-open connections beside normal traffic. What
may be said about times on a busy machine is little; see siege/ for the size that says more."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from support.server import ROOT, server_command

SHORT = ("--slow 1000 --drip 2 --rate 200 --peace 3 --seconds 6 --storm 100 --flood 2000 --resets 1000 --flood-rate 500"
         " --half-open 200 --factor 100 --floor 500")


@pytest.mark.load
@pytest.mark.timeout(300)
@pytest.mark.parametrize("threads", ["1", "4"])
def test_siege(threads):
    arguments = os.environ.get("SIEGE", SHORT).split()
    command = [*server_command(), "--workers", "2", "--threads", threads, "--worker-connections", "3000",
               "--header-timeout", "3", "--body-timeout", "3", "--write-timeout", "3"]
    done = subprocess.run([sys.executable, ROOT / "python-tests" / "siege", *arguments, "--", *command],
                          capture_output=True, text=True, timeout=280)
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
