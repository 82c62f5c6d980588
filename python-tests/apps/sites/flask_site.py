"""The sites' common contract (see test_frameworks.py) in Flask."""

import hashlib

from flask import Flask, Response, jsonify, redirect, request, send_file, session

app = Flask(__name__)
app.secret_key = "a test's key"


@app.get("/")
def index():
    return "Hello from Flask"


@app.route("/form", methods=["GET", "POST"])
def form():
    return jsonify(method=request.method, query=request.args.get("q"), name=request.form.get("name"), many=request.form.getlist("many"))


@app.post("/login")
def login():
    session["name"] = request.form["name"]
    return redirect("/me", code=303)


@app.get("/me")
def me():
    return jsonify(name=session.get("name"))


@app.get("/logout")
def logout():
    session.clear()
    return redirect("/me", code=303)


@app.get("/cookies")
def cookies():
    reply = jsonify(seen=dict(request.cookies))
    reply.set_cookie("one", "1")
    reply.set_cookie("two", "second value", httponly=True)
    return reply


@app.post("/upload")
def upload():
    file = request.files["file"]
    data = file.read()
    return jsonify(name=file.filename, size=len(data), sha256=hashlib.sha256(data).hexdigest(), note=request.form["note"])


@app.route("/raw", methods=["PUT"])
def raw():
    data = request.get_data()
    return jsonify(size=len(data), sha256=hashlib.sha256(data).hexdigest())


@app.get("/stream")
def stream():
    return Response((b"%d\n" % n for n in range(int(request.args["to"]))), mimetype="text/plain")


@app.get("/file")
def file():
    return send_file(__file__, mimetype="text/x-python", conditional=True)


@app.get("/path/<path:rest>")
def path(rest):
    return jsonify(path=rest)


@app.get("/error")
def error():
    raise RuntimeError("a view's own failure")
