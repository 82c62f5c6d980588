"""Applications from PyPI as their users run them: set up by their own commands, used through HTTP.

Each test is one visit: what a person or a client program does there, with what it needs of a server.
docs/frameworks.md has the table of them.
"""

from __future__ import annotations

import base64
import hashlib
import io
import subprocess
import sys
import zipfile

import pytest
from support import applications
from support.applications import VENV
from support.browser import Browser, Form
from support.server import clean_environment

pytestmark = applications.marks


@pytest.fixture
def start(serve):
    """Starts an application in its environment, and a browser with it."""

    def start(app: str | None, *args: str, env: dict[str, str] | None = None, **more) -> Browser:
        server = serve(app, *args, env={"VIRTUAL_ENV": str(VENV), "PYTHONWARNINGS": "ignore", **(env or {})}, **more)
        return Browser(server)

    return start


TRAC = """
from trac.web.auth import BasicAuthentication
from trac.web.main import dispatch_request
from trac.web.standalone import AuthenticationMiddleware

application = AuthenticationMiddleware(dispatch_request, {"project": BasicAuthentication("users", "Trac")}, "project")
"""


def test_trac(start, tmp_path):
    """Login by the browser's own dialogue, a ticket, an attachment and its download, the timeline as RSS."""
    applications.run("trac-admin", "project", "initenv", "A project", "sqlite:db/trac.db", cwd=tmp_path)
    (tmp_path / "users").write_text("ada:{SHA}" + base64.b64encode(hashlib.sha1(b"secret").digest()).decode() + "\n")
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
    """The management interface, a page template, a file with ranges and conditions, PUT, undo of a failed request."""
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


EVENT = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//rwsgi//tests//EN
BEGIN:VEVENT
UID:{uid}
DTSTAMP:20260101T000000Z
DTSTART:202601{day:02}T100000Z
DTEND:202601{day:02}T110000Z
SUMMARY:Gr\u00fc\u00dfe am {day}.
END:VEVENT
END:VCALENDAR
""".replace("\n", "\r\n")

QUERY = """<?xml version="1.0"?>
<C:calendar-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:prop><D:getetag/><C:calendar-data/></D:prop>
<C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT">
<C:time-range start="20260105T000000Z" end="20260108T000000Z"/></C:comp-filter></C:comp-filter></C:filter></C:calendar-query>"""


def test_radicale(start, tmp_path):
    """A calendar's client: PROPFIND, MKCALENDAR, PUT, REPORT, MOVE, DELETE, with 401, 409, 412 where due."""
    (tmp_path / "users").write_text("ada:secret\n")
    (tmp_path / "config").write_text(f"[auth]\ntype = htpasswd\nhtpasswd_filename = {tmp_path}/users\nhtpasswd_encryption = plain\n"
                                     f"delay = 0\n[storage]\nfilesystem_folder = {tmp_path}/collections\n")
    browser = start("radicale", "--workers", "2", "--threads", "2", chdir=tmp_path, env={"RADICALE_CONFIG": str(tmp_path / "config")})
    assert browser.request("PROPFIND", "/ada/").status_code == 401
    browser.auth = ("ada", "secret")
    assert browser.request("PROPFIND", "/ada/", headers={"Depth": "0"}).status_code == 207
    options = browser.options("/ada/")
    assert "calendar-access" in options.headers["DAV"] and "MKCALENDAR" in options.headers["Allow"]
    assert browser.request("MKCALENDAR", "/ada/work/").status_code == 201
    assert browser.request("MKCALENDAR", "/ada/work/").status_code == 409
    for day in range(1, 11):
        put = browser.put(f"/ada/work/{day}.ics", data=EVENT.format(uid=f"event-{day}", day=day).encode(), headers={"Content-Type": "text/calendar"})
        assert put.status_code == 201, put.text
    changed = EVENT.format(uid="event-1", day=1).replace("Gr\u00fc\u00dfe", "Other").encode()
    assert browser.put("/ada/work/1.ics", data=changed, headers={"If-Match": '"wrong"', "Content-Type": "text/calendar"}).status_code == 412
    found = browser.request("REPORT", "/ada/work/", data=QUERY.encode(), headers={"Depth": "1", "Content-Type": "application/xml; charset=utf-8"})
    assert found.status_code == 207 and [n for n in range(1, 11) if f"am {n}." in found.content.decode()] == [5, 6, 7]
    assert "Gr\u00fc\u00dfe am 5." in found.content.decode()
    moved = browser.request("MOVE", "/ada/work/5.ics", headers={"Destination": browser.server.url("/ada/work/five.ics")})
    assert moved.status_code == 201 and browser.get("/ada/work/5.ics").status_code == 404
    assert browser.get("/ada/work/five.ics").headers["Content-Type"].startswith("text/calendar")
    assert browser.delete("/ada/work/").status_code == 200 and browser.get("/ada/work/five.ics").status_code == 404


def wheel(name: str, version: str, more: bytes) -> bytes:
    """A package of one module."""
    info = f"{name}-{version}.dist-info"
    files = {f"{name}.py": f"VERSION = {version!r}\n", f"{name}.bin": more, f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
             f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for path, data in files.items():
            archive.writestr(path, data)
        archive.writestr(f"{info}/RECORD", "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"]))
    return out.getvalue()


PYPISERVER = """
import pathlib, pypiserver
application = pypiserver.app(roots=[pathlib.Path("packages").absolute()], password_file="users", authenticate=["update"], disable_fallback=True)
"""


def test_pypiserver(start, tmp_path):
    """A package is uploaded as twine would; pip finds and installs it, the newest version of two."""
    (tmp_path / "packages").mkdir()
    (tmp_path / "users").write_text("ada:{SHA}" + base64.b64encode(hashlib.sha1(b"secret").digest()).decode() + "\n")
    (tmp_path / "packages_app.py").write_text(PYPISERVER)
    browser = start("packages_app", "--workers", "2", "--threads", "2", chdir=tmp_path)
    contents = hashlib.shake_256(b"contents").digest(5_000_000)
    for version in ("1.0", "1.10"):
        file = {"content": (f"samplepkg-{version}-py3-none-any.whl", wheel("samplepkg", version, contents))}
        form = {":action": "file_upload", "name": "samplepkg", "version": version}
        assert browser.post("/", data=form, files=file).status_code == 401
        assert browser.post("/", data=form, files=file, auth=("ada", "wrong")).status_code == 403
        assert browser.post("/", data=form, files=file, auth=("ada", "secret")).status_code == 200
    assert browser.post("/", data=form, files=file, auth=("ada", "secret")).status_code == 409
    assert "samplepkg-1.10-py3-none-any.whl" in browser.get("/simple/samplepkg/").text

    pip = [sys.executable, "-m", "pip", "--isolated", "--no-cache-dir", "--disable-pip-version-check"]
    where = ["--index-url", browser.server.url("/simple/"), "--target", str(tmp_path / "installed")]
    env = clean_environment(PIP_CONFIG_FILE="/dev/null", NO_PROXY="*", PIP_FIND_LINKS=None)
    done = subprocess.run([*pip, "install", *where, "samplepkg"], capture_output=True, text=True, env=env, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "installed/samplepkg.py").read_text() == "VERSION = '1.10'\n"
    assert (tmp_path / "installed/samplepkg.bin").read_bytes() == contents
    missing = subprocess.run([*pip, "install", *where, "otherpkg"], capture_output=True, text=True, env=env, timeout=120)
    assert missing.returncode != 0 and "No matching distribution" in missing.stderr


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
