"""Paste's middleware: an access log in Python, and compression."""

import logging
import sys

from paste.gzipper import middleware as gzipper
from paste.translogger import TransLogger

from wrapped.site import make

logging.basicConfig(stream=sys.stderr, format="paste: %(message)s", level=logging.INFO)
application = TransLogger(gzipper(make()), setup_console_handler=False)
