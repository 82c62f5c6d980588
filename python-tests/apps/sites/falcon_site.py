"""The sites' common contract (see test_frameworks.py) in Falcon."""

import hashlib
import hmac
import os

import falcon

KEY = b"a test's key"


def signed(name):
    data = name.encode().hex()
    return data + "." + hmac.new(KEY, data.encode(), "sha256").hexdigest()


def unsigned(value):
    data, _, _ = (value or "").partition(".")
    return bytes.fromhex(data).decode() if value and hmac.compare_digest(signed(bytes.fromhex(data).decode()), value) else None


class Index:
    def on_get(self, req, resp):
        resp.text = "Hello from Falcon"
        resp.content_type = "text/plain"


class Form:
    def on_get(self, req, resp):
        resp.media = {"method": req.method, "query": req.get_param("q"), "name": None, "many": []}

    def on_post(self, req, resp):
        form = req.get_media()
        many = form.get("many", [])
        resp.media = {"method": req.method, "query": req.get_param("q"), "name": form.get("name"),
                      "many": many if isinstance(many, list) else [many]}


class Login:
    def on_post(self, req, resp):
        resp.set_cookie("session", signed(req.get_media()["name"]), secure=False, path="/")
        raise falcon.HTTPSeeOther("/me")


class Me:
    def on_get(self, req, resp):
        resp.media = {"name": unsigned(req.cookies.get("session"))}


class Logout:
    def on_get(self, req, resp):
        resp.unset_cookie("session", path="/")
        raise falcon.HTTPSeeOther("/me")


class Cookies:
    def on_get(self, req, resp):
        resp.set_cookie("one", "1", secure=False)
        resp.set_cookie("two", "second value", secure=False, http_only=True)
        resp.media = {"seen": dict(req.cookies)}


class Upload:
    def on_post(self, req, resp):
        seen = {}
        for part in req.get_media():
            if part.name == "file":
                data = part.stream.read()
                seen |= {"name": part.filename, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            else:
                seen[part.name] = part.text
        resp.media = seen


class Raw:
    def on_put(self, req, resp):
        data = req.bounded_stream.read()
        resp.media = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


class Stream:
    def on_get(self, req, resp):
        resp.content_type = "text/plain"
        resp.stream = (b"%d\n" % n for n in range(req.get_param_as_int("to")))


class File:
    def on_get(self, req, resp):
        resp.content_type = "text/x-python"
        resp.set_stream(open(__file__, "rb"), os.path.getsize(__file__))


class Path:
    def on_get(self, req, resp, rest):
        resp.media = {"path": rest}


class Error:
    def on_get(self, req, resp):
        raise RuntimeError("a view's own failure")


app = falcon.App()
app.req_options.strip_url_path_trailing_slash = False
for route, resource in {"/": Index(), "/form": Form(), "/login": Login(), "/me": Me(), "/logout": Logout(), "/cookies": Cookies(),
                        "/upload": Upload(), "/raw": Raw(), "/stream": Stream(), "/file": File(), "/path/{rest:path}": Path(),
                        "/error": Error()}.items():
    app.add_route(route, resource)
