#!/bin/sh
# Does the wheel in dist/ serve? Run in a container that has this repository at /source.
set -eu
venv=${VENV:-/tmp/venv} address=${ADDRESS:-127.0.0.1:8000}
if ! command -v python3 >/dev/null || ! python3 -m venv "$venv" 2>/dev/null; then
    apt-get update -qq
    apt-get install -qq -y python3-venv >/dev/null
    python3 -m venv "$venv"
fi
"$venv/bin/pip" install --quiet --no-index --find-links "${DIST:-/source/dist}" rwsgi
cd "${EXAMPLES:-/source/examples}"
for command in "$venv/bin/rwsgi" "$venv/bin/python -m rwsgi"; do
    $command --version
    $command hello:application --bind $address &
    server=$!
    "$venv/bin/python" - "$address" <<'PYTHON'
import sys, time, urllib.request
for attempt in range(100):
    try:
        answer = urllib.request.urlopen(f"http://{sys.argv[1]}/", timeout=5)
        break
    except OSError:
        time.sleep(0.1)
assert answer.status == 200 and answer.headers["Server"] == "rwsgi", answer.headers
PYTHON
    kill -TERM $server
    wait $server
done
