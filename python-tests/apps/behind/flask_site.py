"""The Flask site of test_frameworks.py, and what test_proxies.py asks for beside it."""

import os

from behind import FILES, gate, large, paced, seen
from flask import Response, jsonify, request, send_file
from sites.flask_site import app


@app.after_request
def signed(reply):
    reply.headers["X-Worker"] = str(os.getpid())
    return reply


@app.get("/seen")
def view_of_the_request():
    return jsonify(url=request.url, client=request.remote_addr, secure=request.is_secure, environ=seen(request.environ))


@app.get("/asset.bin")
def asset():
    return send_file(FILES / "asset.bin", mimetype="application/octet-stream", conditional=True)


@app.get("/paced")
def in_blocks():
    headers = {"X-Accel-Buffering": "no"} if "unbuffered" in request.args else {}
    return Response(paced(), mimetype="text/plain", headers=headers)


@app.get("/large")
def at_length():
    return Response(large(), mimetype="application/octet-stream")


@app.get("/wait")
def held():
    gate()
    return "waited"


@app.get("/elsewhere")
def elsewhere():
    return Response("not this", headers={"X-Accel-Redirect": "/protected/asset.bin"}, mimetype="application/octet-stream")
