"""What a proxy says about its client is believed of trusted peers only, only where the operator
asked for it, and never against itself."""

from __future__ import annotations

import json

import pytest

from support.wire import Wire, assert_refusal

ALL = ("--forwarded-for", "x-forwarded-for", "--forwarded-host", "x-forwarded-host",
       "--forwarded-port", "--forwarded-prefix")
RFC7239 = ("--forwarded-for", "forwarded", "--forwarded-host", "forwarded")
SAID = ["X-Forwarded-For: 198.51.100.7", "X-Forwarded-Proto: https", "X-Forwarded-Host: shop.example",
        "X-Forwarded-Port: 8443", "X-Forwarded-Prefix: /shop",
        "Forwarded: for=198.51.100.9;proto=https;host=other.example"]


def ask(server, *fields, path="/p"):
    with Wire(server.address) as wire:
        return wire.get(path, *fields)


def environ(server, *fields, path="/p"):
    reply = ask(server, *fields, path=path)
    assert reply.status == 200, reply
    return json.loads(reply.body)


def told(env):
    return {k: env.get(k) for k in ("REMOTE_ADDR", "wsgi.url_scheme", "HTTP_HOST", "SERVER_NAME", "SCRIPT_NAME", "PATH_INFO")}


def own(server):
    return {"REMOTE_ADDR": "127.0.0.1", "wsgi.url_scheme": "http", "HTTP_HOST": "test",
            "SERVER_NAME": "127.0.0.1", "SCRIPT_NAME": "", "PATH_INFO": "/p"}


@pytest.fixture(scope="module")
def plain(serve_module):
    return serve_module("echo_environ")


@pytest.fixture(scope="module")
def trusting(serve_module):
    return serve_module("echo_environ", *ALL, "--forwarded-allow-ips", "127.0.0.1,10.0.0.0/8")


@pytest.fixture(scope="module")
def standard(serve_module):
    return serve_module("echo_environ", *RFC7239, "--forwarded-allow-ips", "127.0.0.1,10.0.0.0/8")


def test_untrusted_peers_change_nothing(serve):
    server = serve("echo_environ", *ALL, "--forwarded-allow-ips", "10.1.2.3")
    env = environ(server, *SAID, "SCRIPT_NAME: /evil", "Proxy: evil")
    assert told(env) == own(server)
    assert env["SERVER_PORT"] == str(server.port)
    assert env["HTTP_X_FORWARDED_FOR"] == "198.51.100.7"
    assert "HTTP_PROXY" not in env and "HTTP_SCRIPT_NAME" not in env


def test_untrusted_fields_can_be_hidden(serve):
    server = serve("echo_environ", "--drop-untrusted-forwarded", "--forwarded-allow-ips", "")
    env = environ(server, *SAID, "X-Real-IP: 1.2.3.4", "X-Other: kept")
    assert told(env) == own(server)
    assert not [k for k in env if "FORWARDED" in k or k == "HTTP_X_REAL_IP"]
    assert env["HTTP_X_OTHER"] == "kept"


def test_trusted_fields_are_not_hidden(serve):
    server = serve("echo_environ", "--drop-untrusted-forwarded")
    assert environ(server, *SAID)["HTTP_X_FORWARDED_FOR"] == "198.51.100.7"


def test_by_default_only_the_scheme_is_believed(plain):
    assert told(environ(plain, *SAID)) == {**own(plain), "wsgi.url_scheme": "https"}


def test_everything_asked_for_is_believed(trusting):
    env = environ(trusting, *SAID)
    assert told(env) == {
        "REMOTE_ADDR": "198.51.100.7", "wsgi.url_scheme": "https", "HTTP_HOST": "shop.example:8443",
        "SERVER_NAME": "shop.example", "SCRIPT_NAME": "/shop", "PATH_INFO": "/p"}
    assert env["SERVER_PORT"] == "8443"
    assert "REMOTE_PORT" not in env


@pytest.mark.parametrize("chain, client", [
    (["203.0.113.5, 10.0.0.9"], "203.0.113.5"),
    (["6.6.6.6, 203.0.113.5, 10.0.0.9, 10.0.0.8"], "203.0.113.5"),
    (["6.6.6.6", "203.0.113.5,10.0.0.9"], "203.0.113.5"),
    (["nonsense, 203.0.113.5"], "203.0.113.5"),
    (["203.0.113.5, nonsense"], "127.0.0.1"),
    (["203.0.113.5, nonsense, 10.0.0.9"], "10.0.0.9"),
    (["[2001:db8::1]:4711"], "2001:db8::1"),
    (["::ffff:203.0.113.5"], "203.0.113.5"),
    ([""], "127.0.0.1"),
    (["unknown"], "127.0.0.1"),
])
def test_chains_are_walked_from_the_right(trusting, chain, client):
    assert environ(trusting, *(f"X-Forwarded-For: {part}" for part in chain))["REMOTE_ADDR"] == client


@pytest.mark.parametrize("value, expected", [
    ('for=203.0.113.5;proto=https;host="shop.example:444"', ("203.0.113.5", "https", "shop.example:444")),
    ('for=6.6.6.6;host=evil, for=203.0.113.5;host=a.example, for=10.0.0.2;host=b.example', ("203.0.113.5", "http", "a.example")),
    ('For="[2001:db8::1]:80"', ("2001:db8::1", "http", "test")),
    ("for=unknown;proto=https", ("127.0.0.1", "https", "test")),
    ("for=_hidden", ("127.0.0.1", "http", "test")),
])
def test_rfc_7239(standard, value, expected):
    env = environ(standard, f"Forwarded: {value}")
    assert (env["REMOTE_ADDR"], env["wsgi.url_scheme"], env["HTTP_HOST"]) == expected


@pytest.mark.parametrize("fields", [
    ["X-Forwarded-Proto: https", "X-Forwarded-SSL: off"],
    ["X-Forwarded-Proto: https", "X-Forwarded-Proto: http"],
    ["X-Forwarded-Host: a b"],
    ["X-Forwarded-Host: a.example:1", "X-Forwarded-Port: 2"],
    ["X-Forwarded-Port: 99999"],
    ["X-Forwarded-Port: x"],
    ["X-Forwarded-Prefix: shop"],
    ["X-Forwarded-Prefix: /a", "X-Forwarded-Prefix: /b"],
])
def test_contradictions_are_refused(trusting, fields):
    assert_refusal(ask(trusting, *fields), 400)


@pytest.mark.parametrize("fields", [
    ["Forwarded: for=1.2.3.4;proto=https", "X-Forwarded-Proto: http"],
    ["Forwarded: for=1.2.3.4;proto=gopher"],
    ["Forwarded: for=1.2.3.4;for=1.2.3.5"],
    ['Forwarded: for="1.2.3.4'],
    ["Forwarded: host=a/b"],
])
def test_forwarded_outside_its_grammar_is_refused(standard, fields):
    assert_refusal(ask(standard, *fields), 400)


def test_one_request_says_nothing_about_the_next(trusting):
    with Wire(trusting.address) as wire:
        assert json.loads(wire.get("/p", *SAID).body)["REMOTE_ADDR"] == "198.51.100.7"
        env = json.loads(wire.get("/p").body)
        assert told(env) == own(trusting)
        assert env["SERVER_PORT"] == str(trusting.port)
        assert env["REMOTE_PORT"] == str(wire.socket.getsockname()[1])


def test_unix_peers_are_trusted(serve, tmp_path):
    server = serve("echo_environ", *ALL, bind=[f"unix:{tmp_path}/s"])
    env = environ(server, *SAID)
    assert (env["REMOTE_ADDR"], env["HTTP_HOST"]) == ("198.51.100.7", "shop.example:8443")


def test_script_name_is_a_native_string(serve):
    server = serve("echo_environ", "--env", "SCRIPT_NAME=/caf\u00e9")
    env = environ(server, path="/caf%C3%A9/x")
    assert (env["SCRIPT_NAME"], env["PATH_INFO"]) == ("/caf\u00c3\u00a9", "/x")


def test_the_access_log_names_the_client(serve):
    server = serve("echo_environ", *ALL, "--access-logfile", "-", "--access-logformat", "%(h)s")
    environ(server, *SAID)
    server.out.wait("^198.51.100.7$")
