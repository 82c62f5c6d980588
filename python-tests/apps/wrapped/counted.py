"""prometheus_client in its multiprocess mode: every worker answers for all of them."""

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app, multiprocess
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from wrapped.site import make

REQUESTS = Counter("site_requests", "Requests by path", ["path"])
SECONDS = Histogram("site_request_seconds", "Their duration")
LIVE = Gauge("site_workers", "Workers alive", multiprocess_mode="livesum")

site = make()


def counting(environ, start_response):
    LIVE.set(1)
    REQUESTS.labels(environ["PATH_INFO"]).inc()
    environ["tests.worker"] = str(os.getpid())
    with SECONDS.time():
        return site(environ, lambda status, headers, *more: start_response(status, [*headers, ("X-Worker", environ["tests.worker"])], *more))


registry = CollectorRegistry()
multiprocess.MultiProcessCollector(registry)
application = DispatcherMiddleware(counting, {"/metrics": make_wsgi_app(registry)})
