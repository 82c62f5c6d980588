"""The results as a page of Markdown."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .rounds import Figures
from .servers import SERVERS
from .workloads import Workload

BY_NAME = {server.name: server for server in SERVERS}


@dataclass
class Verdict:
    """rwsgi against the best of its peers at one workload."""

    workload: Workload
    ours: Figures
    best: Figures

    @property
    def ratio(self) -> float:
        return self.ours.against(self.best)

    @property
    def met(self) -> bool:
        return self.ratio <= self.workload.goal


def verdict(workload: Workload, figures: list[Figures]) -> Verdict | None:
    good = [one for one in figures if not one.failure and one.cpu and not one.notes]
    ours = next((one for one in good if one.server == "rwsgi"), None)
    peers = [one for one in good if one.server != "rwsgi" and not BY_NAME[one.server].floor]
    if workload.streaming:
        peers = [one for one in peers if BY_NAME[one.server].streams]
    if ours is None or not peers:
        return None
    return Verdict(workload, ours, max(peers, key=ours.against))


def micros(value: float) -> str:
    return f"{value / 1000:.1f} ms" if value >= 1000 else f"{value:.0f} us"


def table(workload: Workload, figures: list[Figures]) -> str:
    lines = [
        f"### {workload.title}",
        "",
        "| Server | CPU per request | against rwsgi | requests/s | p50 | p99 | PSS |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    ours = next((one for one in figures if one.server == "rwsgi" and one.cpu), None)
    ranked = sorted(figures, key=lambda one: one.median("cpu") if one.cpu else math.inf)
    notes = []
    for one in ranked:
        name = f"*{one.server}*" if one.server in BY_NAME and BY_NAME[one.server].floor else one.server
        name = f"**{name}**" if one.server == "rwsgi" else name
        if one.failure or not one.cpu:
            lines.append(f"| {name} | failed | | | | | |")
            notes.append(f"{one.server}: {one.failure}")
            continue
        ratio = "" if ours is None else f"{one.against(ours):.2f} x"
        mark = " (!)" if one.notes else ""
        notes += [f"{one.server}: {one.notes[0]}"] if one.notes else []
        lines.append(
            f"| {name}{mark} | {one.median('cpu'):.2f} us | {ratio} | {one.median('rate'):,.0f} "
            f"| {micros(one.median('p50'))} | {micros(one.median('p99'))} | {one.memory / 1024:.1f} MB |"
        )
    if notes:
        lines += ["", *(f"- {note}" for note in notes)]
    return "\n".join(lines) + "\n"


def summary(verdicts: list[Verdict]) -> str:
    lines = [
        "| Workload | rwsgi | best peer | ratio | goal | |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for one in verdicts:
        lines.append(
            f"| {one.workload.title} | {one.ours.median('cpu'):.2f} us | {one.best.median('cpu'):.2f} us ({one.best.server}) | {one.ratio:.2f} "
            f"| {one.workload.goal:.2f} | {'met' if one.met else 'missed'} |"
        )
    return "\n".join(lines) + "\n"


def page(facts: list[str], how: str, verdicts: list[Verdict], tables: list[str], studies: list[str],
         chart: str) -> str:
    parts = [
        "# Benchmarks",
        "",
        "Written by `python3 benches/compare.py`; `benches/README.md` says how it measures.",
        "",
        *(f"- {fact}" for fact in facts),
        f"- {how}",
        "",
    ]
    if verdicts:
        parts += ["CPU time per request, user and system, of all processes of a server: medians of the rounds. A ratio is the "
                  "median of the rounds' ratios.", "", summary(verdicts)]
        parts += [f"![CPU time per request, by server and workload]({chart})", ""]
    if tables:
        parts += ["## Workloads", "", "In italics: floors that run no Python application.", "", *tables]
    if studies:
        parts += ["## rwsgi by itself", "", *studies]
    return "\n".join(parts).rstrip() + "\n"
