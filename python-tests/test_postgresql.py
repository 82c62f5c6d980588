"""SQLAlchemy over PostgreSQL in preloaded and forked workers: no connection is used by two processes."""

from __future__ import annotations

import itertools
import os
import signal
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from support.browser import Browser
from support.postgres import Postgres
from support.server import eventually

HOOK = """
def post_fork(server, worker):
    import sys
    if "pg_site" in sys.modules:
        sys.modules["pg_site"].forget()
"""


@pytest.fixture(scope="module")
def database():
    postgres = Postgres()
    try:
        yield postgres
    finally:
        postgres.stop()


@pytest.fixture
def start(serve, database, tmp_path):
    """Two workers with four threads each, over tables of their own."""

    def start(how: str, *args: str):
        if how == "hook":
            (tmp_path / "gunicorn.conf.py").write_text(HOOK)
            args = ("-c", str(tmp_path / "gunicorn.conf.py"), *args)
        server = serve("pg_site:app", "--workers", "2", "--threads", "4", *args, env={"DATABASE": database.url, "HOW": how})
        server.booted(2)
        return server

    return start


def post(server, name: str, number: int) -> dict:
    with Browser(server) as browser:
        reply = browser.post(f"/entries/{name}", params={"number": number})
        assert reply.status_code == 200, server.log.text[-4000:]
        return reply.json()


NUMBERS = itertools.count()


def load(server, count: int) -> list[dict]:
    """As many transactions at once as there are threads."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda number: post(server, f"entry {number}", number * 1000), itertools.islice(NUMBERS, count)))


def connect(database):
    return psycopg.connect(f"host={database.directory} user=tests dbname=postgres", autocommit=True)


def sessions(connection) -> set[int]:
    return {row[0] for row in connection.execute("SELECT pid FROM pg_stat_activity")}


def backends(answers: list[dict]) -> dict[int, set[int]]:
    """Worker to its connections."""
    found = defaultdict(set)
    for answer in answers:
        found[answer["worker"]].add(answer["backend"])
    return found


def until_both(server) -> list[dict]:
    """Load until both workers have had some of it, and then more."""
    answers = load(server, 120)

    def both():
        answers.extend(load(server, 40))
        return len(backends(answers)) == 2

    eventually(both, "an answer of each worker")
    return answers


@pytest.mark.parametrize("how, preload", [("hook", True), ("at fork", True), ("nothing", True), ("import", False), ("hook", False)])
def test_no_connection_is_shared(start, how, preload):
    server = start(how, *(["--preload"] if preload else []))
    answers = until_both(server)
    one, two = backends(answers).values()
    assert one.isdisjoint(two)
    imported = {answer["imported"] for answer in answers}
    if preload:
        assert len(imported) == 1, "imported once"
        assert imported.isdisjoint(one | two), "the connection of the process that imported it was used again"
    else:
        assert len(imported) == 2
    if how != "nothing":
        assert len(one) <= 4 and len(two) <= 4, "more connections than the pool has"
    assert len({answer["thread"] for answer in answers}) > 2


@pytest.mark.skipif("SERVER" in os.environ, reason="Gunicorn imports a preloaded application once for all reloads")
def test_the_importer_s_connection_survives_its_children(start, database):
    """dispose(close=False) forgets it. Closing it in a child would end the session for the parent, too."""
    server = start("hook", "--preload")
    imported = until_both(server)[0]["imported"]
    with connect(database) as connection:
        assert connection.execute("SELECT state FROM pg_stat_activity WHERE pid = %s", [imported]).fetchone() == ("idle",)
        server.kill(signal.SIGHUP)
        eventually(lambda: imported not in {answer["imported"] for answer in load(server, 16)}, "the next generation alone")
        eventually(lambda: imported not in sessions(connection), "the end of the session")


def test_a_shared_connection_would_be_seen(start):
    """The mistake itself, one request at a time: without any of the means, two workers talk through the importer's connection."""
    server = start("mistake", "--preload")
    seen: dict[int, int] = {}

    def both():
        with Browser(server) as browser:
            answer = browser.get("/who", headers={"Connection": "close"}).json()
        seen[answer["worker"]] = answer["backend"]
        return len(seen) == 2

    eventually(both, "an answer of each worker")
    assert len(set(seen.values())) == 1


def test_transactions_are_undone_and_kept(start):
    server = start("hook", "--preload")
    with Browser(server) as browser:
        before = set(browser.get("/entries").json())
        assert browser.post("/entries/undone", params={"number": 1, "rollback": "1"}).status_code == 409
        load(server, 20)
        kept = set(browser.get("/entries").json()) - before
    assert len(kept) == 20 and "undone" not in kept


def test_a_killed_worker_leaves_no_connection(start, database):
    """A killed worker: its successor works, and PostgreSQL sees the old sessions end."""
    server = start("hook", "--preload")
    answers = until_both(server)
    victim = answers[-1]["worker"]
    old = backends(answers)[victim]
    os.kill(victim, signal.SIGKILL)
    server.log.wait("Booting worker with pid", 3)
    after = until_both(server)
    assert victim not in backends(after)
    with connect(database) as connection:
        eventually(lambda: not sessions(connection) & old, f"the end of sessions {old}")
