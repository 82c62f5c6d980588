"""Applications from PyPI as their users run them: set up by their own commands, used through HTTP.

Each test is one visit: what a person does there. Those with clients of their own: test_applications_clients.py.
docs/frameworks.md has the table of them.
"""

from __future__ import annotations

import re
import signal
import struct
import zlib

from support import applications
from support.applications import htpasswd, start  # noqa: F401 # a fixture
from support.browser import Form

pytestmark = applications.marks


TRAC = """
from trac.web.auth import BasicAuthentication
from trac.web.main import dispatch_request
from trac.web.standalone import AuthenticationMiddleware

application = AuthenticationMiddleware(dispatch_request, {"project": BasicAuthentication("users", "Trac")}, "project")
"""


def test_trac(start, tmp_path):
    """Login by the browser's own dialogue, a ticket, an attachment and its download, the timeline as RSS."""
    applications.run("trac-admin", "project", "initenv", "A project", "sqlite:db/trac.db", cwd=tmp_path)
    (tmp_path / "users").write_text(htpasswd("ada", "secret"))
    (tmp_path / "trac_app.py").write_text(TRAC)
    browser = start("trac_app", "--workers", "2", chdir=tmp_path, env={"TRAC_ENV": str(tmp_path / "project")})
    assert "Welcome to Trac" in browser.get("/wiki").text
    assert browser.get("/newticket").status_code == 403
    assert browser.get("/login").status_code == 401
    browser.auth = ("ada", "secret")
    assert "logged in as" in browser.get("/login").text

    page = browser.get("/newticket")
    ticket = Form(page, "field_summary").post(browser, field_summary="Gr\u00fc\u00dfe & <b>more</b>", submit="Create ticket")
    assert ticket.history[0].status_code == 303 and ticket.url.endswith("/ticket/1#ticket")
    assert "Gr\u00fc\u00dfe &amp; &lt;b&gt;more&lt;/b&gt;" in ticket.text
    data = bytes(range(256)) * 400  # Trac's limit is 256 KiB
    form = Form(browser.get("/attachment/ticket/1/?action=new"), "attachment")
    form.fields.pop("attachment")
    kept = form.post(browser, files={"attachment": ("a file.bin", data, "application/octet-stream")}, description="bytes", add="Add attachment")
    assert kept.status_code == 200 and "a file.bin" in kept.text
    down = browser.get("/raw-attachment/ticket/1/a%20file.bin")
    assert down.content == data and down.headers["Content-Length"] == str(len(data))
    again = browser.get(down.url, headers={"If-Modified-Since": down.headers["Last-Modified"]})
    assert (again.status_code, again.content) == (304, b"")
    feed = browser.get("/timeline?ticket=on&format=rss")
    assert feed.headers["Content-Type"].startswith("application/rss+xml") and "#1" in feed.text
    style = browser.get("/chrome/common/css/trac.css")
    assert style.headers["Content-Type"] == "text/css" and int(style.headers["Content-Length"]) == len(style.content)
    missing = browser.get("/ticket/2")
    assert missing.status_code == 404 and "Ticket 2 does not exist." in missing.text


def test_zope(start, tmp_path):
    """The management interface, a page template, a file with ranges and conditions, PUT, undo of a failed request, a reload."""
    applications.run("mkwsgiinstance", "-d", "zope", "-u", "admin:secret", cwd=tmp_path)
    browser = start(None, "--paste", str(tmp_path / "zope/etc/zope.ini"), "--threads", "4", chdir=tmp_path)
    assert browser.get("/").text.count("Zope") > 1
    refused = browser.get("/manage_main")
    assert refused.status_code == 401 and refused.headers["WWW-Authenticate"].lower().startswith("basic")
    browser.auth = ("admin", "secret")
    assert "manage_addProduct" in browser.get("/manage_main").text

    template = '<ul><li tal:repeat="n python:range(3)" tal:content="string:${request/form/name|nothing} $n">x</li></ul>'
    made = browser.post("/manage_addProduct/PageTemplates/manage_addPageTemplate", data={"id": "page", "title": "", "text": template})
    assert made.status_code == 200
    assert "<li>Gr\u00fc\u00dfe 2</li>" in browser.get("/page", params={"name": "Gr\u00fc\u00dfe"}).text
    data = bytes(range(256)) * 8000
    browser.post("/manage_addProduct/OFSP/manage_addFile", data={"id": "big.bin"}, files={"file": ("big.bin", data)})
    whole = browser.get("/big.bin")
    assert whole.content == data and whole.headers["Content-Length"] == str(len(data))
    part = browser.get("/big.bin", headers={"Range": "bytes=1000000-1000099"})
    assert (part.status_code, part.content) == (206, data[1_000_000:1_000_100])
    assert browser.get("/big.bin", headers={"If-Modified-Since": whole.headers["Last-Modified"]}).status_code == 304
    head = browser.head("/big.bin")
    assert head.headers["Content-Length"] == str(len(data)) and head.content == b""
    assert browser.put("/put.txt", data=b"put here", headers={"Content-Type": "text/plain"}).status_code == 201
    assert browser.get("/put.txt").text == "put here"
    assert browser.request("DELETE", "/put.txt").status_code == 204 and browser.get("/put.txt").status_code == 404

    deleting = "<p tal:content=\"python:container.manage_delObjects(['page'])\"></p><p tal:condition=\"exists:container/page\">kept</p>"
    for name, text in {"deletes": deleting, "fails": deleting + '<p tal:content="python:1/0"></p>'}.items():
        browser.post("/manage_addProduct/PageTemplates/manage_addPageTemplate", data={"id": name, "title": "", "text": text})
    assert browser.get("/fails").status_code == 500
    assert browser.get("/page").status_code == 200, "the transaction was not undone"
    assert browser.get("/deletes").text.strip() == "<p></p>" and browser.get("/page").status_code == 404

    # Its file of objects belongs to one process: a reload cannot take it over, and must not do harm.
    browser.server.kill(signal.SIGHUP)
    browser.server.log.wait("LockError: Couldn't lock")
    browser.server.log.wait("The running generation goes on serving")
    assert browser.get("/manage_main").status_code == 200


WIKI_EDITOR = "before='YOUR-SUPER-EDITOR:read,write,create,destroy,admin'"


def test_moin(start, tmp_path):
    """Login, an item written and changed, its history, static files, logout."""
    applications.run("moin", "create-instance", cwd=tmp_path)
    config = tmp_path / "wikiconfig.py"
    text = config.read_text()
    assert "YOUR-SUPER-EDITOR" in text
    config.write_text(text.replace("YOUR-SUPER-EDITOR", "Ada"))
    applications.run("moin", "index-create", cwd=tmp_path)
    applications.run("moin", "account-create", "--name", "Ada", "--email", "ada@example.org", "--password", "a long pass phrase", cwd=tmp_path)
    browser = start("moin.app:create_app()", "--workers", "2", chdir=tmp_path, cwd=tmp_path)
    denied = browser.get("/+modify/Page?itemtype=default&contenttype=text/x-markdown%3Bcharset=utf-8")
    assert denied.status_code == 403
    login = Form(browser.get("/+login"), "login_username")
    wrong = login.post(browser, login_username="Ada", login_password="wrong", login_submit="1")
    assert "+logout" not in wrong.text
    right = Form(wrong, "login_username").post(browser, login_username="Ada", login_password="a long pass phrase", login_submit="1")
    assert right.history and "+logout" in right.text

    for number, said in enumerate(["Gr\u00fc\u00dfe, *world*", "Gr\u00fc\u00dfe, *moon*"]):
        page = browser.get("/+modify/Page?itemtype=default&contenttype=text/x-markdown%3Bcharset=utf-8")
        saved = Form(page, "content_form_data_text").post(browser, content_form_data_text=said, comment=f"number {number}")
        assert saved.status_code == 200 and saved.history, saved.text
    assert "Gr\u00fc\u00dfe, <em>moon</em>" in browser.get("/Page").text
    history = browser.get("/+history/Page").text
    assert "number 0" in history and "number 1" in history
    assert browser.get("/+get/Page").text == "Gr\u00fc\u00dfe, *moon*"
    style = browser.get("/static/css/common.css")
    assert style.status_code == 200 and style.headers["Content-Length"] == str(len(style.content))
    assert browser.get("/static/css/common.css", headers={"If-None-Match": style.headers["ETag"]}).status_code == 304
    assert browser.get("/NotThere").status_code == 404
    assert "+logout" not in browser.get("/+logout").text


def test_kinto(start, tmp_path):
    """A store of records: accounts, conditional writes, paging, batches, and errors as JSON."""
    applications.run("kinto", "init", "--ini", "kinto.ini", "--backend", "memory", "--cache-backend", "memory", "--host", "127.0.0.1", cwd=tmp_path)
    browser = start(None, "--paste", str(tmp_path / "kinto.ini"), "--paste-global", "http_port=0", "--threads", "4", chdir=tmp_path)
    assert browser.put("/v1/accounts/ada", json={"data": {"password": "secret"}}).status_code == 201
    assert browser.get("/v1/buckets/default").status_code == 401
    browser.auth = ("ada", "secret")
    records = "/v1/buckets/default/collections/notes/records"
    first = browser.post(records, json={"data": {"text": "Gr\u00fc\u00dfe", "n": 0}})
    assert first.status_code == 201 and first.json()["data"]["text"] == "Gr\u00fc\u00dfe"
    one, tag = f"{records}/{first.json()['data']['id']}", first.headers["ETag"]
    assert browser.get(one, headers={"If-None-Match": tag}).status_code == 304
    assert browser.patch(one, json={"data": {"n": 1}}, headers={"If-Match": '"1"'}).status_code == 412
    assert browser.patch(one, json={"data": {"n": 1}}, headers={"If-Match": tag}).json()["data"]["n"] == 1
    batch = {"defaults": {"method": "POST", "path": records}, "requests": [{"body": {"data": {"n": n}}} for n in range(20)]}
    assert [r["status"] for r in browser.post("/v1/batch", json=batch).json()["responses"]] == [201] * 20
    page = browser.get(records, params={"_limit": 15, "_sort": "n"})
    assert len(page.json()["data"]) == 15 and page.headers["Next-Page"].startswith(browser.server.url("/v1/"))
    assert len(browser.get(page.headers["Next-Page"]).json()["data"]) == 6
    head = browser.head(records)
    assert head.headers["Total-Objects" if "Total-Objects" in head.headers else "Total-Records"] == "21" and head.content == b""
    wrong = browser.post(records, data=b"{", headers={"Content-Type": "application/json"})
    assert wrong.status_code == 400 and wrong.json()["error"] == "Invalid parameters"
    assert browser.delete(one).status_code == 200 and browser.get(one).status_code == 404


def test_py4web(start, tmp_path):
    """The application every py4web project begins with: an account, login, a page for members, static files."""
    applications.run("py4web", "setup", "-Y", "apps", cwd=tmp_path)
    # Preloaded: workers that load it at the same time make its tables at the same time, and have keys of their own.
    app = "py4web.core:wsgi(apps_folder='apps', password_file='password.txt', dashboard_mode='none', watch='off', app_names='_scaffold')"
    browser = start(app, "--preload", "--workers", "2", chdir=tmp_path, cwd=tmp_path, env={"PY4WEB_MODE": "development"})
    assert "Hello" in browser.get("/_scaffold/index").text
    assert browser.get("/_scaffold/auth/profile").status_code == 403
    form = Form(browser.get("/_scaffold/auth/register"), "email")
    made = form.post(browser, email="ada@example.org", password="A-long-pass-phrase-1", password_again="A-long-pass-phrase-1", username="ada",
                     first_name="J\u00f6rg", last_name="L")
    assert made.history, made.text
    login = Form(browser.get("/_scaffold/auth/login"), "password")
    assert login.post(browser, email="ada", password="wrong").url.startswith(browser.server.url("/_scaffold/auth/login"))
    login = Form(browser.get("/_scaffold/auth/login"), "password")
    assert login.post(browser, email="ada", password="A-long-pass-phrase-1").status_code == 200
    assert "Hello J\u00f6rg" in browser.get("/_scaffold/index").text
    assert browser.get("/_scaffold/auth/profile").status_code == 200
    style = browser.get("/_scaffold/static/css/no.css")
    assert style.status_code == 200 and style.headers["Content-Length"] == str(len(style.content))
    assert browser.get("/_scaffold/not-there").status_code == 404


def png(size: int) -> bytes:
    """A square of one colour."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + b"\x30\x60\xc0" * size) * size
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_wagtail(start, tmp_path):
    """Django's largest CMS: login, an image uploaded and scaled, a page changed and published, static files."""
    applications.run("wagtail", "start", "mysite", ".", cwd=tmp_path)
    applications.run("python", "manage.py", "migrate", cwd=tmp_path)
    applications.run("python", "manage.py", "createsuperuser", "--noinput", "--username", "ada", "--email", "ada@example.org", cwd=tmp_path,
                     DJANGO_SUPERUSER_PASSWORD="a long pass phrase")
    browser = start("mysite.wsgi", "--workers", "2", chdir=tmp_path, env={"DJANGO_SETTINGS_MODULE": "mysite.settings.dev"})
    assert "Welcome to your new Wagtail site" in browser.get("/").text
    login = Form(browser.get("/admin/"), "username")
    assert "/admin/login/" in login.action
    inside = login.post(browser, username="ada", password="a long pass phrase")
    assert inside.history and inside.url.endswith("/admin/"), inside.text

    form = Form(browser.get("/admin/images/add/"), "file")
    form.fields.pop("file")
    kept = form.post(browser, title="Bl\u00e4ue", files={"file": ("blue.png", png(900), "image/png")})
    assert kept.history and "Bl\u00e4ue" in kept.text
    small = re.search(r'src="(/media/images/[^"]+)"', kept.text)[1]
    picture = browser.get(small)
    assert picture.headers["Content-Type"] == "image/png" and picture.content.startswith(b"\x89PNG")
    assert picture.headers["Content-Length"] == str(len(picture.content))

    edit = Form(browser.get("/admin/pages/3/edit/"), "title")
    done = edit.post(browser, title="Gr\u00fc\u00dfe", slug="home", **{"action-publish": "action-publish"})
    assert done.history, done.text
    assert "<title>" in browser.get("/").text and "Gr\u00fc\u00dfe" in browser.get("/").text
    style = re.search(r'href="(/static/wagtailadmin/css/[^"]+\.css[^"]*)"', inside.text)[1]
    sheet = browser.get(style)
    assert sheet.headers["Content-Type"] == "text/css" and sheet.headers["Content-Length"] == str(len(sheet.content))
    assert browser.get("/not-there/").status_code == 404
