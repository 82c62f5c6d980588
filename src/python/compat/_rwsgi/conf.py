"""Runs a Python configuration file as Gunicorn does, and says where its variables stand."""

import ast
import importlib
import importlib.machinery
import importlib.util
import os
import sys
import traceback
import types

MODULE_NAME = "__config__"


class Failed(Exception):
    """(problem, line or None, traceback or None)"""


def run(name, directory):
    """[(variable, value, line or None)] of `name`: a path, file:PATH or python:MODULE."""
    directory = os.path.abspath(directory)
    search([directory])
    before = _server_name()
    if name.startswith("python:"):
        module, path = _imported(name.removeprefix("python:"))
    else:
        path = os.path.join(directory, name.removeprefix("file:"))
        module = _executed(path)
    lines = _lines(path)
    variables = [
        (key, value, lines.get(key))
        for key, value in vars(module).items()
        if not key.startswith("__") and not isinstance(value, types.ModuleType)
    ]
    after = _server_name()
    if after != before and not hasattr(module, "server_header"):
        # `gunicorn.SERVER = "..."` is how such files change the Server header.
        variables.append(("server_header", after, None))
    _flush()
    return variables


def search(directories):
    """Puts directories first in sys.path, those that are there already stay where they are."""
    for directory in reversed(directories):
        if directory not in sys.path:
            sys.path.insert(0, directory)


def _executed(path):
    try:
        source = _read(path)
    except OSError as error:
        raise Failed(f"cannot be read: {error.strerror}", None, None) from None
    loader = importlib.machinery.SourceFileLoader(MODULE_NAME, path)
    if path.endswith(".pyc"):
        loader = importlib.machinery.SourcelessFileLoader(MODULE_NAME, path)
    spec = importlib.util.spec_from_file_location(MODULE_NAME, path, loader=loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE_NAME] = module
    try:
        if path.endswith(".pyc"):
            loader.exec_module(module)
        else:
            # Not by the loader: its cache of compiled code takes two edits within a second for one.
            exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:
        raise _failed(error, path) from None
    return module


def _imported(name):
    try:
        if name in sys.modules:
            module = importlib.reload(sys.modules[name])
        else:
            module = importlib.import_module(name)
    except BaseException as error:
        raise _failed(error, None) from None
    return module, getattr(module, "__file__", None)


def _failed(error, path):
    line = None
    if isinstance(error, SyntaxError) and error.filename == path:
        line = error.lineno
    else:
        for frame in traceback.extract_tb(error.__traceback__):
            if frame.filename == path:
                line = frame.lineno
    tb = error.__traceback__
    while tb is not None and tb.tb_frame.f_code.co_filename == __file__:
        tb = tb.tb_next
    text = "".join(traceback.format_exception(type(error), error, tb))
    summary = traceback.format_exception_only(type(error), error)[-1].strip()
    return Failed(f"Failed to read config file: {summary}", line, text)


def _read(path):
    with open(path, "rb") as file:
        return file.read()


def _lines(path):
    """{name: line} of what the file binds at its top level; of several, the last."""
    try:
        tree = ast.parse(_read(path))
    except (OSError, SyntaxError, ValueError, TypeError):
        return {}
    lines = {}
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names = [node.name]
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [(alias.asname or alias.name).partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names = [node.id]
        else:
            names = []
            waiting.extend(ast.iter_child_nodes(node))
        for name in names:
            lines[name] = max(node.lineno, lines.get(name, 0))
    return lines


def _server_name():
    # What is there before the file ran may be a real Gunicorn, whose name is nobody's wish.
    module = sys.modules.get("gunicorn")
    return getattr(module, "SERVER", "gunicorn")


def _flush():
    # What stays in a buffer now would be written by every forked process.
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass


def kind(value):
    """How the server is to take a value: "plain", "path", or the name to show an object by."""
    if value is None or isinstance(value, (bool, int, float, str, list, tuple, dict, set, frozenset)):
        return "plain"
    if isinstance(value, os.PathLike):
        return "path"
    name = getattr(value, "__qualname__", None)
    module = getattr(value, "__module__", None)
    if isinstance(name, str) and isinstance(module, str):
        return f"{module}.{name}"
    return f"{type(value).__module__}.{type(value).__qualname__} object"
