"""The same generated messages to the server and to two independent parsers, h11 and llhttp (as
httptools): all have to see the same requests with the same bodies. Where they do not, the
difference stands below with its reason, or it is a bug, here or there.

What counts is where messages begin and end: two parsers that disagree about that can be played
against each other. DIFFERENTIAL_MESSAGES says how many are generated, DIFFERENTIAL_SEED which.
"""

from __future__ import annotations

import json
import os
import random
import re

import pytest

from support.wire import Malformed, Wire

h11 = pytest.importorskip("h11")
httptools = pytest.importorskip("httptools")

MESSAGES = int(os.environ.get("DIFFERENTIAL_MESSAGES", "3000"))
SEED = int(os.environ.get("DIFFERENTIAL_SEED", "1"))

BASES = [
    b"GET /a?b=c HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"PUT /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n",
    b"GET http://a/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nX-B:2\r\n\r\n",
    b"DELETE /d HTTP/1.1\r\nhost: a:80\r\nCONTENT-LENGTH: 0\r\nCookie: a=b; c=d\r\n\r\n",
]
SPICE = [
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b",", b";", b"0", b"1", b"5", b"-", b"+", b"0x", b"_", b"\xff", b"\x0b",
    b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Content-Length: 5, 5\r\n", b"Content-Length: +5\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: identity\r\n", b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding : chunked\r\n", b"Transfer-Encoding:\x0bchunked\r\n", b"Transfer-Encoding: chunked, chunked\r\n",
    b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Host: b\r\n", b" folded\r\n", b"0\r\n\r\n", b"\r\n\r\n",
    b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1", b"%", b"//", b"#", b"ffffffffffffffff\r\n", b"Expect: 100-continue\r\n",
]

#: Why the server refuses what another parser lets pass; by what it answers.
STRICTER = {
    "Invalid Method": "methods are 3 to 20 characters, none of them lower case, as in Gunicorn",
    "Invalid Request Target": "a target is in one of four forms (RFC 9112 3.2); others take any bytes",
    "Invalid Request Line": "one space each (RFC 9112 3); others skip several",
    "Invalid HTTP Version": "the version's grammar (RFC 9112 2.3)",
    "HTTP Version Not Supported": "nothing but HTTP/1.x is spoken",
    "Line does not end in CRLF": "a bare LF or CR is refused (RFC 9112 2.2 lets either be done; hiding one is the oldest trick)",
    "Invalid HTTP Header": "a field line without colon",
    "Invalid HTTP header name": "names are tokens (RFC 9110 5.1)",
    "Invalid HTTP header value": "no control characters in values (RFC 9110 5.5)",
    "Whitespace before the colon of a header": "RFC 9112 5.1",
    "Obsolete line folding is unacceptable": "RFC 9112 5.2 lets a server refuse",
    "Missing Host header": "RFC 9112 3.2; llhttp leaves it to its caller",
    "More than one Host header": "RFC 9112 3.2; llhttp leaves it to its caller",
    "Invalid Host": "RFC 9112 3.2; others do not look into it",
    "Invalid Content-Length": "digits only (RFC 9112 6.3 rule 5); no lists",
    "More than one Content-Length header": "also equal ones: two parties may pick different ones",
    "Both Transfer-Encoding and Content-Length": "RFC 9112 6.3 rule 3 lets it be an error",
    "Transfer-Encoding in an HTTP/1.0 request": "RFC 9112 6.1: its framing is faulty",
    "Invalid Transfer-Encoding": "the last coding is chunked, once (RFC 9112 6.3 rule 4)",
    "Unsupported transfer coding": "501 (RFC 9112 6.1)",
    "Unable to comply with expectation": "417 (RFC 9110 10.1.1)",
    "Invalid chunk size": "hexadecimal digits only (RFC 9112 7.1)",
    "Chunk size is too large": "what cannot be counted",
    "Invalid chunk extension": "the grammar of extensions (RFC 9112 7.1.1); others skip anything",
    "Chunk data is not followed by CRLF": "RFC 9112 7.1",
    "Invalid trailer": "trailers are fields (RFC 9112 7.1.2)",
    "Too many empty lines before a request": "a budget",
    "An https target on a connection without TLS": "421 (RFC 9110 7.4)",
    "Connection ended inside a request head": "the message is not whole: the other took an end for one",
    "Connection ended inside a request body": "as above",
}

#: Where the server sees a request and the other parser does not: what that one says, and why.
LAXER = {
    "h11": [
        ("no request line received", "a few empty lines before a request are skipped, also between two (RFC 9112 2.2)"),
        ("bad Content-Length", "in a trailer: it frames nothing there and is dropped (RFC 9110 6.5.1)"),
        ("closes", "Connection: keep-alive keeps a HTTP/1.0 connection (RFC 9112 9.3); h11 never does"),
        ("Only Transfer-Encoding: chunked is supported", "in a trailer, as above"),
    ],
    "llhttp": [
        ("Invalid method encountered|Expected space after method", "any token may be a method (RFC 9110 9.1); llhttp has a list"),
        ("Content-Length can't be present", "in a trailer: it frames nothing there and is dropped (RFC 9110 6.5.1)"),
        ("nvalid `Transfer-Encoding`", "in a trailer, or with white space around its value, which is no part of it"),
        ("closes", "Connection in a trailer means nothing (RFC 9110 6.5.1)"),
        ("chunk extensions", "white space where RFC 9112 7.1.1 allows it"),
    ],
}


def generate(dice):
    stream = b"".join(dice.choice(BASES) for _ in range(dice.choice((1, 1, 2, 3))))
    for _ in range(dice.choice((0, 1, 1, 2, 3))):
        at = dice.randrange(len(stream) + 1)
        # Half of the insertions go to where a line begins: there they mean something.
        if dice.random() < 0.5:
            starts = [m.end() for m in re.finditer(rb"\r\n", stream)] or [0]
            at = dice.choice(starts)
        kind = dice.randrange(5)
        if kind < 3:
            stream = stream[:at] + dice.choice(SPICE) + stream[at:]
        elif kind == 3:
            stream = stream[:at] + stream[at + dice.randrange(1, 4):]
        else:
            stream = stream[:at] + bytes([dice.randrange(256)]) + stream[at + 1:]
    return stream


def by_h11(stream):
    """The complete requests h11 sees, and how it ends."""
    connection = h11.Connection(h11.SERVER)
    requests = []
    try:
        connection.receive_data(stream)
        connection.receive_data(b"")
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                method, target, body = event.method.decode(), event.target.decode("latin-1"), b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                requests.append([method, target, body.decode("latin-1")])
                connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                    return requests, "closes"
                connection.start_next_cycle()
            else:
                return requests, "ends"
    except h11.RemoteProtocolError as error:
        return requests, f"refuses: {error}"


def by_llhttp(stream):
    requests = []

    class Seen:
        def on_message_begin(self):
            self.url, self.body = b"", b""

        def on_url(self, url):
            self.url += url

        def on_body(self, body):
            self.body += body

        def on_message_complete(self):
            requests.append([parser.get_method().decode(), self.url.decode("latin-1"), self.body.decode("latin-1")])
            self.closes = not parser.should_keep_alive()
            if self.closes:
                raise EOFError

    parser = httptools.HttpRequestParser(Seen())
    try:
        parser.feed_data(stream)
    except httptools.HttpParserUpgrade:
        return requests, "upgrades"
    except httptools.HttpParserCallbackError:
        return requests, "closes"
    except httptools.HttpParserError as error:
        return requests, f"refuses: {error}"
    return requests, "ends"


def by_server(server, stream):
    requests, ends = [], "ends"
    with Wire(server.address) as wire:
        try:
            wire.send(stream).half_close()
        except OSError:
            pass
        try:
            while wire.buffer or wire._more():
                reply = wire.reply()
                if reply.status != 200:
                    return requests, f"refuses: {re.sub('<[^>]*>', ' ', reply.text)}"
                requests.append(json.loads(reply.body))
        except (Malformed, ConnectionError, AssertionError) as error:
            ends = f"breaks: {error}"
    return requests, ends


def difference(name, stream, server, other):
    """None, a listed reason, or a complaint."""
    (seen, end), (theirs, their_end) = server, other
    for mine, its in zip(seen, theirs):
        if mine != its:
            return False, f"one request, read as {mine} here and {its} there"
    if len(seen) == len(theirs):
        return True, None
    if len(seen) < len(theirs):
        for said, why in STRICTER.items():
            if said in end:
                return True, f"stricter: {said} ({why})"
        if end == "ends" and their_end in ("ends", "closes") and re.search(rb"(?i)connection|HTTP/1\.0", stream):
            return True, "stricter: the connection ends where the other would go on"
        return False, f"only {name} sees {theirs[len(seen):]}; here: {end}"
    for pattern, why in LAXER[name]:
        if re.search(pattern, their_end):
            return True, f"laxer: {why}"
    return False, f"{name} does not see {seen[len(theirs):]}: {their_end}"


@pytest.mark.timeout(600)
def test_the_same_requests_are_seen(serve):
    server = serve("echo_request", "--keep-alive", "5")
    dice, complaints, reasons = random.Random(SEED), [], {}
    for number in range(MESSAGES):
        stream = BASES[number] if number < len(BASES) else generate(dice)
        # HEAD replies have no body to read back; the rest of the line is what matters.
        if b"HEAD" in stream or b"CONNECT" in stream:
            continue
        mine = by_server(server, stream)
        assert not mine[1].startswith("breaks"), (stream, mine)
        for name, parse in (("h11", by_h11), ("llhttp", by_llhttp)):
            fine, why = difference(name, stream, mine, parse(stream))
            if not fine:
                complaints.append(f"{stream!r}\n    {why}")
            elif why:
                reasons[f"{name}: {why}"] = reasons.get(f"{name}: {why}", 0) + 1
    for why, count in sorted(reasons.items(), key=lambda item: -item[1]):
        print(f"{count:6} {why}")
    assert not complaints, f"{len(complaints)} differences without a reason, of {MESSAGES} messages:\n" + "\n".join(complaints[:40])
