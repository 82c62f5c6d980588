"""The name of the base of all workers."""

from gunicorn.workers import Final


class Worker(Final):
    SIGNALS = []
