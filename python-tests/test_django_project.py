"""A project made by `django-admin startproject`: sessions in a database, the admin, static files.

Static files leave once through WhiteNoise, as in production, and once through django.views.static,
whose FileResponse becomes the server's wsgi.file_wrapper.
"""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import requests
from support.server import clean_environment

SETTINGS = """
ALLOWED_HOSTS = ["*"]
STATIC_ROOT = BASE_DIR / "collected"
MIDDLEWARE.insert(1, "whitenoise.middleware.WhiteNoiseMiddleware")
DEBUG = False
"""

URLS = """
from django.conf import settings
from django.urls import re_path
from django.views.static import serve
urlpatterns.append(re_path("^files/(?P<path>.*)$", serve, {"document_root": settings.STATIC_ROOT}))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = tmp_path_factory.mktemp("django")

    def run(*args):
        subprocess.run([sys.executable, *args], cwd=root, check=True, capture_output=True, timeout=120,
                       env=clean_environment(DJANGO_SUPERUSER_PASSWORD="a long pass phrase"))

    run("-m", "django", "startproject", "mysite", ".")
    with open(root / "mysite" / "settings.py", "a") as settings:
        settings.write(SETTINGS)
    with open(root / "mysite" / "urls.py", "a") as urls:
        urls.write(URLS)
    run("manage.py", "migrate")
    run("manage.py", "createsuperuser", "--noinput", "--username", "ada", "--email", "ada@example.org")
    run("manage.py", "collectstatic", "--noinput")
    return root


@pytest.fixture(scope="module")
def server(serve_module, project):
    return serve_module("mysite.wsgi", "--workers", "2", chdir=project)


@pytest.fixture
def browser():
    with requests.Session() as session:
        session.trust_env = False
        yield session


def token(page: str) -> str:
    return re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)[1]


def test_the_admin_logs_in_and_changes_something(server, browser):
    login = browser.get(server.url("/admin/"))
    assert login.history[0].status_code == 302 and "Log in" in login.text
    wrong = browser.post(login.url, data={"username": "ada", "password": "wrong", "csrfmiddlewaretoken": token(login.text)})
    assert "Please enter the correct username" in wrong.text
    right = browser.post(wrong.url, data={"username": "ada", "password": "a long pass phrase", "next": "/admin/",
                                          "csrfmiddlewaretoken": token(wrong.text)})
    assert right.history[0].status_code == 302 and "Site administration" in right.text
    form = browser.get(server.url("/admin/auth/group/add/"))
    saved = browser.post(form.url, data={"name": "Sch\u00f6ne Gr\u00fc\u00dfe", "csrfmiddlewaretoken": token(form.text)})
    assert saved.history[0].status_code == 302 and "Sch\u00f6ne Gr\u00fc\u00dfe" in saved.text
    out = browser.post(server.url("/admin/logout/"), data={"csrfmiddlewaretoken": token(saved.text)})
    assert "Logged out" in out.text


def test_a_post_without_its_token_is_refused(server, browser):
    assert browser.post(server.url("/admin/login/"), data={"username": "ada"}).status_code == 403


@pytest.mark.parametrize("where", ["static", "files"])
@pytest.mark.parametrize("name", ["admin/css/base.css", "admin/js/vendor/jquery/jquery.js", "admin/img/icon-yes.svg"])
def test_static_files(server, browser, project, where, name):
    whole = (project / "collected" / name).read_bytes()
    reply = browser.get(server.url(f"/{where}/{name}"), headers={"Accept-Encoding": "identity"})
    assert reply.status_code == 200 and reply.content == whole
    assert reply.headers["Content-Length"] == str(len(whole))
    head = browser.head(server.url(f"/{where}/{name}"), headers={"Accept-Encoding": "identity"})
    assert head.status_code == 200 and head.content == b""
    again = browser.get(reply.url, headers={"If-Modified-Since": reply.headers["Last-Modified"]})
    assert again.status_code == 304 and again.content == b""


def test_a_range_of_a_static_file(server, browser, project):
    whole = (project / "collected" / "admin/css/base.css").read_bytes()
    reply = browser.get(server.url("/static/admin/css/base.css"), headers={"Range": "bytes=10-19", "Accept-Encoding": "identity"})
    assert (reply.status_code, reply.content) == (206, whole[10:20])


@pytest.mark.parametrize("how", ["module alone", "attribute", "environment of the command line"])
def test_the_ways_to_start_it(serve, project, how):
    if how == "environment of the command line":
        server = serve("django.core.wsgi:get_wsgi_application()", "--env", "DJANGO_SETTINGS_MODULE=mysite.settings", chdir=project)
    else:
        server = serve("mysite.wsgi" if how == "module alone" else "mysite.wsgi:application", chdir=None, cwd=project)
    assert requests.get(server.url("/admin/login/")).status_code == 200
