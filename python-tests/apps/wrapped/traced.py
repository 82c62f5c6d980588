"""OpenTelemetry's middleware with an exporter that keeps the spans in memory; /spans lists and forgets them."""

import json
import os

from opentelemetry import trace
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from wrapped.site import make

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
site = make()
site.config["PROPAGATE_EXCEPTIONS"] = True


def inner(environ, start_response):
    environ["tests.trace"] = trace.get_current_span().get_span_context().trace_id
    with provider.get_tracer("site").start_as_current_span("the view"):
        return site(environ, start_response)


traced = OpenTelemetryMiddleware(inner, tracer_provider=provider)


def application(environ, start_response):
    if environ["PATH_INFO"] != "/spans":
        return traced(environ, start_response)
    spans = [json.loads(span.to_json()) for span in exporter.get_finished_spans()]
    exporter.clear()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"worker": os.getpid(), "spans": spans}).encode()]
