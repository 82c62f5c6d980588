"""What the middleware here is wrapped around: a small application in Flask."""

import time

from flask import Flask, Response, jsonify, request


def make():
    app = Flask("site")

    @app.route("/echo/<name>", methods=["GET", "POST"])
    def echo(name):
        return jsonify(name=name, method=request.method, url=request.url, client=request.remote_addr, body=request.get_data(as_text=True))

    @app.get("/stream")
    def stream():
        return Response((b"%d\n" % n for n in range(10_000)), mimetype="text/plain")

    @app.get("/slow-stream")
    def slow_stream():
        def parts():
            for n in range(5):
                time.sleep(0.05)
                yield b"%d\n" % n
        return Response(parts(), mimetype="text/plain")

    @app.get("/error")
    def error():
        number = 41 + 1
        raise ValueError(f"a view's own failure, {number}")

    @app.get("/broken-stream")
    def broken_stream():
        def parts():
            yield b"x" * 100
            raise ValueError("a stream's own failure")
        return Response(parts(), mimetype="text/plain")

    return app
