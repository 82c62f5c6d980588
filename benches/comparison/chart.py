"""The results as a chart: one panel for each workload, one bar for each server."""

from __future__ import annotations

from xml.sax.saxutils import escape

from .report import BY_NAME
from .rounds import Figures
from .workloads import Workload

WIDTH, COLUMNS, LABEL, BAR, GAP = 960, 2, 120, 15, 5
OURS, PEER, FLOOR = "#c2410c", "#64748b", "#cbd5e1"


def draw(results: list[tuple[Workload, list[Figures]]]) -> str:
    panels = []
    for workload, figures in results:
        bars = sorted((one.median("cpu"), one.server) for one in figures if one.cpu)
        if bars:
            panels.append((workload.title, bars))
    panel_width = WIDTH // COLUMNS
    body, y = [], 40
    for start in range(0, len(panels), COLUMNS):
        row = panels[start : start + COLUMNS]
        for column, (title, bars) in enumerate(row):
            body += panel(column * panel_width + 16, y, panel_width - 32, title, bars)
        y += 34 + max(len(bars) for _, bars in row) * (BAR + GAP)
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}" '
        'font-family="system-ui, sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{y}" fill="white"/>',
        '<text x="16" y="22" font-size="14" font-weight="600" fill="#0f172a">'
        "CPU microseconds per request (less is better; pale: floors without a Python application)</text>",
        *body,
        "</svg>",
    ]) + "\n"


def panel(x: int, y: int, width: int, title: str, bars: list[tuple[float, str]]) -> list[str]:
    lines = [f'<text x="{x}" y="{y + 12}" font-weight="600" fill="#0f172a">{escape(title)}</text>']
    most = max(value for value, _ in bars)
    room = width - LABEL - 50
    for row, (value, server) in enumerate(bars):
        top = y + 20 + row * (BAR + GAP)
        floor = server in BY_NAME and BY_NAME[server].floor
        colour = OURS if server == "rwsgi" else FLOOR if floor else PEER
        length = max(1.0, value / most * room)
        middle = top + BAR - 4
        lines += [
            f'<text x="{x + LABEL - 6}" y="{middle}" text-anchor="end" fill="#334155">{escape(server)}</text>',
            f'<rect x="{x + LABEL}" y="{top}" width="{length:.1f}" height="{BAR}" rx="2" fill="{colour}"/>',
            f'<text x="{x + LABEL + length + 5:.1f}" y="{middle}" fill="#334155">{value:.1f}</text>',
        ]
    return lines
