"""Fixtures: a server under test, for one test (`serve`) or for a whole module (`serve_module`).

What is tested is found by `support.server.server_command`: $SERVER, $RWSGI, or the last build.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from support.conf import Configured  # noqa: E402
from support.server import Servers, server_command  # noqa: E402
from support.tls import Authority  # noqa: E402


def pytest_report_header(config):
    try:
        return f"server under test: {shlex.join(server_command())}"
    except FileNotFoundError as missing:
        return f"server under test: {missing}"


@pytest.fixture
def serve(tmp_path):
    """Starts servers that end with the test; each has to exit cleanly and leave nobody behind."""
    servers = Servers(tmp_path)
    try:
        yield servers
    finally:
        servers.finish()


@pytest.fixture
def configured(serve, tmp_path):
    """Servers run from a Python configuration file in a directory of the test's own."""
    return Configured(serve, tmp_path)


@pytest.fixture(scope="module")
def serve_module(tmp_path_factory):
    """As `serve`, but the servers live as long as the module's tests."""
    servers = Servers(tmp_path_factory.mktemp("module"))
    try:
        yield servers
    finally:
        servers.finish()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure is shown with what its servers logged."""
    report = (yield).get_result()
    if report.when != "call" or not report.failed:
        return
    for name in ("serve", "serve_module"):
        for server in getattr(item.funcargs.get(name), "running", []):
            lines = server.log.lines[-80:]
            report.sections.append((f"log of {shlex.join(server.argv)}", "\n".join(lines)))


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """Who signs a module's certificates."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def site(authority):
    """The certificate of the server under test."""
    return authority.issue("site")
