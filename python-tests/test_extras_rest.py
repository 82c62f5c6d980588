"""Settings with a test of their own: PasteDeploy files, SO_REUSEPORT, spew, daemons' streams."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess

import pytest
from support.server import clean_environment, eventually, server_command
from support.wire import Wire

INI = """\
[DEFAULT]
greeting = hello

[app:main]
paste.app_factory = paste_site:factory
name = main

[app:other]
paste.app_factory = paste_site:factory
name = other
set greeting = %(salute)s

[pipeline:filtered]
pipeline = shout main

[filter:shout]
paste.filter_factory = paste_site:shout

[server:main]
use = egg:waitress#main
listen = 127.0.0.1:1

[loggers]
keys = root

[handlers]
keys = console

[formatters]
keys = plain

[logger_root]
level = INFO
handlers = console

[handler_console]
class = StreamHandler
args = (sys.stderr,)
formatter = plain

[formatter_plain]
format = from the ini: %(message)s
"""

SITE = """\
import logging

def factory(global_conf, name, **conf):
    logging.getLogger("site").info("made %s", name)
    text = "%s from %s" % ({**global_conf, **conf}["greeting"], name)
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [text.encode()]
    return application

def shout(global_conf):
    def wrap(app):
        return lambda environ, start_response: [block.upper() for block in app(environ, start_response)]
    return wrap
"""


@pytest.fixture
def paste(tmp_path):
    pytest.importorskip("paste.deploy")
    (tmp_path / "production.ini").write_text(INI)
    (tmp_path / "paste_site.py").write_text(SITE)
    return tmp_path


def get(server, path="/"):
    with Wire(server.address) as wire:
        return wire.get(path)


@pytest.mark.parametrize("uri, expected", [
    ("production.ini", "hello from main"), ("production.ini#filtered", "HELLO FROM MAIN"),
    ("production.ini#other", "good day from other"),
])
def test_an_application_in_a_paste_file(serve, paste, uri, expected):
    server = serve(None, "--paste", uri, "--paste-global", "salute=good day", chdir=None, cwd=paste,
                   env={"PYTHONPATH": str(paste)})
    assert get(server).text == expected
    server.log.wait("from the ini: made ")


def test_a_paste_file_that_is_not_there(serve, paste):
    server = serve(None, "--paste", "missing.ini", chdir=None, cwd=paste, listens=False)
    assert server.wait() == 4
    server.log.wait_end()
    assert "missing.ini" in server.log.text


def test_a_pyramid_deployment(serve, tmp_path):
    pytest.importorskip("pyramid")
    (tmp_path / "development.ini").write_text(
        "[app:main]\npaste.app_factory = shop:main\npyramid.includes =\nshop.title = %(here)s\n"
        "[server:main]\nuse = egg:waitress#main\nlisten = localhost:6543\n"
    )
    (tmp_path / "shop.py").write_text(
        "from pyramid.config import Configurator\nfrom pyramid.response import Response\n"
        "def main(global_config, **settings):\n"
        "    config = Configurator(settings=settings)\n"
        "    config.add_route('home', '/')\n"
        "    config.add_view(lambda request: Response(request.registry.settings['shop.title']), route_name='home')\n"
        "    return config.make_wsgi_app()\n"
    )
    server = serve(None, "--paste", "development.ini", chdir=None, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})
    assert get(server).text == str(tmp_path)


def listening_sockets(port):
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table][1:]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows)


def test_every_worker_listens_for_itself(serve):
    server = serve("extras:application", "--reuse-port", "--workers", "3")
    eventually(lambda: listening_sockets(server.port) == 3, "three sockets, none of the master's")
    pids = eventually(lambda: len(found := {json.loads(get(server).body)["pid"] for _ in range(60)}) == 3 and found, "all")
    os.kill(next(iter(pids)), signal.SIGTERM)

    def newcomers() -> set[int]:
        try:
            return {json.loads(get(server).body)["pid"] for _ in range(60)} - pids
        except ConnectionResetError:
            # What came to a socket of its own between the last accept and its end is reset by the kernel.
            return set()

    eventually(lambda: len(newcomers()) == 1, "the next worker")
    server.kill(signal.SIGHUP)
    server.log.wait("Booting worker", 7)
    eventually(lambda: listening_sockets(server.port) == 3, "three sockets again")
    assert get(server).status == 200


def test_an_address_that_another_holds_is_refused_with_reuse_port(serve):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = serve("extras:application", "--reuse-port", bind=(f"127.0.0.1:{port}",), listens=False)
        assert server.wait() == 1
        server.log.wait_end()
        assert "Connection in use" in server.log.text


def test_spew(serve):
    server = serve("extras:application", "--spew")
    get(server)
    server.out.wait(r"^extras:\d+: +return view\(environ, start_response\)$")


@pytest.mark.parametrize("flags, kept", [((), False), (("-R",), True)])
def test_a_daemons_streams(tmp_path, flags, kept):
    pidfile = tmp_path / "pid"
    with open(tmp_path / "out", "wb") as out:
        subprocess.run([*server_command(), "--daemon", "--bind", "127.0.0.1:0", "--pid", str(pidfile), *flags,
                        "--chdir", os.path.dirname(__file__) + "/apps", "extras:application"],
                       env=clean_environment(), stdout=out, stderr=out, check=True, timeout=60)
    pid = int(eventually(lambda: pidfile.exists() and pidfile.read_text(), "a pidfile"))
    try:
        if kept:
            eventually(lambda: "Booting worker" in (tmp_path / "out").read_text(), "the log where it went before")
        else:
            assert os.readlink(f"/proc/{pid}/fd/2") == "/dev/null"
    finally:
        os.kill(pid, signal.SIGTERM)
    eventually(lambda: not pidfile.exists(), "the end")


def test_every_preloaded_worker_listens_for_itself(serve):
    server = serve("extras:application", "--reuse-port", "--preload", "--workers", "2")
    eventually(lambda: listening_sockets(server.port) == 2, "two sockets")
    eventually(lambda: len({json.loads(get(server).body)["pid"] for _ in range(40)}) == 2, "both")
