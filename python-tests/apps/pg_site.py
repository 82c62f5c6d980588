"""Flask over PostgreSQL, with a pool that is filled when the application is imported.

    DATABASE=postgresql+psycopg://... rwsgi pg_site:app --preload --workers 2 --threads 4

After the fork of a preloaded application SQLAlchemy has to forget the parent's connections without
closing them (https://docs.sqlalchemy.org/en/20/core/pooling.html#using-connection-pools-with-multiprocessing-or-os-fork).
HOW says by what means: "nothing" pools nothing, "at fork" asks Python, anything else leaves it to
a hook of the server: `forget`.
"""

import os
import threading

from flask import Flask, abort, jsonify, request
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

HOW = os.environ.get("HOW")
engine = create_engine(os.environ["DATABASE"], **({"poolclass": NullPool} if HOW == "nothing" else {"pool_size": 4, "max_overflow": 0}))
app = Flask(__name__)


def forget():
    engine.dispose(close=False)


if HOW == "at fork":
    os.register_at_fork(after_in_child=forget)


def backend(connection):
    """The server process at the other end: one for each connection."""
    return connection.execute(text("SELECT pg_backend_pid()")).scalar_one()


with engine.begin() as connection:
    connection.execute(text("SELECT pg_advisory_xact_lock(1)"))
    connection.execute(text("CREATE TABLE IF NOT EXISTS entry (id serial PRIMARY KEY, worker int, said text UNIQUE)"))
    IMPORTED = backend(connection)


@app.get("/who")
def who():
    with engine.connect() as connection:
        return jsonify(worker=os.getpid(), backend=backend(connection), imported=IMPORTED)


@app.post("/entries/<said>")
def add(said):
    """The answer of every statement is compared with what was asked for, as connections that are shared mix them up."""
    number = int(request.args["number"])
    with engine.begin() as connection:
        first = backend(connection)
        connection.execute(text("INSERT INTO entry (worker, said) VALUES (:worker, :said)"), {"worker": os.getpid(), "said": said})
        rows = connection.execute(text("SELECT :number + n, pg_backend_pid() FROM generate_series(1, 200) AS n"), {"number": number}).all()
        if rows != [(number + n, first) for n in range(1, 201)] or "rollback" in request.args:
            abort(409)
    return jsonify(worker=os.getpid(), backend=first, thread=threading.get_ident(), imported=IMPORTED)


@app.get("/entries")
def entries():
    with engine.connect() as connection:
        return jsonify(connection.execute(text("SELECT said FROM entry")).scalars().all())
