"""Answers with what was understood of the request: method, target, body."""

import json


def application(environ, start_response):
    body = environ["wsgi.input"].read()
    said = json.dumps([environ["REQUEST_METHOD"], environ["RAW_URI"], body.decode("latin-1")]).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(said)))])
    return [said if environ["REQUEST_METHOD"] != "HEAD" else b""]
