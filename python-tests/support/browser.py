"""A browser that fills in forms."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import urljoin

import requests


class Browser(requests.Session):
    """Knows where the server is, and nothing of the machine's proxies."""

    def __init__(self, server):
        super().__init__()
        self.trust_env = False
        self.server = server

    def request(self, method, url, **more):
        more.setdefault("timeout", 30)
        return super().request(method, self.server.url(url) if url.startswith("/") else url, **more)


class Form(HTMLParser):
    """The form of a page that has a field of this name: where it goes, and what a browser would send untouched."""

    def __init__(self, page: requests.Response, having: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.area: str | None = None
        self.feed(page.text)
        forms = [form for form in self.found if having in form[1]]
        assert forms, f"no form with {having} in {page.url}: {self.found}\n{page.text[:2000]}"
        action, self.fields = forms[0]
        self.action = urljoin(page.url, action)

    def handle_starttag(self, tag, attrs):
        has = dict(attrs)
        if tag == "form":
            self.found.append((has.get("action") or "", {}))
        if not self.found or not has.get("name"):
            return
        if tag == "textarea":
            self.area = has["name"]
            self.found[-1][1][self.area] = ""
        elif tag == "input" and has.get("type") not in ("submit", "button", "image", "checkbox", "radio"):
            self.found[-1][1][has["name"]] = has.get("value") or ""
        elif tag in ("button", "input", "select"):
            self.found[-1][1].setdefault(has["name"], None)

    def handle_endtag(self, tag):
        if tag == "textarea":
            self.area = None

    def handle_data(self, data):
        if self.area:
            self.found[-1][1][self.area] += data

    def post(self, browser: Browser, files=None, **fields: str) -> requests.Response:
        """Filled in; fields that nobody filled and buttons nobody pressed are not sent."""
        sent = {name: value for name, value in {**self.fields, **fields}.items() if value is not None}
        return browser.post(self.action, data=sent, files=files)
