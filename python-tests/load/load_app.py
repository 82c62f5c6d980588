"""The application under load. Every reply can be verified by who asked for it, and every request
is written to a journal when it enters, so that it is known which worker held it.

The load program copies this file, changes VERSION to deploy, and breaks it to deploy something broken.
"""

import hashlib
import os
import time
from urllib.parse import parse_qs

VERSION = 1

JOURNAL = os.open(os.environ["LOAD_JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def content(key, size):
    """Bytes that only this request can have asked for."""
    seed = hashlib.sha256(key.encode()).digest()
    return (seed * (size // len(seed) + 1))[:size]


def application(environ, start_response):
    key = environ.get("HTTP_X_LOAD_ID", "none")
    os.write(JOURNAL, f"{key} {os.getpid()}\n".encode())
    query = {k: v[0] for k, v in parse_qs(environ["QUERY_STRING"]).items()}
    headers = [("Content-Type", "application/octet-stream"), ("X-Worker-Pid", str(os.getpid())), ("X-Version", str(VERSION))]
    path = environ["PATH_INFO"]
    if path == "/upload":
        digest, size = hashlib.sha256(), 0
        while data := environ["wsgi.input"].read(65536):
            digest.update(data)
            size += len(data)
        body = f"{size} {digest.hexdigest()}".encode()
    elif path == "/stream":
        start_response("200 OK", headers)
        return stream(key, int(query["blocks"]), float(query["pause"]))
    else:
        if "sleep" in query:
            time.sleep(float(query["sleep"]))
        body = content(key, int(query.get("size", 200)))
    start_response("200 OK", [*headers, ("Content-Length", str(len(body)))])
    return [body]


def stream(key, blocks, pause):
    for number in range(blocks):
        time.sleep(pause)
        yield content(f"{key}-{number}", 3000)
