"""The sites' common contract (see test_frameworks.py) in Bottle."""

import hashlib
import pathlib

import bottle
from bottle import HTTPResponse, redirect, request, response, static_file

app = bottle.Bottle()
KEY = "a test's key"


@app.get("/")
def index():
    return "Hello from Bottle"


@app.route("/form", method=["GET", "POST"])
def form():
    return {"method": request.method, "query": request.query.getunicode("q"), "name": request.forms.getunicode("name"),
            "many": [v.encode("latin-1").decode() for v in request.forms.getall("many")]}


@app.post("/login")
def login():
    response.set_cookie("session", request.forms.getunicode("name"), secret=KEY, path="/")
    redirect("/me", 303)


@app.get("/me")
def me():
    return {"name": request.get_cookie("session", secret=KEY)}


@app.get("/logout")
def logout():
    response.delete_cookie("session", path="/")
    redirect("/me", 303)


@app.get("/cookies")
def cookies():
    response.set_cookie("one", "1")
    response.set_cookie("two", "second value", httponly=True)
    return {"seen": dict(request.cookies)}


@app.post("/upload")
def upload():
    file = request.files["file"]
    data = file.file.read()
    return {"name": file.raw_filename, "size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "note": request.forms.getunicode("note")}


@app.route("/raw", method="PUT")
def raw():
    data = request.body.read()
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


@app.get("/stream")
def stream():
    response.content_type = "text/plain"
    return (b"%d\n" % n for n in range(int(request.query["to"])))


@app.get("/file")
def file():
    here = pathlib.Path(__file__)
    return static_file(here.name, root=str(here.parent), mimetype="text/x-python")


@app.get("/path/<rest:path>")
def path(rest):
    return {"path": rest.encode("latin-1").decode() if not rest.isascii() and all(ord(c) < 256 for c in rest) else rest}


@app.get("/error")
def error():
    raise RuntimeError("a view's own failure")


@app.error(500)
def failed(error):
    return HTTPResponse("failed", status=500).body
