"""The same done to Gunicorn and to the server under test, so that the two can be compared."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from support.server import Servers, eventually, server_command
from support.wire import Wire

#: Answers with environ; other paths do what their names say.
APP = '''
import json, logging, os, time

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/raise":
        raise ValueError("as asked")
    if path == "/sleep":
        time.sleep(60)
    if path == "/exit":
        os._exit(9)
    if path == "/metric":
        logging.getLogger("gunicorn.error").info("told", extra={"metric": "own.metric", "value": 3, "mtype": "gauge"})
    shown = dict(os.environ) if path == "/variables" else environ
    body = json.dumps({k: v if isinstance(v, (str, bool, int, list, tuple)) else "object" for k, v in shown.items()}).encode()
    start_response("200 OK", [("Content-Length", str(len(body))), ("X-Out", 'a"b'), ("X-Twice", "1"), ("X-Twice", "2")])
    return [body]
'''

GUNICORN = str(Path(sys.executable).with_name("gunicorn"))


class Twin:
    """One of the two: a directory of its own with the application and a configuration file."""

    def __init__(self, name: str, directory: Path, configuration: str):
        directory.mkdir()
        self.name, self.directory = name, directory
        self.servers = Servers(directory)
        self.notes_file = directory / "notes"
        (directory / "hello.py").write_text(APP)
        (directory / "gunicorn.conf.py").write_text(configuration)

    @property
    def command(self) -> list[str]:
        return [GUNICORN] if self.name == "gunicorn" else server_command()

    def start(self, *args, app="hello:app", env=None, **more):
        self.server = self.servers(app, *args, command=self.command, chdir=None, cwd=self.directory,
                                   env={"NOTES": str(self.notes_file), **(env or {})}, **more)
        return self.server

    def ask(self, request: bytes | str = "/") -> bytes:
        """What comes back for these bytes, or for a GET of this path."""
        if isinstance(request, str):
            request = f"GET {request} HTTP/1.1\r\nHost: example\r\nConnection: close\r\n\r\n".encode()
        with Wire(self.server.address) as wire:
            return wire.send(request).rest()

    def notes(self, *names: str) -> list[list]:
        """[pid, name, ...] of what hooks have noted."""
        lines = self.notes_file.read_text().splitlines() if self.notes_file.exists() else []
        return [line for line in map(json.loads, lines) if not names or line[1] in names]

    def wait_note(self, name: str, count: int = 1) -> list:
        return eventually(lambda: len(self.notes(name)) >= count and self.notes(name)[count - 1], f"{count} x {name}")


@pytest.fixture
def twins(tmp_path):
    """`twins(configuration, play)`: what `play` returns for Gunicorn, and for the server."""
    pytest.importorskip("gunicorn")
    if "gunicorn" in Path(server_command()[0]).name:
        pytest.skip("Gunicorn itself is under test")
    made: list[Twin] = []

    def both(play, configuration: str = ""):
        results = []
        for name in ("gunicorn", "rwsgi"):
            twin = Twin(name, tmp_path / f"{name}-{len(made)}", configuration)
            made.append(twin)
            results.append(play(twin))
            twin.servers.finish()
        return results

    try:
        yield both
    finally:
        for twin in made:
            for server in twin.servers.running:
                server.destroy()
