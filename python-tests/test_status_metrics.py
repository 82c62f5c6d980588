"""The metrics as monitoring reads them, and what they count."""

from __future__ import annotations

import json
import re
import socket
import time
from pathlib import Path

import pytest
from support.server import ROOT, eventually
from support.status import ask, document, figure, metrics
from support.wire import Wire

pytest.importorskip("prometheus_client")
STATUS = ("--status-bind", "127.0.0.1:0")
UNITS = ("seconds", "bytes")


@pytest.fixture(scope="module")
def used(serve_module):
    """A server that has seen a little of everything."""
    server = serve_module("probe:application", "--threads", "2", "--header-timeout", "0.3", *STATUS)
    with Wire(server.address) as wire:
        wire.get("/pid", f"X-Request-Start: t={time.time() - 0.06:.3f}")
        wire.request("POST", "/echo", body=b"x" * 1000)
        wire.get("/fail?how=ValueError&when=call")
    with Wire(server.address) as wire:
        wire.send("BAD\r\n\r\n").reply()
    with socket.create_connection(server.address) as late:
        late.sendall(b"GET / HT")
        late.settimeout(10)
        while late.recv(1000):
            pass
    eventually(lambda: figure(server, "rwsgi_deadlines_passed_total", deadline="head") == 1, "the late one")
    return server


def families(server, format_):
    if format_ == "text":
        from prometheus_client.parser import text_string_to_metric_families as parse

        reply = ask(server, "/metrics", "Accept: text/plain")
        assert reply.get("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    else:
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse

        reply = ask(server, "/metrics", "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
        assert reply.get("content-type") == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    return list(parse(reply.body.decode()))


@pytest.mark.parametrize("format_", ["text", "openmetrics"])
def test_prometheus_reads_it(used, format_):
    """What promtool check metrics looks at, and a few rules more."""
    seen = families(used, format_)
    names = [family.name for family in seen]
    assert len(names) == len(set(names)) and len(names) > 20
    for family in seen:
        assert re.fullmatch(r"rwsgi_[a-z_]+", family.name), family.name
        assert family.documentation.endswith("."), family
        assert family.type != "unknown", family
        assert not re.search(r"(counter|gauge|histogram|summary|milli|percent)", family.name), family.name
        if family.type != "counter" and format_ == "text":
            assert not family.name.endswith("_total")
        for sample in family.samples:
            assert sample.name.startswith(family.name)
            if family.type in ("counter", "histogram"):
                assert sample.value >= 0
    for unit in UNITS:
        for family in seen:
            if format_ == "openmetrics" and family.name.endswith("_" + unit):
                assert family.unit == unit, family.name


def test_histograms_are_cumulative(used):
    for family in families(used, "openmetrics"):
        if family.type != "histogram":
            continue
        buckets = [(s.labels["le"], s.value) for s in family.samples if s.name.endswith("_bucket")]
        assert [float(bound) for bound, _ in buckets] == sorted(float(bound) for bound, _ in buckets)
        counts = [count for _, count in buckets]
        assert counts == sorted(counts) and buckets[-1][0] == "+Inf"
        [total] = [s.value for s in family.samples if s.name.endswith("_count")]
        assert total == counts[-1]


def test_what_is_counted(used):
    seen = metrics(used)

    def value(name, **labels):
        return seen[name, tuple(sorted(labels.items()))]

    assert value("rwsgi_requests_total", status="2xx", method="GET") == 1
    assert value("rwsgi_requests_total", status="2xx", method="POST") == 1
    assert value("rwsgi_requests_total", status="5xx", method="GET") == 1
    assert value("rwsgi_requests_total", status="4xx", method="other") == 2, "one refused, one late"
    assert value("rwsgi_received_bytes_total") == 1000
    assert value("rwsgi_sent_bytes_total") > 1000
    assert value("rwsgi_request_duration_seconds_count") == 5
    assert value("rwsgi_request_queue_seconds_count") == 1
    assert 0.05 < value("rwsgi_request_queue_seconds_sum") < 5
    assert value("rwsgi_refused_requests_total", reason="request_line") == 1
    assert value("rwsgi_deadlines_passed_total", deadline="head") == 1
    assert value("rwsgi_connections_accepted_total") == 3
    assert value("rwsgi_worker_resident_bytes", worker="0") > 1_000_000
    assert value("rwsgi_master_resident_bytes") > 1_000_000
    assert abs(value("rwsgi_start_time_seconds") - time.time()) < 120
    assert value("rwsgi_ready") == 1
    assert value("rwsgi_threads", state="idle") == 2
    assert value("rwsgi_build_info", version=document(used)["version"]) == 1


def test_connections_are_shown_by_what_they_wait_for(serve):
    server = serve("probe:application", "--keep-alive", "30", *STATUS)
    with Wire(server.address) as idle, Wire(server.address) as head, Wire(server.address) as body:
        idle.get("/pid")
        head.send("GET / HTTP")
        body.send("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\nabc")
        eventually(lambda: document(server)["connections"] == {
            "active": 0, "idle": 1, "head": 1, "body": 1, "queued": 0, "write": 0, "linger": 0}, "one each")
        idle.send("GET /big?mb=16 HTTP/1.1\r\nHost: t\r\n\r\n")
        eventually(lambda: figure(server, "rwsgi_connections", state="write") == 1, "one that does not read", patience=5)
    eventually(lambda: sum(document(server)["connections"].values()) == 0, "none")


def test_waiting_for_a_thread(serve):
    server = serve("probe:application", "--threads", "2", *STATUS)
    wires = [Wire(server.address) for _ in range(3)]
    try:
        for wire in wires:
            wire.get("/pid")
        for wire in wires:
            wire.send("GET /sleep?for=1 HTTP/1.1\r\nHost: t\r\n\r\n")
        eventually(lambda: (now := document(server)) and (now["connections"]["queued"], now["threads"]["busy"], now["requests_in_flight"]) == (1, 2, 3), "one that waits")
        for wire in wires:
            assert wire.reply().status == 200
    finally:
        for wire in wires:
            wire.close()


def test_counters_outlive_workers(serve):
    server = serve("probe:application", "--max-requests", "5", *STATUS)
    with Wire(server.address) as wire:
        for _ in range(5):
            wire.get("/pid")
    eventually(lambda: figure(server, "rwsgi_worker_exits_total", reason="max_requests") == 1, "a successor")
    with Wire(server.address) as wire:
        wire.get("/pid")
    eventually(lambda: figure(server, "rwsgi_requests_total", status="2xx", method="GET") == 6, "six requests")


def test_the_dashboard_shows_metrics_that_exist(used):
    """deploy/grafana.json: valid, and every query names families of ours."""
    dashboard = json.loads((Path(ROOT) / "deploy" / "grafana.json").read_text())
    known = {name for name, _ in metrics(used)}
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert len(panels) > 10 and len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    for panel in panels:
        assert panel["title"] and panel["targets"], panel
        for target in panel["targets"]:
            names = set(re.findall(r"\brwsgi_[a-z_]+", target["expr"]))
            assert names and names <= known, (panel["title"], names - known)
            assert target["expr"].count("(") == target["expr"].count(")")


def test_every_metric_is_documented(used):
    page = (Path(ROOT) / "docs" / "metrics.md").read_text()
    for family in families(used, "text"):
        name = family.name + ("_total" if family.type == "counter" else "")
        assert f"`{name}`" in page, name


def test_a_full_worker_is_counted(serve):
    server = serve("probe:application", "--keep-alive", "30", "--worker-connections", "2", *STATUS)

    def full(how):
        return figure(server, "rwsgi_connections_full_total", then=how)

    assert (full("closed"), full("waiting")) == (0, 0)
    with Wire(server.address) as first, Wire(server.address) as second:
        for wire in (first, second):
            wire.get("/pid")
        with Wire(server.address) as third:
            third.get("/pid")
            assert (full("closed"), full("waiting")) == (1, 0)
            for wire in (second, third):
                wire.send("GET / HTTP")
            with Wire(server.address):
                eventually(lambda: full("waiting") == 1, "nobody to make room")
