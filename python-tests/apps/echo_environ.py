"""Answers with environ as JSON: strings as they are, the rest by its repr."""

import json


def application(environ, start_response):
    shown = {k: v if isinstance(v, str) else repr(v) for k, v in environ.items()}
    body = json.dumps(shown).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
