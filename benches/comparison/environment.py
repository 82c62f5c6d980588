"""What has to be there before anything can be measured: the peers, the builds, the tools."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
APPS = Path(__file__).resolve().parent / "apps"
VENV = ROOT / ".venv-bench"
SCRATCH = ROOT / "target" / "comparison"

# Each is installed by itself: one that cannot be built here is left out, not the whole comparison.
PEERS = ("gunicorn", "uwsgi", "granian", "bjoern", "fastwsgi", "waitress", "cheroot")
FRAMEWORKS = ("flask", "django")
HINTS = {
    "bjoern": "needs a C compiler, Python's headers and libev's (Debian: libev-dev)",
    "uwsgi": "needs a C compiler and Python's headers",
    "fastwsgi": "needs a C compiler and Python's headers",
}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def python() -> str:
    return str(VENV / "bin" / "python")


def prepare_venv(interpreter: str) -> dict[str, str]:
    """Makes the environment and installs what is missing. Returns the versions of what is there."""
    mark = VENV / f"made-for-{hashlib.sha256(interpreter.encode()).hexdigest()[:12]}"
    if not mark.exists():
        shutil.rmtree(VENV, ignore_errors=True)
        subprocess.run([interpreter, "-m", "venv", VENV], check=True)
        mark.touch()
    for package in PEERS + FRAMEWORKS:
        if package not in versions():
            say(f"installing {package} ...")
            install = [python(), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package]
            if subprocess.run(install, capture_output=True).returncode != 0:
                say(f"  cannot be installed here and is left out ({HINTS.get(package, 'see pip install')})")
    return versions()


def versions() -> dict[str, str]:
    listed = subprocess.run(
        [python(), "-m", "pip", "list", "--format=json", "--disable-pip-version-check"],
        check=True, capture_output=True, text=True,
    )
    return {row["name"].lower(): row["version"] for row in json.loads(listed.stdout)}


def build(build_it: bool) -> Path:
    """Builds rwsgi and the two floors. Returns the directory they are in."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
    if build_it:
        say("building rwsgi ...")
        for what in (["--lib", "--bins"], ["--example", "constant", "--example", "fake_app"]):
            subprocess.run(["cargo", "build", "--release", *what], cwd=ROOT, check=True)
    missing = [name for name in ("rwsgi", "examples/constant", "examples/fake_app") if not (target / name).exists()]
    if missing:
        sys.exit(f"not built in {target}: {', '.join(missing)}")
    return target


def require_tools() -> None:
    if shutil.which("wrk") is None:
        sys.exit("wrk is needed to make load (Debian: apt-get install wrk)")
    if shutil.which("nginx") is None:
        say("nginx is not here: the limit for files is left out")


def scratch() -> Path:
    """A directory of ours, with the file that is downloaded."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    big = SCRATCH / "10m.bin"
    if not big.exists():
        big.write_bytes(b"f" * (10 << 20))
    return SCRATCH


def machine() -> list[str]:
    """What was measured on, one fact a line."""
    model = next(
        (line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")),
        platform.machine(),
    )
    version = subprocess.run([python(), "-c", "import sys; print(sys.version.split()[0])"], capture_output=True, text=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return [
        f"{model}, {os.cpu_count()} CPUs, Linux {platform.release()}",
        f"Python {version.stdout.strip()}, rwsgi at {commit.stdout.strip() or 'an unknown commit'}",
    ]
