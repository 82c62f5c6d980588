"""rwsgi, a pre-fork WSGI server: the server itself is the extension module ``rwsgi._core``.

The command ``rwsgi`` and ``python -m rwsgi`` are the usual ways to start it. Its settings are
described in the documentation and by ``rwsgi --help``.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Sequence

from rwsgi._core import __version__, provide_gunicorn, serve
from rwsgi._core import main as _main

__all__ = ["__version__", "main", "provide_gunicorn", "serve"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until it is told to stop; returns the exit code.

    *arguments* are those of the command line, by default this process's own. The process becomes
    the server's master: its signals, its title and its children are the server's from here on.
    Call it from the main thread of a process with no other thread.
    """
    if arguments is None:
        arguments = sys.argv[1:]
    # On USR2 the master starts this program again: the command, wherever that can be told.
    command = os.path.join(sysconfig.get_path("scripts"), "rwsgi")
    if "RWSGI_EXECUTABLE" not in os.environ and os.access(command, os.X_OK):
        os.environ["RWSGI_EXECUTABLE"] = command
    return _main([os.fspath(argument) for argument in arguments])
