"""One wheel for every CPython: the same file installed everywhere, and started every way it can be.

The wheel is the one $RWSGI_WHEEL names, or a debug build made here with maturin.
"""

from __future__ import annotations

import ast
import csv
import email
import io
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import requests
from support.server import ROOT, clean_environment, needs_program
from test_gunicorn_module import STANDALONE

# One process builds the wheel, and two compilers at once would wait for each other anyhow.
pytestmark = [pytest.mark.interpreters, pytest.mark.xdist_group("wheel"), pytest.mark.timeout(900)]

BIN = Path(sys.executable).parent

APP = """
import json, sys

def application(environ, start_response):
    core = [m for name, m in sys.modules.items() if name in ("rwsgi._core", "rwsgi_core")]
    facts = dict(version=sys.version, prefix=sys.prefix, executable=sys.executable, path=sys.path,
                 argv=sys.argv, core=[m.__spec__.origin for m in core], name=[m.__name__ for m in core])
    body = json.dumps(facts).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
"""


def run(*command, cwd=ROOT, check=True, **env):
    done = subprocess.run([str(word) for word in command], cwd=cwd, env=clean_environment(**env),
                          capture_output=True, text=True)
    assert not check or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def pip(venv: Path, *packages: str) -> None:
    """Installs from PyPI. Where that cannot be reached the test is skipped, but not in CI."""
    done = run(venv / "bin/python", "-m", "pip", "install", "--quiet", *packages, check=False)
    if done.returncode and "Failed to establish a new connection" in done.stderr and "CI" not in os.environ:
        pytest.skip("PyPI cannot be reached")
    assert done.returncode == 0, done.stderr


def pythons() -> list[Path]:
    """Every CPython 3.10 or newer here: pyenv's, Debian's, this one."""
    found = {}
    for python in [*Path.home().glob(".pyenv/versions/*/bin/python3"), Path("/usr/bin/python3"), Path(sys.executable)]:
        question = "import sys; print(sys.implementation.name, sys.version_info >= (3, 10), sys.abiflags, sys.base_prefix)"
        answer = subprocess.run([python, "-c", question], capture_output=True, text=True)
        if answer.returncode == 0 and answer.stdout.startswith("cpython True") and " t " not in answer.stdout:
            found.setdefault(answer.stdout, python)
    return sorted(found.values())


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    if named := os.environ.get("RWSGI_WHEEL"):
        return Path(named).resolve()
    needs_program("cargo")
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "maturin", "build", "--profile", "dev", "--out", out)
    [built] = out.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def environments(wheel, tmp_path_factory):
    """`environments(python)`: a fresh virtual environment of it with the wheel in it."""
    made: dict[Path, Path] = {}

    def make(python: Path) -> Path:
        if python not in made:
            venv = tmp_path_factory.mktemp("env") / "venv"
            run(sys.executable, "-m", "virtualenv", "--quiet", "--python", python, venv)
            run(venv / "bin/python", "-m", "pip", "install", "--quiet", "--no-index", wheel)
            made[python] = venv
        return made[python]

    return make


@pytest.fixture
def app(tmp_path) -> Path:
    (tmp_path / "facts.py").write_text(APP)
    return tmp_path


def facts(serve, command, app, *args, **env) -> dict:
    server = serve("facts", *args, command=[str(word) for word in command], chdir=app, cwd=app.parent,
                   env={"VIRTUAL_ENV": None, **env})
    return requests.get(server.url(), timeout=30).json()


# The file


def test_what_the_wheel_holds(wheel):
    assert re.fullmatch(r"rwsgi-[\w.]+-cp310-abi3-(manylinux|musllinux|linux)\w+\.whl", wheel.name)
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [launcher] = [name for name in names if name.endswith(".data/scripts/rwsgi")]
        assert {"rwsgi/__init__.py", "rwsgi/__main__.py", "rwsgi/_core.abi3.so", "rwsgi/_core.pyi",
                "rwsgi/py.typed"} <= set(names)
        assert any(name.endswith(".data/data/share/man/man1/rwsgi.1") for name in names)
        assert archive.getinfo(launcher).external_attr >> 16 & stat.S_IXUSR
        # One file serves the launcher's own search and `import rwsgi._core`.
        core = archive.read("rwsgi/_core.abi3.so")
        assert b"PyInit__core\0" in core and b"PyInit_rwsgi_core\0" in core
        # Neither is tied to one version of Python.
        for binary in (core, archive.read(launcher)):
            assert binary.startswith(b"\x7fELF")
            assert not re.search(rb"\0libpython3?[.\d]*so[.\d]*\0", binary)
        [record] = [name for name in names if name.endswith(".dist-info/RECORD")]
        assert {row[0] for row in csv.reader(io.TextIOWrapper(archive.open(record)))} == set(names)


def test_metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(archive.read(name))
        assert any(name.endswith(".dist-info/licenses/LICENSE") for name in archive.namelist())
    manifest = (ROOT / "Cargo.toml").read_text()
    assert metadata["Name"] == "rwsgi"
    assert metadata["Version"] == re.search(r'^version = "(.*)"', manifest, re.M)[1]
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.10"
    assert "Topic :: Internet :: WWW/HTTP :: WSGI :: Server" in metadata.get_all("Classifier")
    assert metadata["Description-Content-Type"].startswith("text/markdown")
    assert metadata.get_payload().startswith("# rwsgi")
    assert metadata.get_all("Requires-Dist") is None, "nothing else is needed"


# Every interpreter


def test_a_paste_file_that_names_it_as_its_server(environments, serve, app):
    venv = environments(pythons()[0])
    run(venv / "bin/python", "-m", "pip", "install", "--quiet", "PasteDeploy", "setuptools<81")
    (app / "site.ini").write_text(f"""
[app:main]
paste.app_factory = made:make

[server:main]
use = egg:rwsgi
host = 127.0.0.1
port = 0
workers = 2
timeout = 40
""")
    (app / "made.py").write_text("import facts\ndef make(global_conf, **local): return facts.application\n")
    start = ("import sys; sys.path.insert(0, '.'); from paste.deploy import loadapp, loadserver; uri = 'config:' + sys.argv[1]; "
             "loadserver(uri)(loadapp(uri))")
    server = serve(None, command=[str(venv / "bin/python"), "-c", start, str(app / "site.ini")], bind=(), chdir=None, cwd=app,
                   env={"VIRTUAL_ENV": None})
    assert Path(requests.get(server.url(), timeout=30).json()["prefix"]).samefile(venv)
    assert len(server.booted(2)) == 2


@pytest.fixture
def alias(environments):
    """An environment in which the name `gunicorn` is rwsgi's while the test runs."""
    venv = environments(pythons()[0])
    run(venv / "bin/python", "-m", "rwsgi.gunicorn_alias")
    yield venv
    run(venv / "bin/python", "-m", "rwsgi.gunicorn_alias", "--remove")


def test_the_command_gunicorn_on_request(environments, serve, app):
    venv = environments(pythons()[0])
    alias, link = [venv / "bin/python", "-m", "rwsgi.gunicorn_alias"], venv / "bin/gunicorn"
    [package] = [path / "gunicorn" for path in venv.glob("lib/python*/site-packages")]
    assert not link.exists() and not package.exists(), "not by default"
    run(*alias)
    run(*alias)
    assert Path(facts(serve, [link], app, "--workers", "2")["prefix"]).samefile(venv)
    run(*alias, "--remove")
    assert not link.is_symlink() and not package.exists()
    link.write_text("the real one")
    for arguments in ([], ["--remove"], ["--nonsense"]):
        refused = subprocess.run([*alias, *arguments], capture_output=True, text=True)
        assert refused.returncode == 1 and refused.stderr
    assert link.read_text() == "the real one" and not package.exists()
    link.unlink()
    package.mkdir()
    (package / "__init__.py").write_text("# the real one")
    for arguments in ([], ["--remove"]):
        assert run(*alias, *arguments, check=False).returncode == 1
    assert not link.is_symlink() and (package / "__init__.py").read_text() == "# the real one"
    shutil.rmtree(package)


def test_the_module_gunicorn_on_request(alias, serve, app):
    seen = facts(serve, [alias / "bin/python", "-m", "gunicorn"], app, "--workers", "2")
    assert Path(seen["prefix"]).samefile(alias)
    names = run(alias / "bin/python", "-c", "import gunicorn, gunicorn.app.base as b, gunicorn.glogging as g; "
                "print(gunicorn.__version__, gunicorn.__rwsgi__, b.BaseApplication.__module__, g.Logger.__name__)").stdout
    assert names.split() == ["27.0.1", "True", "gunicorn.app.base", "Logger"]
    # In the server it is the server's own, also in one that is started from elsewhere.
    (app / "gunicorn.conf.py").write_text("import gunicorn\ndef when_ready(server): server.log.info('with %s', gunicorn.__file__)\n")
    for command in (alias / "bin/rwsgi", alias / "bin/gunicorn"):
        server = serve("facts", command=[str(command)], chdir=app, cwd=app, env={"VIRTUAL_ENV": None})
        server.log.wait("with <rwsgi>/gunicorn/__init__.py")
    other = serve("facts", "--venv", str(alias), chdir=app, cwd=app, env={"VIRTUAL_ENV": None})
    other.log.wait("with <rwsgi>/gunicorn/__init__.py")


def test_a_program_derived_from_gunicorn_run_by_plain_python(alias, serve, tmp_path):
    """The recipe of Gunicorn's documentation, unchanged; upgraded, too."""
    (tmp_path / "standalone.py").write_text(STANDALONE)
    server = serve(None, command=[str(alias / "bin/python"), "standalone.py"], bind=(), chdir=None, cwd=tmp_path,
                   env={"VIRTUAL_ENV": None})
    assert requests.get(server.url(), timeout=30).text == "Works fine"
    server.kill(signal.SIGHUP)
    server.log.wait("Reload complete")
    server.kill(signal.SIGUSR2)
    server.log.wait("Listening at:", 2)
    successor = int(server.log.find(r"Listening at: .* \((\d+)\)")[1][1])
    try:
        server.log.wait("Booting worker with pid", count=6)
        server.kill(signal.SIGTERM)
        assert server.wait() == 0
        assert requests.get(server.url(), timeout=30).text == "Works fine"
    finally:
        os.kill(successor, signal.SIGTERM)
    server.log.wait_end()


def test_mlflow(wheel, serve, tmp_path):
    """`mlflow server` starts `python -m gunicorn` with its own workers' number and options."""
    venv = tmp_path / "venv"
    run(sys.executable, "-m", "virtualenv", "--quiet", "--python", sys.executable, venv)
    # mlflow asks for a good deal that its server does not need.
    needed = ["mlflow-skinny==2.22.5", "Flask<4", "SQLAlchemy<2.1", "alembic<2", "graphene<4", "gunicorn<24", "numpy<3", "pandas<3"]
    pip(venv, *needed)
    pip(venv, "--no-deps", "mlflow==2.22.5")
    run(venv / "bin/python", "-m", "pip", "uninstall", "--quiet", "--yes", "gunicorn")
    run(venv / "bin/python", "-m", "pip", "install", "--quiet", "--no-index", wheel)
    run(venv / "bin/python", "-m", "rwsgi.gunicorn_alias")
    options = ["--host", "127.0.0.1", "--port", "0", "--workers", "2", "--gunicorn-opts", "--access-logfile - --timeout 60"]
    server = serve(None, "server", "--backend-store-uri", f"sqlite:///{tmp_path}/store.db", *options, command=[str(venv / "bin/mlflow")],
                   bind=(), chdir=None, cwd=tmp_path, listens=False, env={"VIRTUAL_ENV": None})
    server.wait_listening(patience=120)
    server.log.wait("Starting rwsgi")
    assert len(set(server.booted(2))) == 2

    assert requests.get(server.url("/health"), timeout=60).text == "OK"
    page = requests.get(server.url(), timeout=60)
    assert page.headers["Server"] == "rwsgi" and "<title>MLflow</title>" in page.text
    api = server.url("/api/2.0/mlflow")
    experiment = requests.post(f"{api}/experiments/create", json={"name": "one"}, timeout=60).json()["experiment_id"]
    made = requests.post(f"{api}/runs/create", json={"experiment_id": experiment}, timeout=60).json()
    run_id = made["run"]["info"]["run_id"]
    metric = {"run_id": run_id, "key": "loss", "value": 0.25, "timestamp": 1}
    assert requests.post(f"{api}/runs/log-metric", json=metric, timeout=60).status_code == 200
    read = requests.get(f"{api}/runs/get", params={"run_id": run_id}, timeout=60).json()["run"]
    assert [(m["key"], m["value"]) for m in read["data"]["metrics"]] == [("loss", 0.25)]
    server.out.wait('"GET /api/2.0/mlflow/runs/get.* 200 ')

    # What a terminal does: everybody of the foreground is interrupted.
    os.killpg(server.pid, signal.SIGINT)
    server.wait()
    server.finished = True
    assert "Shutting down: Master" in server.log.wait_end()


@pytest.mark.parametrize("python", pythons(), ids=str)
def test_every_interpreter(python, environments, serve, app):
    venv = environments(python)
    for command in ([venv / "bin/rwsgi"], [venv / "bin/python", "-m", "rwsgi"]):
        seen = facts(serve, command, app)
        asked = run(venv / "bin/python", "-c", "import sys; print(sys.version); print(sys.prefix)").stdout
        assert f"{seen['version']}\n{seen['prefix']}\n" == asked
        assert Path(seen["prefix"]).samefile(venv)
        assert seen["argv"][0] == "rwsgi"
        # The application's directory first, and not where the server was started.
        assert seen["path"][0] == str(app) and str(app.parent) not in seen["path"] and "" not in seen["path"]
        assert [Path(core).name for core in seen["core"]] == ["_core.abi3.so"]
        assert Path(seen["core"][0]).is_relative_to(venv)


@pytest.mark.parametrize("python", pythons(), ids=str)
def test_what_can_be_imported(python, environments):
    """The stub says what is there, no more and no less."""
    venv = environments(python)
    question = "import rwsgi, rwsgi._core as c; print([n for n in dir(c) if n[:2] != '__' or n == '__version__']); print(rwsgi.__version__, rwsgi.__all__)"
    names, line = run(venv / "bin/python", "-c", question).stdout.splitlines()
    tree = ast.parse((ROOT / "python/rwsgi/_core.pyi").read_text())
    declared = {n.name for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    declared |= {n.target.id for n in tree.body if isinstance(n, ast.AnnAssign)}
    assert set(ast.literal_eval(names)) == declared
    listed = run(venv / "bin/python", "-m", "pip", "show", "rwsgi").stdout
    assert re.search(r"^Version: (.*)$", listed, re.M)[1] == line.split()[0]
    assert run(venv / "bin/rwsgi", "--version").stdout == run(venv / "bin/python", "-m", "rwsgi", "--version").stdout


def test_an_older_python_is_refused(wheel, tmp_path):
    old = sorted(Path.home().glob(".pyenv/versions/3.9.*/bin/python"))
    if not old:
        pytest.skip("no Python 3.9 here")
    run(sys.executable, "-m", "virtualenv", "--quiet", "--python", old[0], tmp_path / "venv")
    done = run(tmp_path / "venv/bin/python", "-m", "pip", "install", "--no-index", wheel, check=False)
    assert done.returncode != 0 and "not a supported wheel" in done.stderr


# Every way


def uv(*args, **env):
    return run(BIN / "uv" if (BIN / "uv").exists() else needs_program("uv"), *args, UV_OFFLINE="1", **env)


def test_uv_pip(wheel, tmp_path, serve, app):
    uv("venv", "--python", pythons()[-1], tmp_path / "venv")
    uv("pip", "install", "--python", tmp_path / "venv/bin/python", wheel)
    seen = facts(serve, [tmp_path / "venv/bin/rwsgi"], app)
    assert Path(seen["prefix"]).samefile(tmp_path / "venv") and seen["name"] == ["rwsgi._core"]


def test_uv_tool_serves_an_environment_that_has_no_rwsgi(wheel, tmp_path, serve, app):
    """Installed once for all applications: the link leads to its own environment, --venv elsewhere."""
    home = {"UV_TOOL_DIR": str(tmp_path / "tools"), "UV_TOOL_BIN_DIR": str(tmp_path / "bin")}
    uv("tool", "install", "--python", pythons()[0], wheel, **home)
    command = tmp_path / "bin/rwsgi"
    assert command.is_symlink()
    assert Path(facts(serve, [command], app)["prefix"]).samefile(tmp_path / "tools/rwsgi")
    for python in pythons():
        other = tmp_path / f"other-{pythons().index(python)}"
        run(sys.executable, "-m", "virtualenv", "--quiet", "--no-pip", "--python", python, other)
        for args, env in ([["--venv", other], {}], [[], {"RWSGI_VENV": str(other)}]):
            seen = facts(serve, [command], app, *args, **env)
            assert Path(seen["prefix"]).samefile(other)
            assert Path(seen["core"][0]).is_relative_to(tmp_path / "tools"), "its own core, lent"


def test_a_link_from_elsewhere_as_pipx_makes_it(environments, tmp_path, serve, app):
    venv = environments(Path(sys.executable) if Path(sys.executable) in pythons() else pythons()[0])
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/rwsgi").symlink_to(venv / "bin/rwsgi")
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    # Neither the active environment nor the first python on PATH is meant.
    seen = facts(serve, ["/usr/bin/env", "rwsgi"], app, PATH=path)
    assert Path(seen["prefix"]).samefile(venv)


def test_the_environment_s_own_package_goes_first(environments, serve, app, tmp_path):
    a, b = [environments(python) for python in (pythons()[0], pythons()[-1])]
    seen = facts(serve, [a / "bin/rwsgi"], app, "--venv", b)
    assert Path(seen["prefix"]).samefile(b) and Path(seen["core"][0]).is_relative_to(b)


def test_an_upgrade_of_what_was_started_with_m(environments, serve, app):
    """USR2 starts the command of the same environment."""
    venv = environments(pythons()[0])
    server = serve("facts", command=[str(venv / "bin/python"), "-m", "rwsgi"], chdir=app, env={"VIRTUAL_ENV": None})
    server.kill(signal.SIGUSR2)
    successor = int(server.log.wait(r"New master started with pid: (\d+)")[1])
    server.log.wait("Booting worker with pid", count=2)
    try:
        server.kill(signal.SIGTERM)
        assert server.wait() == 0
        assert Path(requests.get(server.url(), timeout=30).json()["prefix"]).samefile(venv)
    finally:
        os.kill(successor, signal.SIGTERM)
    server.log.wait_end()


# From source


def test_a_source_distribution_builds(tmp_path, serve, app):
    """What pip does with the source: unpack it anywhere, call the build backend."""
    needs_program("cargo")
    run(sys.executable, "-m", "maturin", "sdist", "--out", tmp_path)
    [source] = tmp_path.glob("*.tar.gz")
    target = tmp_path / "site"
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation",
        "--config-settings", "build-args=--profile=dev", "--target", target, source,
        PATH=f"{BIN}:{os.environ['PATH']}", CARGO_TARGET_DIR=os.environ.get("CARGO_TARGET_DIR", str(ROOT / "target")))
    seen = facts(serve, [target / "bin/rwsgi", "--python", sys.executable], app, PYTHONPATH=str(target))
    assert Path(seen["core"][0]) == target / "rwsgi/_core.abi3.so"
    assert shutil.which("man") is None or "NAME" in run("man", "-l", target / "share/man/man1/rwsgi.1").stdout
