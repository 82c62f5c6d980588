"""The name of a worker."""

from gunicorn.workers.base import Worker


class AsyncWorker(Worker):
    pass
