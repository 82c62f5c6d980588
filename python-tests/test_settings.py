"""What an operator can say, where, and what is answered to a slip."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat

import pytest
from support.proxies import Port
from support.server import APPS
from support.wire import Wire


def where(server) -> dict:
    with Wire(server.address) as wire:
        return json.loads(wire.get("/where").body)


def body(server, address=None) -> str:
    with Wire(address or server.address) as wire:
        return wire.get("/").text


# The application's name


@pytest.mark.parametrize("app, text", [
    ("forms", "the default name"),
    ("forms:application", "the default name"),
    ("forms:named", "a name"),
    ("forms:holder.inner.app", "dotted"),
    ("forms:factory()", "((), {})"),
    ("forms:factory(1, 'two', three=[3.0, None])", "((1, 'two'), {'three': [3.0, None]})"),
])
def test_names_of_the_application(serve, app, text):
    assert body(serve(app)) == text


@pytest.mark.parametrize("arguments", [
    ["--workers", "2", "forms:named"], ["forms:named", "--workers", "2"], ["forms:named", "--workers=2"], ["-w", "2", "forms:named"],
    ["-w2", "forms:named"], ["-w", "2", "forms:named", "--log-l=debug", "--keep", "3"],
])
def test_ways_to_write_an_option(serve, arguments):
    server = serve(None, *arguments)
    if "--workers" in arguments or "-w" in arguments:
        server.booted(2)
    assert body(server) == "a name"


# Addresses


def test_unix_socket(serve, tmp_path):
    server = serve("probe:application", bind=[f"unix:{tmp_path}/s.sock"])
    with Wire(f"{tmp_path}/s.sock") as wire:
        seen = json.loads(wire.get("/environ").body)["environ"]
    assert seen["REMOTE_ADDR"][1] == ""
    assert server.address == f"{tmp_path}/s.sock"


@pytest.mark.parametrize("umask, mode", [(None, 0o777), ("007", 0o770), ("0077", 0o700)])
def test_the_mode_of_a_unix_socket(serve, tmp_path, umask, mode):
    serve("probe:application", *(["--umask", umask] if umask else []), bind=[f"unix:{tmp_path}/s.sock"])
    assert stat.S_IMODE(os.stat(tmp_path / "s.sock").st_mode) == mode


def test_a_stale_unix_socket_is_replaced(serve, tmp_path):
    path = tmp_path / "s.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    serve("forms", bind=[f"unix:{path}"])
    assert body(None, str(path)) == "the default name"


def test_a_file_in_the_way_of_a_unix_socket_is_left_alone(serve, tmp_path):
    path = tmp_path / "precious"
    path.write_text("data")
    server = serve("forms", bind=[f"unix:{path}"], listens=False)
    assert server.wait() == 1 and str(path) in server.log.wait_end()
    assert path.read_text() == "data"


def test_abstract_socket(serve):
    name = f"rwsgi-test-{os.getpid()}-{os.urandom(4).hex()}"
    serve("forms", bind=[f"unix:@{name}"])
    assert body(None, b"\0" + name.encode()) == "the default name"


def test_several_addresses(serve, tmp_path):
    server = serve("forms", bind=["127.0.0.1:0", "127.0.0.1:0", f"unix:{tmp_path}/s.sock"])
    from support.server import parse_address

    addresses = [parse_address(url) for url in server.listening]
    assert len(set(addresses)) == 3
    assert [body(server, address) for address in addresses] == ["the default name"] * 3


def test_ipv6(serve):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    server = serve("probe:application", bind=["[::1]:0"])
    with Wire(server.address[:2]) as wire:
        assert json.loads(wire.get("/environ").body)["environ"]["REMOTE_ADDR"][1] == "::1"


def test_an_inherited_descriptor(serve):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        os.set_inheritable(listener.fileno(), True)
        serve("forms", bind=[f"fd://{listener.fileno()}"], pass_fds=[listener.fileno()])
        assert body(None, listener.getsockname()) == "the default name"


def test_port_from_the_environment(serve):
    port = Port(at="0.0.0.0")
    server = serve("forms", bind=(), env={"PORT": str(port.number)})
    assert f":{port.number}" in server.listening[0]
    assert body(server, port.address) == "the default name"
    port.close()


# Processes and directories


def test_chdir_and_search_path(serve, tmp_path):
    (tmp_path / "first").mkdir()
    seen = where(serve("probe:application", "--pythonpath", f"{tmp_path}/first"))
    assert seen["cwd"] == str(APPS) and str(APPS) in seen["sys_path"][:2]
    assert f"{tmp_path}/first" in seen["sys_path"][:2]


def test_the_start_directory_is_searched(serve):
    seen = where(serve("probe:application", chdir=None, cwd=APPS))
    assert seen["cwd"] == str(APPS) and seen["sys_path"][0] in (str(APPS), "")


def test_env(serve):
    server = serve("probe:application", "--env", "ONE=1", "-e", "TWO=a=b c", env={"THREE": "inherited"})
    seen = where(server)["environ"]
    assert (seen["ONE"], seen["TWO"], seen["THREE"]) == ("1", "a=b c", "inherited")


def test_the_application_runs_in_the_main_thread_of_its_interpreter(serve):
    seen = where(serve("probe:application"))
    assert seen["main_thread"] is True


@pytest.mark.parametrize("variable", ["WEB_CONCURRENCY", "RWSGI_WORKERS"])
def test_workers_from_the_environment(serve, variable):
    server = serve("forms", env={variable: "3"})
    server.booted(3)


def test_precedence_of_the_sources(serve, tmp_path):
    (tmp_path / "rwsgi.toml").write_text('workers = 2\nchdir = "%s"\nraw_env = ["FROM=toml"]\n' % APPS)
    found = serve("probe:application", chdir=None)
    found.booted(2)
    assert where(found)["environ"]["FROM"] == "toml"
    serve("probe:application", chdir=None, env={"RWSGI_WORKERS": "3"}).booted(3)
    serve("probe:application", "--workers", "4", chdir=None, env={"RWSGI_WORKERS": "3"}).booted(4)
    (tmp_path / "rwsgi.toml").rename(tmp_path / "named.toml")
    serve("probe:application", "-c", f"{tmp_path}/named.toml", chdir=None).booted(2)


# Slips


@pytest.mark.parametrize("arguments, env, toml, shows", [
    (["--wrokers", "3"], {}, None, ["--wrokers", "--workers"]),
    (["--workers", "many"], {}, None, ["workers", "many"]),
    (["--workers", "-1"], {}, None, ["workers", "-1"]),
    (["--timeout", "soon"], {}, None, ["timeout", "soon"]),
    (["--chdir", "/no/such/directory"], {}, None, ["chdir", "/no/such/directory"]),
    (["-c", "/no/such/file.toml"], {}, None, ["/no/such/file.toml"]),
    (["--bind", "localhost:notaport"], {}, None, ["bind", "notaport"]),
    (["--bind", "localhost:70000"], {}, None, ["bind", "70000"]),
    (["--env", "NOEQUALS"], {}, None, ["env", "NOEQUALS"]),
    (["--log-level", "loud"], {}, None, ["loud", "info"]),
    ([], {"RWSGI_WORKERS": "many"}, None, ["RWSGI_WORKERS", "many"]),
    ([], {"RWSGI_WROKERS": "3"}, None, ["RWSGI_WROKERS", "RWSGI_WORKERS"]),
    ([], {"WEB_CONCURRENCY": "many"}, None, ["WEB_CONCURRENCY", "many"]),
    ([], {}, "wrokers = 3\n", ["rwsgi.toml", "wrokers", "workers"]),
    ([], {}, "workers = 'many'\n", ["rwsgi.toml", "workers", "many"]),
    ([], {}, "\n\nworkers = [\n", ["rwsgi.toml", "3"]),
])
def test_slips_are_named_with_their_origin(serve, tmp_path, arguments, env, toml, shows):
    if toml:
        (tmp_path / "rwsgi.toml").write_text(toml)
    server = serve("forms", *arguments, env=env, chdir=None if "--chdir" in arguments else APPS, listens=False)
    assert server.wait() in (1, 2)
    said = server.log.wait_end()
    for text in shows:
        assert text in said
    assert "Booting worker" not in said and "panicked" not in said


def test_usage_is_exit_2_and_values_are_exit_1_or_2(serve):
    assert serve("forms", "--no-such-option", listens=False).wait() == 2
    assert serve("forms", "one-too-many", listens=False).wait() == 2


def test_check_config(serve):
    good = serve("forms", "--check-config", listens=False)
    assert good.wait() == 0
    assert serve("broken.raising", "--check-config", listens=False).wait() != 0
    assert serve("forms", "--check-config", "--workers", "x", listens=False).wait() in (1, 2)


def test_print_config(serve):
    server = serve("forms", "--print-config", "--workers", "7", listens=False)
    assert server.wait() == 0
    server.out.wait(r"workers\s*=\s*7")
    server.out.wait(r"graceful_timeout\s*=\s*30")


@pytest.mark.parametrize("option, shows", [("--help", "--workers"), ("-h", "--bind"), ("--version", "."), ("-v", ".")])
def test_help_and_version(serve, option, shows):
    server = serve(None, option, bind=(), chdir=None, listens=False)
    assert server.wait() == 0
    assert shows in server.out.wait_end()


# Proxies


@pytest.mark.parametrize("fields, scheme", [
    ([], "http"), (["X-Forwarded-Proto: https"], "https"), (["X-Forwarded-Proto: http"], "http"), (["X-Forwarded-Ssl: on"], "https"),
])
@pytest.mark.parametrize("trusted", [True, False])
def test_the_scheme_comes_from_trusted_peers_only(serve, fields, scheme, trusted):
    server = serve("probe:application", "--forwarded-allow-ips", "127.0.0.1" if trusted else "10.0.0.1")
    with Wire(server.address) as wire:
        seen = json.loads(wire.get("/environ", *fields).body)["environ"]
    assert seen["wsgi.url_scheme"][1] == (scheme if trusted else "http")


def test_contradicting_schemes_are_refused(serve):
    server = serve("probe:application")
    with Wire(server.address) as wire:
        assert wire.get("/environ", "X-Forwarded-Proto: https", "X-Forwarded-Ssl: off").status == 400


def test_the_name_in_the_process_list(serve):
    server = serve("probe:application", "--name", "a-name-to-see")
    worker = server.booted(1)[0]
    where(server)
    for pid in (server.pid, worker):
        with open(f"/proc/{pid}/cmdline", "rb") as line:
            assert b"a-name-to-see" in line.read()
    assert server.stop(signal.SIGTERM) == 0
