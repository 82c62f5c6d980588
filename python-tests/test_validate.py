"""wsgiref's validator between the server and a small application finds nothing to say."""

from __future__ import annotations

import pytest
from support.wire import Wire


@pytest.fixture(scope="module")
def validated(serve_module):
    return serve_module("validated:application")


@pytest.mark.parametrize("request_line, body, expected", [
    ("GET /", None, b"valid"), ("HEAD /", None, b""), ("POST /", b"x" * 5000, b"x" * 5000), ("POST /", b"", b""),
    ("GET /write", None, b"written, then returned"), ("GET /generator", None, b"0\n1\n2\n3\n4\n"), ("GET /nothing", None, b""),
    ("GET /errors", None, b"errors"), ("PUT /lines", b"a\nb\n", b"a\nb\n"), ("GET /file", None, None), ("GET /environ?a=b", None, None),
])
def test_wsgiref_validate(validated, request_line, body, expected):
    method, path = request_line.split()
    with Wire(validated.address) as wire:
        for _ in range(2):
            reply = wire.request(method, path, body=body)
            assert reply.status in (200, 204), (reply, validated.log.text)
            assert expected is None or reply.body == expected
    assert "AssertionError" not in validated.log.text
    assert "without being closed" not in validated.log.text
