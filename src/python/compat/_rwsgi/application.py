"""Runs programs that are their own configuration: Gunicorn's `BaseApplication` and its kin."""

import os
import sys


def run(application):
    """Serves `application` until the server ends, then ends the program, as Gunicorn does."""
    sys.exit(_serve(application))


def main(arguments):
    """The server as its own program."""
    sys.exit(_main(arguments))


def command(executable):
    """What starts this program again."""
    if executable:
        return [os.fspath(executable), "--script", os.path.abspath(sys.argv[0]), *sys.argv[1:]]
    return list(getattr(sys, "orig_argv", None) or [sys.executable, *sys.argv])


def name(application):
    kind = type(application)
    return f"{kind.__module__}:{kind.__qualname__.rpartition('.')[2]}"


def arguments(application):
    """The command line, where the program leaves it to the server to understand it."""
    return getattr(application, "_command_line", None)


def settings(application, again):
    """[(name, value, None)] of what the program has set."""
    if again:
        application.reload()
    found = []
    for key, setting in application.cfg.settings.items():
        value = setting.get()
        if value is not setting.default and value != setting.default and key not in _OWN:
            found.append((key, value, None))
    return found


# The surroundings' own, unless the program says otherwise.
_OWN = {"user", "group", "chdir", "config", "default_proc_name"}


def loader(application):
    return application.wsgi


def script(path, arguments):
    """Runs a program as `python PATH ARGUMENTS` does; returns its exit code."""
    import runpy
    import traceback

    sys.argv = [path, *arguments]
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException as error:
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_code.co_filename in (__file__, runpy.__file__, "<frozen runpy>"):
            frames = frames.tb_next
        traceback.print_exception(type(error), error, frames)
        return 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    return 0
