"""The application under siege."""

LARGE = [b"x" * 65536] * 64


def application(environ, start_response):
    body = LARGE if environ["PATH_INFO"] == "/large" else [b"siege ok"]
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(sum(map(len, body))))])
    return body
