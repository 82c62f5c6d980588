"""curl and the examples, as a user's shell would use them."""

from __future__ import annotations

import hashlib
import json
import subprocess

import pytest
from support.server import EXAMPLES, needs_program


@pytest.fixture
def curl(tmp_path):
    program = needs_program("curl")

    def run(*args, feed=None, may_fail=False):
        """Standard output and the verbose trace of a run; `feed` is an iterable of blocks for its standard input."""
        with open(tmp_path / "trace", "w+b") as trace:
            child = subprocess.Popen([program, "--silent", "--show-error", "--verbose", "--noproxy", "*", "--max-time", "120", *args],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=trace, cwd=tmp_path)
            for block in feed or ():
                child.stdin.write(block)
            out, _ = child.communicate()
            trace.seek(0)
            text = trace.read().decode("latin-1")
        assert may_fail or child.returncode == 0, text
        return out, text

    return run


def test_hello(serve, curl):
    server = serve("hello:application", chdir=EXAMPLES)
    for version, line in [("--http1.1", "HTTP/1.1 200"), ("--http1.0", " 200 ")]:
        out, trace = curl(version, server.url())
        assert out == b"Hello, World!\n" and line in trace
    out, trace = curl("-I", server.url())
    assert b"Content-Length: 14" in out.replace(b"content-length", b"Content-Length") and b"Hello" not in out
    out, trace = curl(*[server.url(f"/{n}") for n in range(5)])
    assert out == b"Hello, World!\n" * 5 and trace.count("Connected to") == 1, "five requests, one connection"


def test_chunked_upload_of_50_megabytes(serve, curl, tmp_path):
    server = serve("upload:application", chdir=EXAMPLES, env={"UPLOAD_DIR": str(tmp_path)})
    block = bytes(range(256)) * 4096
    out, trace = curl("-T", "-", server.url("/fifty"), feed=(block for _ in range(50)))
    whole = hashlib.sha256()
    for _ in range(50):
        whole.update(block)
    assert json.loads(out) == {"name": "fifty", "size": 50 << 20, "sha256": whole.hexdigest()}
    assert "Transfer-Encoding: chunked" in trace
    assert (tmp_path / "fifty").stat().st_size == 50 << 20


@pytest.mark.parametrize("version", ["--http1.1", "--http1.0"])
def test_upload_of_a_file(serve, curl, tmp_path, version):
    data = bytes(range(256)) * 12_345
    (tmp_path / "source").write_bytes(data)
    server = serve("upload:application", chdir=EXAMPLES)
    out, _ = curl(version, "-T", str(tmp_path / "source"), server.url("/"))
    assert json.loads(out)["sha256"] == hashlib.sha256(data).hexdigest()


def test_expect_100_continue(serve, curl):
    server = serve("upload:application", chdir=EXAMPLES)
    out, trace = curl("--expect100-timeout", "60", "-H", "Expect: 100-continue", "-T", "-", server.url("/x"), feed=[b"x" * 2_000_000])
    assert json.loads(out)["size"] == 2_000_000
    assert "100 Continue" in trace, "without it curl would have waited for a minute"


def test_download(serve, curl):
    server = serve("download:application", chdir=EXAMPLES)
    whole = (EXAMPLES / "hello.py").read_bytes()
    assert curl(server.url("/hello.py"))[0] == whole
    assert curl("--http1.0", server.url("/hello.py"))[0] == whole
    out, trace = curl("--range", "10-19", server.url("/hello.py"))
    assert out == whole[10:20] and "206" in trace and f"bytes 10-19/{len(whole)}" in trace
    assert curl("--range", "100-", server.url("/hello.py"))[0] == whole[100:]
    assert curl("--range", "-7", server.url("/hello.py"))[0] == whole[-7:]
    out, trace = curl("--range", "999999-", server.url("/hello.py"))
    assert " 416 " in trace
    out, trace = curl("-I", server.url("/hello.py"))
    assert f"content-length: {len(whole)}" in out.decode().lower()
    assert " 404 " in curl("--path-as-is", server.url("/../README.md"))[1]


def test_a_large_download_and_one_cut_short(serve, curl, tmp_path):
    data = bytes(range(256)) * 120_000
    (tmp_path / "large").write_bytes(data)
    server = serve("download:application", chdir=EXAMPLES, env={"DOWNLOAD_DIR": str(tmp_path)})
    assert hashlib.sha256(curl(server.url("/large"))[0]).digest() == hashlib.sha256(data).digest()
    curl("--max-filesize", "1000", server.url("/large"), may_fail=True)
    assert hashlib.sha256(curl("--range", "1000000-", server.url("/large"))[0]).digest() == hashlib.sha256(data[1_000_000:]).digest()


def test_streaming(serve, curl):
    server = serve("streaming:application", chdir=EXAMPLES)
    out, _ = curl("-N", server.url("/count?to=100&every=0"))
    assert [int(line.split()[0]) for line in out.splitlines()] == list(range(1, 101))
    out, trace = curl("-N", server.url("/events?to=3&every=0.05"))
    assert out.count(b"data: ") == 3 and "text/event-stream" in trace
    assert " 400 " in curl(server.url("/count?to=x"))[1]
