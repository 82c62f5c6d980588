"""Replies of which much is the same object again and again, in ever different order."""

import time

STATUS = "200 OK"
OTHER = "203 Again"
FIELDS = {
    "a": ("X-A", "one"),
    "b": ("X-B", "two"),
    "c": ("X-C", "three"),
    "t": ("Content-Type", "text/plain"),
    "l": ("Content-Length", "0"),
    "k": ("X-A", "other"),
    "w": ("X-Wide", "x" * 5000),
    "d": ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"),
    "!": ("X A", "refused"),
}
LAST = "Content-Type"


def application(environ, start_response):
    path = environ["PATH_INFO"].strip("/")
    if path == "echo":
        time.sleep(0.02)
        body = environ["wsgi.input"].read()
        start_response(STATUS, [(LAST, "text/plain")])
        return [body]
    wanted = environ["QUERY_STRING"]
    status = OTHER if path == "other" else STATUS
    if path == "made":
        # Equal, but not the same objects.
        fields = [("".join(FIELDS[letter][0]), "".join(list(FIELDS[letter][1]))) for letter in wanted]
    else:
        fields = [FIELDS[letter] for letter in wanted]
    try:
        start_response(status, fields)
    except ValueError:
        start_response("500 Refused", [FIELDS["a"], FIELDS["l"]])
    return []
