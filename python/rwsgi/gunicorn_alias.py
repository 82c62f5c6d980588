"""``python -m rwsgi.gunicorn_alias``: the command ``gunicorn`` of this environment becomes rwsgi.

For programs that start ``gunicorn`` themselves. ``--remove`` takes it back. Nothing is put in the
place of a ``gunicorn`` that is installed.
"""

from __future__ import annotations

import os
import sys
import sysconfig

TARGET = "rwsgi"


def main(arguments: list[str]) -> str | None:
    """Does it; returns what is wrong, if anything is."""
    link = os.path.join(sysconfig.get_path("scripts"), "gunicorn")
    ours = os.path.islink(link) and os.readlink(link) == TARGET
    if arguments == ["--remove"]:
        if ours:
            os.unlink(link)
        return None if ours else f"{link} is not an alias of rwsgi: left as it is"
    if arguments:
        return "usage: python -m rwsgi.gunicorn_alias [--remove]"
    if ours:
        return None
    if os.path.lexists(link):
        return f"{link} is there already: uninstall gunicorn from this environment first"
    if not os.access(os.path.join(os.path.dirname(link), TARGET), os.X_OK):
        return f"there is no command rwsgi beside {link}: install the rwsgi package here"
    os.symlink(TARGET, link)
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
