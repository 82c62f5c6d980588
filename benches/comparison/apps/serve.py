"""Starts the servers that have no command line: `python serve.py SERVER PORT MODULE:NAME THREADS`."""

import importlib
import sys


def main() -> None:
    server, port, target, threads = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    module, name = target.split(":")
    application = getattr(importlib.import_module(module), name)
    if server == "bjoern":
        import bjoern

        bjoern.run(application, "127.0.0.1", port)
    elif server == "fastwsgi":
        import fastwsgi

        fastwsgi.run(wsgi_app=application, host="127.0.0.1", port=port, loglevel=0)
    elif server == "cheroot":
        from cheroot.wsgi import Server

        Server(("127.0.0.1", port), application, numthreads=threads, request_queue_size=2048, timeout=60).start()


main()
