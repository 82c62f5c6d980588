#!/usr/bin/env python3
"""Compares rwsgi with its peers on this machine: `python3 benches/compare.py`.

Makes an environment of its own (.venv-bench), installs the peers there from PyPI, builds rwsgi,
and writes docs/benchmarks.md and docs/benchmarks.svg. See `--help`, and benches/README.md for
what is measured and how.
"""

import sys

if sys.version_info < (3, 10):
    sys.exit("Python 3.10 or newer is needed")

from comparison.main import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
