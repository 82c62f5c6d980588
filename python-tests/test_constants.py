"""Applications answer with the same objects again and again, and bodies come in one piece: what the
server does not do twice because of that must not show (apps/constants.py)."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import apps.constants as constants
import pytest
from support.wire import Wire


@pytest.fixture(scope="module", params=["1", "4"])
def server(request, serve_module):
    return serve_module("constants:application", "--workers", "1", "--threads", request.param)


def expected(letters: str):
    """Status and fields, without those of the server and those that are its own to make."""
    if "!" in letters:
        return 500, [("X-A", "one")]
    fields = [constants.FIELDS[letter] for letter in letters]
    return None, [field for field in fields if field[0] not in ("Content-Length", "Date")]


def ask(wire: Wire, how: str, letters: str):
    reply = wire.get(f"/{how}?{letters}")
    status, fields = expected(letters)
    assert reply.status == (status or (203 if how == "other" else 200)), (how, letters, reply)
    seen = [field for field in reply.fields if field[0] not in ("Server", "Content-Length", "Date", "Connection")]
    assert seen == fields, (how, letters)
    dates = reply.all("Date")
    assert len(dates) == 1
    assert (dates[0] == constants.FIELDS["d"][1]) == ("d" in letters and status is None)
    assert reply.get("Content-Length") == "0"


def sequences(seed: int):
    """Runs of the same fields, as applications have them, and changes of every kind in between."""
    choose = random.Random(seed)
    letters = "a"
    for _ in range(400):
        step = choose.random()
        if step < 0.4:
            letters = "".join(choose.choices("abctlkwd!", weights=[4, 4, 4, 4, 2, 3, 1, 1, 1], k=choose.randint(0, 6)))
        elif step < 0.6:
            letters = letters[:choose.randint(0, len(letters))]
        yield choose.choices(["same", "made", "other"], weights=[6, 2, 1])[0], letters.replace("ll", "l")


@pytest.mark.parametrize("seed", range(4))
def test_the_same_fields_again_and_again(server, seed):
    with Wire(server.address) as wire, Wire(server.address) as other:
        for number, (how, letters) in enumerate(sequences(seed)):
            ask(other if number % 5 == 0 else wire, how, letters)


def test_bodies_that_come_at_once(server):
    """Some enter the application from where they were read, others wait until a thread is free."""
    def post(number: int):
        with Wire(server.address) as wire:
            for size in (1, 5, 1000, 10240, 60_000, 65_536, 300_000):
                body = bytes([65 + number]) * size
                # Head and body in one piece; then in two.
                head = f"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: {size}\r\n\r\n".encode()
                for pieces in ([head + body], [head, body], [head + body[:1], body[1:]]):
                    for piece in pieces:
                        wire.send(piece)
                    assert wire.reply().body == body, (number, size, len(pieces))

    with ThreadPoolExecutor(12) as clients:
        list(clients.map(post, range(12)))
