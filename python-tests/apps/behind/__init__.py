"""What the sites behind proxies (test_proxies.py) have in common, whatever the framework.

The directory $SITE_FILES holds `asset.bin`. $SITE_GATE is a unix socket of the test's: connecting to
it says how far the application is, and it goes on when the test says so.
"""

import os
import socket
from pathlib import Path

FILES = Path(os.environ["SITE_FILES"])
BLOCK = b"x" * 65536
LARGE = 160


def gate():
    """Tells the test that this point is reached; returns when it may go on."""
    with socket.socket(socket.AF_UNIX) as test:
        test.connect(os.environ["SITE_GATE"])
        test.recv(1)


def paced():
    """Blocks, each given out only after the test has seen the one before."""
    for number in range(3):
        yield b"block %d\n" % number
        gate()


def large():
    """10 MB; the test hears when the last byte was taken."""
    for _ in range(LARGE):
        yield BLOCK
    gate()


def seen(environ):
    """What can be shown of an environ."""
    return {name: value for name, value in environ.items() if isinstance(value, str)}
