"""Names of Gunicorn's workers. rwsgi has one of its own, which none of these can be derived for."""

SUPPORTED_WORKERS = {
    "sync": "gunicorn.workers.sync.SyncWorker",
    "gthread": "gunicorn.workers.gthread.ThreadWorker",
}


class Final:
    """Says so when it is derived from."""

    def __init_subclass__(cls, **_more):
        if cls.__module__.startswith("gunicorn.workers."):
            return
        raise TypeError(
            f"{cls.__module__}.{cls.__qualname__}: rwsgi cannot run worker classes derived from Gunicorn's, "
            "because its worker is not written in Python; use the hooks post_fork, post_worker_init, "
            "pre_request, post_request and worker_exit instead"
        )
