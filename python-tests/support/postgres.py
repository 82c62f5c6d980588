"""A PostgreSQL server of the tests' own, in a temporary directory, reached by a unix socket there.

It refuses to run as root, so that it runs as the user postgres then (Debian's package makes it), or nobody.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from support.server import Output, eventually


def programs() -> Path:
    """The directory of initdb and postgres, or a skip: Debian keeps them off PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    path = found[-1] if found else shutil.which("postgres")
    return Path(path).resolve().parent if path else pytest.skip("PostgreSQL is not installed (Debian: postgresql)")


def account() -> dict:
    """Whom to run it as, for subprocess: ourselves, unless that is root."""
    if os.getuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    entry = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


class Postgres:
    def __init__(self):
        where = programs()
        # Directly in /tmp: the path of a unix socket is short, and the other user can get there.
        self.directory = Path(tempfile.mkdtemp(prefix="rwsgi-pg-", dir="/tmp"))
        who = account()
        if who:
            os.chown(self.directory, who["user"], who["group"])
        common = {"cwd": self.directory, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}, "stdin": subprocess.DEVNULL, **who}
        self.process = None
        try:
            subprocess.run([where / "initdb", "-D", "data", "-U", "tests", "--auth=trust", "--encoding=UTF8", "--no-sync"],
                           check=True, capture_output=True, timeout=120, **common)
            # Nothing listens on the network; what is lost in a crash does not matter.
            self.process = subprocess.Popen([where / "postgres", "-D", "data", "-k", self.directory, "-c", "listen_addresses=", "-c", "fsync=off",
                                             "-c", "max_connections=60", "-c", "log_connections=on"],
                                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **common)
            self.log = Output(self.process.stderr)
            self.log.wait("database system is ready to accept connections")
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """For SQLAlchemy."""
        return f"postgresql+psycopg://tests@/postgres?host={self.directory}"

    def stop(self) -> None:
        try:
            if self.process and self.process.poll() is None:
                # Immediate shutdown: its data goes anyway, and clients that are still there do not hold it up.
                self.process.send_signal(3)
                eventually(lambda: self.process.poll() is not None, "the end of PostgreSQL")
        finally:
            if self.process and self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            shutil.rmtree(self.directory, ignore_errors=True)
