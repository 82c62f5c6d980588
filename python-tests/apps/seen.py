"""An application that answers with its environ, as JSON; /raise raises."""

import json
import os


def application(environ, start_response):
    if environ["PATH_INFO"] == "/raise":
        raise RuntimeError("as asked")
    if environ["PATH_INFO"] == "/silent":
        return []
    body = {key: value for key, value in environ.items() if isinstance(value, (str, int))}
    body["pid"] = os.getpid()
    start_response("200 OK", [("Content-Type", "application/json"), ("X-App", "seen")])
    return [json.dumps(body).encode()]
