"""Takes files of any size without holding one in memory, and answers with size and SHA-256.

    UPLOAD_DIR=/tmp/uploads rwsgi upload:application --chdir examples --workers 2
    curl -T big.iso http://127.0.0.1:8000/big.iso
    tar c . | curl -T - http://127.0.0.1:8000/backup.tar     # length unknown: sent in chunks

The body is complete when the application is called: a slow client occupies a connection, not a worker.
Without UPLOAD_DIR the files are measured and forgotten.
"""

import hashlib
import json
import os
import tempfile
from pathlib import Path, PurePosixPath

BLOCK = 1 << 20

FORM = b"""<!doctype html>
<title>Upload</title>
<input type=file id=file> <pre id=result></pre>
<script>
file.onchange = async () => {
  const reply = await fetch("/" + encodeURIComponent(file.files[0].name), {method: "PUT", body: file.files[0]})
  result.textContent = await reply.text()
}
</script>
"""


def application(environ, start_response):
    method = environ["REQUEST_METHOD"]
    if method in ("GET", "HEAD"):
        start_response("200 OK", [("Content-Type", "text/html"), ("Content-Length", str(len(FORM)))])
        return [FORM]
    if method not in ("PUT", "POST"):
        start_response("405 Method Not Allowed", [("Allow", "GET, HEAD, PUT, POST"), ("Content-Length", "0")])
        return []
    # The path decides the name, but never the directory.
    name = PurePosixPath(environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")).name or "unnamed"
    result = json.dumps({"name": name, **store(environ["wsgi.input"], name)}).encode() + b"\n"
    start_response("201 Created", [("Content-Type", "application/json"), ("Content-Length", str(len(result)))])
    return [result]


def store(source, name):
    """Copies block by block, and puts the file in place only when it is complete."""
    directory = os.environ.get("UPLOAD_DIR")
    digest, size = hashlib.sha256(), 0
    with tempfile.NamedTemporaryFile(dir=directory, delete=False) as target:
        try:
            while block := source.read(BLOCK):
                digest.update(block)
                size += len(block)
                if directory:
                    target.write(block)
            if directory:
                target.flush()
                os.replace(target.name, Path(directory) / name)
        finally:
            Path(target.name).unlink(missing_ok=True)
    return {"size": size, "sha256": digest.hexdigest()}
