"""``python -m rwsgi.gunicorn_alias``: the name ``gunicorn`` of this environment becomes rwsgi.

For programs that start ``gunicorn`` or ``python -m gunicorn`` themselves, or import it to serve
themselves. ``--remove`` takes it back. Nothing is put in the place of a Gunicorn that is installed.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig

TARGET = "rwsgi"

#: What the package is made of: by this it is known again. The module that the server brings along
#: takes its place: in a server that of this server, which may not be the one installed here.
PACKAGE = '''"""Provided by rwsgi: made by `python -m rwsgi.gunicorn_alias`, which `--remove` takes back."""

import sys

if "_rwsgi_finder" in sys.modules:
    sys.modules["_rwsgi_finder"].provide("always")
else:
    from rwsgi import provide_gunicorn

    provide_gunicorn()
del sys.modules[__name__]
__import__(__name__)
'''


def main(arguments: list[str]) -> str | None:
    """Does it; returns what is wrong, if anything is."""
    if arguments not in ([], ["--remove"]):
        return "usage: python -m rwsgi.gunicorn_alias [--remove]"
    scripts = sysconfig.get_path("scripts")
    link = os.path.join(scripts, "gunicorn")
    package = os.path.join(sysconfig.get_path("purelib"), "gunicorn")
    if arguments:
        return _remove(link, package)
    for path, ours in ((link, _is_our_link(link)), (package, _is_our_package(package))):
        if os.path.lexists(path) and not ours:
            return f"{path} is there already: uninstall gunicorn from this environment first"
    if not os.access(os.path.join(scripts, TARGET), os.X_OK):
        return f"there is no command rwsgi beside {link}: install the rwsgi package here"
    if not os.path.lexists(link):
        os.symlink(TARGET, link)
    os.makedirs(package, exist_ok=True)
    with open(os.path.join(package, "__init__.py"), "w", encoding="utf-8") as file:
        file.write(PACKAGE)
    return None


def _remove(link: str, package: str) -> str | None:
    link_is_ours, package_is_ours = _is_our_link(link), _is_our_package(package)
    if link_is_ours:
        os.unlink(link)
    if package_is_ours:
        shutil.rmtree(package)
    if link_is_ours or package_is_ours:
        return None
    return f"{link} is not an alias of rwsgi: left as it is"


def _is_our_link(path: str) -> bool:
    return os.path.islink(path) and os.readlink(path) == TARGET


def _is_our_package(path: str) -> bool:
    try:
        with open(os.path.join(path, "__init__.py"), encoding="utf-8") as file:
            return file.read() == PACKAGE
    except (OSError, UnicodeDecodeError):
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
