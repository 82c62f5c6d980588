"""The same small site in eight frameworks: forms, cookies, sessions, redirects, uploads, streams, files.

Each module in apps/sites answers the same paths, so each test is one statement about all of them.
"""

from __future__ import annotations

import hashlib

import apps.probe as probe
import pytest
import requests
from support.server import APPS

SITES = {
    "Flask": "sites.flask_site:app",
    "Django": "sites.django_site:app",
    "Pyramid": "sites.pyramid_site:main()",
    "Falcon": "sites.falcon_site:app",
    "Bottle": "sites.bottle_site:app",
    "CherryPy": "sites.cherrypy_site:app",
    "TurboGears": "sites.turbogears_site:app",
    "web.py": "sites.webpy_site:app",
}


@pytest.fixture(scope="module", params=list(SITES))
def site(request, serve_module):
    server = serve_module(SITES[request.param], "--workers", "1")
    server.framework = request.param
    server.source = APPS / (SITES[request.param].split(":")[0].replace(".", "/") + ".py")
    return server


@pytest.fixture
def browser(site):
    with requests.Session() as session:
        session.trust_env = False
        yield lambda method, path, **options: session.request(method, site.url(path), timeout=30, **options)


def test_index(site, browser):
    reply = browser("GET", "/")
    assert (reply.status_code, reply.text) == (200, f"Hello from {site.framework}")
    assert browser("HEAD", "/").content == b""


def test_query_and_form(browser):
    assert browser("GET", "/form", params={"q": "a b&c=\u00e9\u2603"}).json()["query"] == "a b&c=\u00e9\u2603"
    seen = browser("POST", "/form?q=1", data={"name": "J\u00fcrgen & Co.", "many": ["x", "y", "z"]}).json()
    assert seen == {"method": "POST", "query": "1", "name": "J\u00fcrgen & Co.", "many": ["x", "y", "z"]}


def test_session_and_redirects(browser):
    assert browser("GET", "/me").json() == {"name": None}
    reply = browser("POST", "/login", data={"name": "Ada"})
    assert [r.status_code for r in reply.history] == [303] and reply.url.endswith("/me")
    assert reply.json() == {"name": "Ada"}
    assert browser("GET", "/me").json() == {"name": "Ada"}
    assert browser("GET", "/logout").json() == {"name": None}


def test_cookies(browser):
    first = browser("GET", "/cookies")
    assert {c.name for c in first.cookies} >= {"one", "two"}
    seen = browser("GET", "/cookies").json()["seen"]
    assert seen["one"] == "1" and seen["two"].strip('"') == "second value"


@pytest.mark.parametrize("size", [0, 10, 5_000_000])
def test_upload_of_a_form(browser, size):
    data = probe.block(size)
    seen = browser("POST", "/upload", files={"file": ("a file.bin", data, "application/octet-stream")}, data={"note": "\u00fcber"}).json()
    assert seen == {"name": "a file.bin", "size": size, "sha256": hashlib.sha256(data).hexdigest(), "note": "\u00fcber"}


@pytest.mark.parametrize("coding", ["length", "chunked"])
def test_upload_of_a_raw_body(site, browser, coding):
    data = probe.block(1_000_000)
    body = data if coding == "length" else (data[i:i + 50_000] for i in range(0, len(data), 50_000))
    seen = browser("PUT", "/raw", data=body, headers={"Content-Type": "application/octet-stream"}).json()
    assert seen == {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def test_stream(browser):
    assert browser("GET", "/stream?to=5000").content == b"".join(b"%d\n" % n for n in range(5000))


def test_file(site, browser):
    source = site.source.read_bytes()
    reply = browser("GET", "/file")
    assert reply.content == source and reply.headers["Content-Length"] == str(len(source))


def test_path(browser):
    assert browser("GET", "/path/a%20b/%C3%A9%E2%98%83/c").json() == {"path": "a b/\u00e9\u2603/c"}


def test_failures(site, browser):
    assert browser("GET", "/error").status_code == 500
    site.log.wait("a view's own failure")
    assert browser("GET", "/not-there").status_code == 404
    assert browser("GET", "/").status_code == 200


def test_one_connection_serves_all_of_it(browser):
    for _ in range(20):
        for path in ("/", "/form?q=1", "/stream?to=10", "/cookies", "/not-there"):
            assert browser("GET", path).status_code in (200, 404)
