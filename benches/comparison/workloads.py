"""What is asked of the servers, and what rwsgi is to achieve there."""

from __future__ import annotations

from dataclasses import dataclass, field

BROWSER = {
    "Connection": "keep-alive",
    "Cache-Control": "max-age=0",
    "sec-ch-ua": '"Chromium";v="130", "Google Chrome";v="130", "Not?A_Brand";v="99"',
    "sec-ch-ua-mobile": "?0",
    "Upgrade-Insecure-Requests": "1",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-Mode": "navigate",
    "Referer": "https://www.example.com/accounts/",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Accept-Language": "de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7",
    "Cookie": "sessionid=0a1b2c3d4e5f60718293a4b5c6d7e8f9; csrftoken=AbCdEfGhIjKlMnOpQrStUvWxYz012345",
}  # and Host, which wrk adds: 14


@dataclass(frozen=True)
class Workload:
    key: str
    title: str
    path: str
    length: int
    """Of the answer's body; -1: not checked."""
    target: str = "bench_app:application"
    method: str = "GET"
    body: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    connections: int = 64
    threads: int = 1
    access_log: bool = False
    idle: int = 0
    """Connections that are open beside those that ask, and say nothing after one request."""
    goal: float = 1.0
    """rwsgi's CPU time per request as a part of the best peer's."""
    streaming: bool = False
    """Only peers that send each block when it is yielded count as the best."""


WORKLOADS = (
    Workload("hello", "Hello", "/hello", 14, goal=0.90),
    Workload("browser", "Hello, 14 browser headers", "/hello", 14, headers=BROWSER, goal=0.90),
    Workload("new-connection", "Hello, a connection for each request", "/hello", 14, headers={"Connection": "close"}),
    Workload("one-connection", "Hello, one connection", "/hello", 14, connections=1),
    Workload("post-10k", "POST of 10 KB, read by the application", "/post", 14, method="POST", body=10_240, goal=0.90),
    Workload("body-10k", "Reply of 10 KB", "/body/10k", 10_240, goal=0.90),
    Workload("body-1m", "Reply of 1 MB", "/body/1m", 1_048_576),
    Workload("chunks", "Generator of 10 blocks", "/chunks", 1000, goal=0.80, streaming=True),
    Workload("file-10m", "file_wrapper of 10 MB", "/file", 10 << 20, connections=8),
    Workload("flask", "Flask", "/hello?name=you", -1, target="bench_flask:app"),
    Workload("django", "Django", "/hello?name=you", -1, target="bench_django:app"),
    Workload("sleep", "Application that sleeps 10 ms, 16 threads", "/sleep", 14, threads=16),
    Workload("idle", "Hello beside 1000 idle connections", "/hello", 14, idle=1000),
    Workload("access-log", "Hello with an access log", "/hello", 14, access_log=True),
)
