"""The sites' common contract (see test_frameworks.py) in web.py."""

import hashlib
import json
import os
import tempfile

import web

web.config.debug = False
KEPT = tempfile.TemporaryDirectory()


def as_json(**what):
    web.header("Content-Type", "application/json")
    return json.dumps(what)


class Index:
    def GET(self):
        return "Hello from web.py"


class Form:
    def GET(self):
        return as_json(method="GET", query=web.input(_method="get").get("q"), name=None, many=[])

    def POST(self):
        sent = web.input(many=[], _method="post")
        return as_json(method="POST", query=web.input(_method="get").get("q"), name=sent.name, many=sent.many)


class Login:
    def POST(self):
        session.name = web.input().name
        raise web.seeother("/me")


class Me:
    def GET(self):
        return as_json(name=session.get("name"))


class Logout:
    def GET(self):
        session.kill()
        raise web.seeother("/me")


class Cookies:
    def GET(self):
        web.setcookie("one", "1")
        web.setcookie("two", "second value", httponly=True)
        return as_json(seen=web.cookies())


class Upload:
    def POST(self):
        sent = web.input(file={})
        data = sent.file.file.read()
        return as_json(name=sent.file.filename, size=len(data), sha256=hashlib.sha256(data).hexdigest(), note=sent.note)


class Raw:
    def PUT(self):
        data = web.data()
        return as_json(size=len(data), sha256=hashlib.sha256(data).hexdigest())


class Stream:
    def GET(self):
        web.header("Content-Type", "text/plain")
        return (b"%d\n" % n for n in range(int(web.input().to)))


class File:
    def GET(self):
        web.header("Content-Type", "text/x-python")
        web.header("Content-Length", str(os.path.getsize(__file__)))
        return web.ctx.env["wsgi.file_wrapper"](open(__file__, "rb"))


class Path:
    def GET(self, rest):
        return as_json(path=rest)


class Error:
    def GET(self):
        raise RuntimeError("a view's own failure")


application = web.application((
    "/", "Index", "/form", "Form", "/login", "Login", "/me", "Me", "/logout", "Logout", "/cookies", "Cookies", "/upload", "Upload",
    "/raw", "Raw", "/stream", "Stream", "/file", "File", "/path/(.*)", "Path", "/error", "Error",
), globals())
session = web.session.Session(application, web.session.DiskStore(KEPT.name))
app = application.wsgifunc()
