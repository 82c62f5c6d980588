"""Servers run from a Python configuration file."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

from support.server import eventually
from support.wire import Wire

#: What a file may begin with to note down what happened: `note("name", ...)`.
NOTING = """
import json as _json, os as _os
def note(*what):
    with open(NOTES, "a") as file:
        file.write(_json.dumps([_os.getpid(), *what], default=str) + "\\n")
"""


class Configured:
    """A directory with a configuration file, and servers run from it."""

    def __init__(self, serve, directory: Path):
        self.serve = serve
        self.directory = directory
        self.notes_file = directory / "notes.jsonl"

    def write(self, text: str, name: str = "gunicorn.conf.py") -> Path:
        path = self.directory / name
        noting = f"NOTES = {str(self.notes_file)!r}\n{NOTING}" if "note(" in text else ""
        path.write_text(noting + textwrap.dedent(text))
        return path

    def start(self, text: str | None = None, *args, app="seen:application", name="gunicorn.conf.py", **more):
        if text is not None:
            self.write(text, name)
        if name != "gunicorn.conf.py":
            args = ("-c", name, *args)
        return self.serve(app, *args, cwd=self.directory, **more)

    def notes(self, *names: str) -> list[list]:
        """[pid, name, ...] of what was noted, of these names only if any are given."""
        if not self.notes_file.exists():
            return []
        lines = [json.loads(line) for line in self.notes_file.read_text().splitlines()]
        return [line for line in lines if not names or line[1] in names]

    def wait_note(self, name: str, count: int = 1) -> list:
        return eventually(lambda: len(self.notes(name)) >= count and self.notes(name)[count - 1], f"{count} x {name}")


def environ(server, path="/", *fields) -> dict:
    with Wire(server.address) as wire:
        return json.loads(wire.get(path, *fields).body)
