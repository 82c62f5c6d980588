"""OpenTelemetry as in production: a thread of each process exports spans in batches, here to the file SPANS.

The provider shuts down by atexit, as is its default; nothing would be exported before that for a minute.
"""

import json
import os

from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from wrapped.site import make


class ToFile(SpanExporter):
    def export(self, spans):
        with open(os.environ["SPANS"], "a") as file:
            for span in spans:
                file.write(json.dumps({"worker": os.getpid(), "name": span.name, "target": span.attributes["http.target"]}) + "\n")
        return SpanExportResult.SUCCESS


provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(ToFile(), schedule_delay_millis=int(os.environ.get("DELAY", "60000"))))
site = make()


def naming(environ, start_response):
    return site(environ, lambda status, headers, *more: start_response(status, [*headers, ("X-Worker", str(os.getpid()))], *more))


application = OpenTelemetryMiddleware(naming, tracer_provider=provider)
