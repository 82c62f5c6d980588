"""Gives "gunicorn.error" a handler that leads to the server's own error log.

Applications borrow that logger's handlers and level: `app.logger.handlers = ...`.
"""

import logging

_LEVELS = ((50, "critical"), (40, "error"), (30, "warning"), (20, "info"))


class ServerHandler(logging.Handler):
    """Hands records to the server's own error log."""

    def emit(self, record):
        try:
            level = next((name for number, name in _LEVELS if record.levelno >= number), "debug")
            _log(level, self.format(record))
        except Exception:
            self.handleError(record)


def lend(level):
    log = logging.getLogger("gunicorn.error")
    log.propagate = False
    log.setLevel(getattr(logging, level.upper(), logging.INFO))
    if not any(isinstance(handler, ServerHandler) for handler in log.handlers):
        log.addHandler(ServerHandler())
    logging.getLogger("gunicorn.access").propagate = False


def take_back():
    log = logging.getLogger("gunicorn.error")
    for handler in [handler for handler in log.handlers if isinstance(handler, ServerHandler)]:
        log.removeHandler(handler)
