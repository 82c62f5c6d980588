"""Sentry's SDK with its integrations for WSGI and Flask; envelopes are appended to EVENTS instead of being sent."""

import json
import os
import threading

import sentry_sdk
from sentry_sdk.integrations.flask import FlaskIntegration
from sentry_sdk.integrations.wsgi import SentryWsgiMiddleware
from sentry_sdk.transport import Transport

from wrapped.site import make


class ToFile(Transport):
    lock = threading.Lock()

    def capture_envelope(self, envelope):
        with self.lock, open(os.environ["EVENTS"], "a") as file:
            for item in envelope.items:
                if item.payload.json is not None:
                    file.write(json.dumps({"type": item.type, "worker": os.getpid(), **item.payload.json}, default=str) + "\n")


sentry_sdk.init(dsn="https://key@sentry.invalid/1", transport=ToFile, traces_sample_rate=1.0, send_default_pii=True,
                default_integrations=False, integrations=[FlaskIntegration()], release="site@1.0")
flask = make()


def plain(environ, start_response):
    """No framework: what fails here is only seen by the middleware."""
    if environ["PATH_INFO"] == "/in-the-iterator":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return (1 / n for n in (0,))
    raise LookupError("a plain application's failure")


watched = SentryWsgiMiddleware(plain)


def application(environ, start_response):
    if environ["PATH_INFO"].startswith("/plain"):
        environ["SCRIPT_NAME"], environ["PATH_INFO"] = "/plain", environ["PATH_INFO"].removeprefix("/plain")
        return watched(environ, start_response)
    return flask(environ, start_response)
