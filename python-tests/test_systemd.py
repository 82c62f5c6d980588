"""The unit files of deploy/, as systemd reads them, and socket activation as it is done by systemd."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

import pytest
from support.server import APPS, ROOT, clean_environment, eventually, server_command
from support.wire import Wire


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path):
    program = tmp_path / "rwsgi"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for name in ("rwsgi.service", "rwsgi.socket"):
        unit = (ROOT / "deploy" / name).read_text()
        # systemd looks whether what is to be started is there.
        (tmp_path / name).write_text(unit.replace("/usr/local/bin/rwsgi", str(program)))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", tmp_path / "rwsgi.service", tmp_path / "rwsgi.socket"],
                          capture_output=True, text=True)
    said = [line for line in (done.stdout + done.stderr).splitlines() if "rwsgi" in line]
    assert done.returncode == 0 and not said, said


@pytest.mark.skipif(not shutil.which("systemd-socket-activate"), reason="systemd is not installed")
def test_sockets_of_systemd_are_served(tmp_path):
    paths = [tmp_path / "one", tmp_path / "two"]
    listens = [f"--listen={path}" for path in paths]
    command = ["systemd-socket-activate", *listens, "-E", "PATH", *server_command(), "--chdir", str(APPS), "probe:application"]
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(command, stderr=log, env=clean_environment(PATH=os.environ["PATH"], VIRTUAL_ENV=sys.prefix))
    try:
        eventually(lambda: all(path.exists() for path in paths), "the sockets")
        for path in paths:
            with Wire(str(path)) as wire:
                assert wire.get("/pid", "Connection: close").status == 200
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, (tmp_path / "log").read_text()
    # They are systemd's, not ours to remove.
    assert all(path.exists() for path in paths)
