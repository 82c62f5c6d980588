"""The command line, and the order in which things are done."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
from dataclasses import asdict

from . import chart, report
from .environment import ROOT, build, machine, prepare_venv, require_tools, say, scratch
from .processes import Failed
from .rounds import Bench, compare
from .servers import SERVERS
from .studies import STUDIES
from .workloads import WORKLOADS


def arguments() -> argparse.Namespace:
    names = ", ".join(workload.key for workload in WORKLOADS)
    parser = argparse.ArgumentParser(prog="benches/compare.py", description="Compares rwsgi with its peers.")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each workload (default 7)")
    parser.add_argument("--seconds", type=float, default=5, help="length of one measurement (default 5)")
    parser.add_argument("--quick", action="store_true", help="small studies, to see whether all works")
    parser.add_argument("--workloads", default="", help=f"comma-separated, or 'none': {names}")
    parser.add_argument("--servers", default="", help=f"comma-separated: {', '.join(s.name for s in SERVERS)}")
    parser.add_argument("--studies", default="", help=f"comma-separated, or 'none': {', '.join(STUDIES)}")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the environment (default: this one)")
    parser.add_argument("--no-build", action="store_true", help="measure what is built already")
    parser.add_argument("--output", default="docs/benchmarks.md", help="the page; the chart goes beside it")
    return parser.parse_args()


def chosen(wanted: str, names: list[str]) -> list[str]:
    if not wanted:
        return names
    picked = [] if wanted == "none" else [name.strip() for name in wanted.split(",")]
    for name in picked:
        if name not in names:
            sys.exit(f"unknown: {name}; there are {', '.join(names)}")
    return picked


def cpus() -> tuple[set[int] | None, set[int] | None]:
    """The server's CPU and the load's."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        say("this machine has one CPU: the load takes its share of it, and latencies mean little")
        return None, None
    return {allowed[0]}, {allowed[1]}


def main() -> int:
    wish = arguments()
    # Ended from outside, the servers have to be ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    workloads = chosen(wish.workloads, [workload.key for workload in WORKLOADS])
    wanted = chosen(wish.servers, [server.name for server in SERVERS])
    studies = chosen(wish.studies, list(STUDIES))
    require_tools()
    versions = prepare_venv(wish.python)
    bench = Bench(build(not wish.no_build), scratch(), wish.seconds, wish.rounds, *cpus())
    servers = [
        server for server in SERVERS
        if server.name in wanted
        and (server.package is None or server.package in versions)
        and (server.name != "nginx" or shutil.which("nginx"))
    ]
    results = [(workload, compare(bench, workload, servers)) for workload in WORKLOADS if workload.key in workloads]
    pieces = []
    for name in studies:
        try:
            pieces.append(STUDIES[name](bench, wish.quick))
        except (Failed, OSError) as error:
            say(f"  failed: {error}")
            pieces.append(f"### {name}\n\nFailed: {error}\n")
    write(wish, bench, versions, results, pieces)
    return 0


def write(wish: argparse.Namespace, bench: Bench, versions: dict[str, str], results: list, pieces: list[str]) -> None:
    page = ROOT / wish.output
    verdicts = [made for made in (report.verdict(workload, figures) for workload, figures in results) if made]
    peers = sorted({server.package for server in SERVERS if server.package in versions})
    facts = [*machine(), ", ".join(f"{name} {versions[name]}" for name in peers if name)]
    how = (f"{wish.rounds} interleaved rounds of {wish.seconds:g} s, each in a new process; one worker; server and wrk pinned to "
           f"{'one CPU each' if bench.server_cpus else 'nothing'}")
    tables = [report.table(workload, figures) for workload, figures in results]
    picture = page.with_suffix(".svg")
    # What took hours to measure is not lost for want of a directory.
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(report.page(facts, how, verdicts, tables, pieces, picture.name))
    if results:
        picture.write_text(chart.draw(results))
    raw = [{"workload": workload.key, "figures": [asdict(one) for one in figures]} for workload, figures in results]
    (bench.scratch / "results.json").write_text(json.dumps(raw, indent=1))
    say(f"\nwritten: {page}" + (f", {picture}" if results else ""))
