"""A reply that is sent while it is being made: each yielded block leaves before the next is asked for.

    rwsgi streaming:application --chdir examples --workers 2
    curl -N 'http://127.0.0.1:8000/count?to=10&every=1'
    curl -N 'http://127.0.0.1:8000/events?to=10&every=1'

/count is plain text, /events the event stream a browser's EventSource reads. A running stream
occupies one thread of one worker for as long as it lasts: give a server of many streams as many
workers times threads.
"""

import time
from urllib.parse import parse_qs


def application(environ, start_response):
    query = parse_qs(environ["QUERY_STRING"])
    try:
        last = int(query.get("to", ["10"])[0])
        pause = float(query.get("every", ["1"])[0])
    except ValueError:
        start_response("400 Bad Request", [("Content-Type", "text/plain")])
        return [b"to and every are numbers\n"]
    if environ["PATH_INFO"] == "/events":
        start_response("200 OK", [("Content-Type", "text/event-stream"), ("Cache-Control", "no-store")])
        return count(last, pause, b"id: %d\ndata: %d\n\n")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return count(last, pause, b"%d %d\n")


def count(last, pause, line):
    """A generator: its code runs between the blocks, its `finally` also when the client leaves."""
    started = time.monotonic()
    for number in range(1, last + 1):
        if number > 1 and pause:
            time.sleep(pause)
        yield line % (number, (time.monotonic() - started) * 1000)
