"""Serves the files of a directory through wsgi.file_wrapper: the kernel copies them to the client.

    DOWNLOAD_DIR=/var/www rwsgi download:application --chdir examples --workers 2
    curl -O http://127.0.0.1:8000/hello.py
    curl --range 100-199 http://127.0.0.1:8000/hello.py

Single ranges (RFC 9110 section 14), If-Modified-Since and HEAD are understood. A range is nothing but
a seek and a Content-Length: the server sends from the file's position and stops at that length.
Without DOWNLOAD_DIR it serves its own directory.
"""

import mimetypes
import os
import re
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path

ROOT = Path(os.environ.get("DOWNLOAD_DIR", Path(__file__).parent)).resolve()


def application(environ, start_response):
    if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        return answer(start_response, "405 Method Not Allowed", ("Allow", "GET, HEAD"))
    path = find(environ["PATH_INFO"])
    if path is None:
        return answer(start_response, "404 Not Found")
    file = path.open("rb")
    stat = os.fstat(file.fileno())
    headers = [
        ("Content-Type", mimetypes.guess_type(path.name)[0] or "application/octet-stream"),
        ("Last-Modified", formatdate(stat.st_mtime, usegmt=True)),
        ("Accept-Ranges", "bytes"),
    ]
    if unchanged(environ.get("HTTP_IF_MODIFIED_SINCE"), stat.st_mtime):
        file.close()
        start_response("304 Not Modified", headers)
        return []
    status, first, length = "200 OK", 0, stat.st_size
    if span := parse_range(environ.get("HTTP_RANGE", ""), stat.st_size):
        if span == "unsatisfiable":
            file.close()
            return answer(start_response, "416 Range Not Satisfiable", ("Content-Range", f"bytes */{stat.st_size}"))
        first, last = span
        status, length = "206 Partial Content", last - first + 1
        headers.append(("Content-Range", f"bytes {first}-{last}/{stat.st_size}"))
    headers.append(("Content-Length", str(length)))
    start_response(status, headers)
    file.seek(first)
    return environ["wsgi.file_wrapper"](file)


def answer(start_response, status, *headers):
    body = status.encode() + b"\n"
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), *headers])
    return [body]


def find(path_info):
    """The file a path names, or None; nothing outside ROOT, whatever dots and links it uses."""
    name = path_info.encode("latin-1").decode("utf-8", "surrogateescape").lstrip("/")
    if "\0" in name:
        return None
    path = (ROOT / name).resolve()
    return path if path.is_relative_to(ROOT) and path.is_file() else None


def unchanged(since, modified):
    try:
        return since is not None and int(modified) <= parsedate_to_datetime(since).timestamp()
    except ValueError:
        return False


def parse_range(value, size):
    """(first, last) of a single byte range, "unsatisfiable", or None for what is to be ignored."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", value.strip())
    if not match or match[0] == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        first, last = max(0, size - int(last)), size - 1
    else:
        first, last = int(first), min(int(last), size - 1) if last else size - 1
        if match[2] and int(match[2]) < first:
            return None
    return (first, last) if first <= last else "unsatisfiable"
