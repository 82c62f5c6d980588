"""`git clone` and `git push` through dulwich's WSGI application.

Git is a demanding client: a push larger than http.postBuffer goes out in chunks, a fetch with many
references is compressed, and it takes 100-continue seriously.
"""

from __future__ import annotations

import os
import random
import subprocess

import pytest
from support.server import clean_environment, needs_program


@pytest.fixture
def git(tmp_path):
    program = needs_program("git")
    env = clean_environment(GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_NOSYSTEM="1", GIT_TERMINAL_PROMPT="0", HOME=str(tmp_path),
                            GIT_AUTHOR_NAME="Ada", GIT_AUTHOR_EMAIL="ada@example.org", GIT_COMMITTER_NAME="Ada",
                            GIT_COMMITTER_EMAIL="ada@example.org")

    def run(*args, cwd=tmp_path, trace=False):
        extra = {"GIT_TRACE_CURL": "1", "GIT_TRACE_CURL_NO_DATA": "1"} if trace else {}
        done = subprocess.run([program, *args], cwd=cwd, env={**env, **extra}, capture_output=True, text=True, timeout=120, errors="replace")
        assert done.returncode == 0, f"git {' '.join(args)}:\n{done.stderr[-4000:]}"
        return done.stderr if trace else done.stdout

    return run


@pytest.fixture
def origin(serve, git, tmp_path):
    git("init", "--bare", "--initial-branch=main", "origin.git")
    git("-C", "origin.git", "config", "http.receivepack", "true")
    server = serve("git_site:application", "--workers", "2", env={"GIT_SITE_REPO": str(tmp_path / "origin.git")})
    return server.url("/repo.git")


@pytest.fixture
def work(git, tmp_path):
    """A repository with incompressible history and many branches."""
    git("init", "--initial-branch=main", "work")
    dice = random.Random(1)
    for number in range(3):
        (tmp_path / "work" / f"file-{number}").write_bytes(dice.randbytes(1_500_000))
        git("-C", "work", "add", ".")
        git("-C", "work", "commit", "-m", f"commit {number}")
    return tmp_path / "work"


def test_clone_and_push(git, origin, work, tmp_path):
    git("-C", "work", "push", origin, "main")
    git("clone", origin, "copy")
    assert git("-C", "copy", "rev-parse", "HEAD") == git("-C", "work", "rev-parse", "HEAD")
    git("-C", "copy", "fsck", "--full")
    (tmp_path / "copy" / "new").write_text("from the copy\n")
    git("-C", "copy", "add", "new")
    git("-C", "copy", "commit", "-m", "from the copy")
    git("-C", "copy", "push", "origin", "main")
    git("-C", "work", "pull", "--ff-only", origin, "main")
    assert (work / "new").read_text() == "from the copy\n"


def test_a_large_push_is_chunked_and_waits_for_100_continue(git, origin, work):
    trace = git("-C", "work", "-c", "http.postBuffer=65536", "-c", "http.extraHeader=Expect: 100-continue",
                "push", origin, "main", trace=True)
    assert "Transfer-Encoding: chunked" in trace and "100 Continue" in trace, trace[-3000:]
    git("clone", origin, "copy")
    git("-C", "copy", "fsck", "--full")


def test_a_fetch_of_many_branches_is_compressed(git, origin, work):
    git("-C", "work", "push", origin, "main")
    git("clone", origin, "copy")
    for number in range(60):
        git("-C", "work", "checkout", "-q", "-b", f"branch-{number}")
        git("-C", "work", "commit", "--allow-empty", "-m", f"branch {number}")
    git("-C", "work", "push", "--all", origin)
    trace = git("-C", "copy", "fetch", "--all", trace=True)
    assert "Content-Encoding: gzip" in trace, trace[-3000:]
    assert len(git("-C", "copy", "branch", "-r").split()) >= 60
