"""Applications from PyPI that programs talk to: calendars, packages, files over WebDAV, repositories.

As in test_applications.py, each is set up as its users would. docs/frameworks.md has the table of them.
"""

from __future__ import annotations

import hashlib
import io
import re
import subprocess
import sys
import zipfile

from requests.auth import HTTPDigestAuth
from support import applications
from support.applications import VENV, htpasswd, start  # noqa: F401 # a fixture
from support.server import clean_environment

pytestmark = applications.marks

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
    (tmp_path / "users").write_text(htpasswd("ada", "secret"))
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


WSGIDAV = """
from wsgidav.wsgidav_app import WsgiDAVApp
application = WsgiDAVApp({
    "provider_mapping": {"/": "files"},
    "simple_dc": {"user_mapping": {"*": {"ada": {"password": "secret"}}}},
    "lock_storage": True,
    "property_manager": True,
})
"""

LOCK = b"""<?xml version="1.0"?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>
<D:locktype><D:write/></D:locktype><D:owner>ada</D:owner></D:lockinfo>"""


def test_wsgidav(start, tmp_path):
    """A drive: digest authentication, large files both ways, ranges, locks, COPY and MOVE."""
    (tmp_path / "files").mkdir()
    (tmp_path / "dav_app.py").write_text(WSGIDAV)
    # Locks are kept in memory, so that there is one process.
    browser = start("dav_app", "--threads", "4", chdir=tmp_path)
    assert "Digest" in browser.get("/").headers["WWW-Authenticate"]
    browser.auth = HTTPDigestAuth("ada", "secret")
    options = browser.options("/")
    assert options.headers["DAV"] == "1,2" and "LOCK" in options.headers["Allow"]
    assert browser.request("MKCOL", "/a/").status_code == 201
    assert browser.request("MKCOL", "/no/such/").status_code == 409
    data = hashlib.shake_256(b"drive").digest(20_000_000)
    assert browser.put("/a/big.bin", data=data).status_code == 201
    chunks = (data[begin:begin + 50_000] for begin in range(0, 5_000_000, 50_000))
    assert browser.put("/a/chunked.bin", data=chunks).status_code == 201
    assert browser.get("/a/big.bin").content == data and browser.get("/a/chunked.bin").content == data[:5_000_000]
    part = browser.get("/a/big.bin", headers={"Range": "bytes=19999000-"})
    assert (part.status_code, part.content) == (206, data[19_999_000:])
    listed = browser.request("PROPFIND", "/a/", headers={"Depth": "1"})
    assert listed.status_code == 207 and sorted(re.findall(r"getcontentlength>(\d+)<", listed.text)) == ["20000000", "5000000"]
    lock = browser.request("LOCK", "/a/big.bin", data=LOCK, headers={"Timeout": "Second-100", "Content-Type": "application/xml"})
    token = lock.headers["Lock-Token"]
    assert lock.status_code == 200
    assert browser.put("/a/big.bin", data=b"other").status_code == 423
    assert browser.put("/a/big.bin", data=b"other", headers={"If": f"({token})"}).status_code == 204
    assert browser.request("UNLOCK", "/a/big.bin", headers={"Lock-Token": token}).status_code == 204
    for method, name in (("COPY", "copied.bin"), ("MOVE", "moved.bin")):
        assert browser.request(method, "/a/big.bin", headers={"Destination": browser.server.url(f"/a/{name}")}).status_code == 201
        assert browser.get(f"/a/{name}").content == b"other"
    assert browser.get("/a/big.bin").status_code == 404
    assert browser.delete("/a/").status_code == 204 and not (tmp_path / "files/a").exists()


HGWEB = """
import os
from mercurial.hgweb import hgweb
application = hgweb(os.fsencode(os.path.abspath("origin")), baseui=None)
"""


def test_mercurial(start, tmp_path):
    """hg clones, pushes and pulls through hgweb; a browser looks at the result and takes an archive of it."""
    env = {"HGRCPATH": str(tmp_path / "hgrc"), "HGUSER": "Ada <ada@example.org>", "HGPLAIN": "1", "NO_PROXY": "*"}
    (tmp_path / "hgrc").write_text("[web]\nallow-push = *\npush_ssl = false\nallow-archive = zip\n")

    def hg(*words, cwd=tmp_path):
        return applications.run("hg", *words, cwd=cwd, **env)

    hg("init", "origin")
    (tmp_path / "hg_app.py").write_text(HGWEB)
    browser = start("hg_app", "--workers", "2", chdir=tmp_path, env=env)
    url = browser.server.url("/")
    hg("clone", url, "one")
    data = hashlib.shake_256(b"repository").digest(3_000_000)
    (tmp_path / "one/big.bin").write_bytes(data)
    hg("commit", "--addremove", "-m", "Something large", cwd=tmp_path / "one")
    for number in range(5):
        (tmp_path / "one/text").write_text(f"{number}\n")
        hg("commit", "--addremove", "-m", f"Gr\u00fc\u00dfe {number}", cwd=tmp_path / "one")
    hg("push", cwd=tmp_path / "one")
    hg("clone", url, "two")
    assert (tmp_path / "two/big.bin").read_bytes() == data and (tmp_path / "two/text").read_text() == "4\n"
    (tmp_path / "two/text").write_text("from two\n")
    hg("commit", "-m", "Back", cwd=tmp_path / "two")
    hg("push", cwd=tmp_path / "two")
    hg("pull", "--update", cwd=tmp_path / "one")
    assert (tmp_path / "one/text").read_text() == "from two\n"
    assert "Something large" in browser.get("/shortlog").text
    assert browser.get("/raw-file/tip/text").text == "from two\n"
    archive = zipfile.ZipFile(io.BytesIO(browser.get("/archive/tip.zip").content))
    assert [archive.read(name) for name in archive.namelist() if name.endswith("big.bin")] == [data]
    assert browser.get("/rev/notthere").status_code == 404
