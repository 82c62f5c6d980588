"""The operator's side of a server under test: its status endpoint."""

from __future__ import annotations

import json

from support.server import parse_address
from support.wire import Wire


def status_address(server):
    """(host, port), or the path of a unix socket, from the log."""
    return parse_address(server.log.wait(r"Status at: (\S+)")[1])


def ask(server, path: str, *fields: str, method: str = "GET"):
    with Wire(status_address(server)) as wire:
        reply = wire.get(path, *fields, method=method)
        wire.expect_end()
    return reply


def document(server) -> dict:
    reply = ask(server, "/status.json")
    assert reply.status == 200 and reply.get("content-type") == "application/json"
    return json.loads(reply.body)


def metrics(server) -> dict[tuple[str, tuple], float]:
    """Every sample, by its name and labels."""
    from prometheus_client.parser import text_string_to_metric_families

    page = ask(server, "/metrics").body.decode()
    samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in samples}


def figure(server, name: str, **labels: str) -> float:
    return metrics(server)[name, tuple(sorted(labels.items()))]
